/* SPDX-License-Identifier: ISC */
#ifndef VAULT_TABLES_H
#define VAULT_TABLES_H

#include "sasl/record.h"
#include "util/later.h"

/* The password tables of each service, and what stands in for logins that are not in them. */
struct tables;

/* Opens a service's, before rights are dropped. May log_fatal. Owned by this module. */
struct tables *tables_open(const char *service, struct slice domain, struct slice maps);
/* service: "submission/inet". NULL: it does not authenticate by tables. */
struct tables *tables_of(const char *service);

/*
 * The records of a login: by the login folded, then, when it has no '@', with the service's domain.
 * key is what was found. Records that are none are left out, with a line in the log. 0,
 * ERR_NOT_FOUND, ERR_TEMP, ERR_LATER.
 */
int tables_find(struct tables *t, struct slice login, struct later *l, struct buf *key,
	struct buf *records);

/*
 * Records for a login that is not there, as costly to check as those of others in the same tables;
 * always the same for the same login. What comes of the check must not count.
 */
void tables_stand_in(struct tables *t, struct slice login, struct buf *records);
void tables_stand_in_scram(struct tables *t, struct slice login, struct sasl_scram *s);

#endif
