/* SPDX-License-Identifier: ISC */
#ifndef VAULT_SERVICE_H
#define VAULT_SERVICE_H

#include "vault/chain.h"
#include "vault/relay.h"
#include "vault/sni.h"
#include "vault/tables.h"

/* What each service has of secrets, from vault_services (conf/vault.h). */
struct service {
	char *name; /* "smtp/inet" */
	struct tables *logins;
	struct chain *chain;
	struct sni *sni;
	struct relay *relay; /* each NULL: it has none */
};

/* From the settings in force, while rights are there: opens tables and files. May log_fatal. */
void service_open(void);
/* name: as master said. NULL: it has no secrets. */
const struct service *service_of(const char *name);

#endif
