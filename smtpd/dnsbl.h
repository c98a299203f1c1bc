/* SPDX-License-Identifier: ISC */
#ifndef SMTPD_DNSBL_H
#define SMTPD_DNSBL_H

#include "map/map.h"

/*
 * smtpd_dnsbl_sites: lists in the DNS are asked about a client, all at once, and the weights of
 * those that have it are added up. A weight below zero is that of an allow list. A list that does
 * not answer in time adds nothing.
 */
enum { DNSBL_SITES_MAX = 100, DNSBL_WEIGHT_MAX = 1000000 };

/*
 * "domain[=filter][*weight]", separated by commas and blanks, as postscreen_dnsbl_sites. names:
 * what clients are told instead of a domain (it may hold a secret). Once a process. ERR_SYNTAX.
 */
int dnsbl_open(struct slice sites, struct map_list *names, struct buf *why);
bool dnsbl_is_used(void);

struct dnsbl;

/*
 * Asks about an address (text) until deadline. done is called once, from the event loop. NULL:
 * there is nothing to ask, as it is no address.
 */
struct dnsbl *dnsbl_ask(
	struct slice addr, int64_t deadline, void (*done)(void *arg), void *arg); /* owned */
void dnsbl_free(struct dnsbl **d);

bool dnsbl_is_done(const struct dnsbl *d);
int dnsbl_score(const struct dnsbl *d);
/* What the list with the greatest weight that has the client is called; "" when none has it. */
const char *dnsbl_name(const struct dnsbl *d);
/* Every list has answered: the score may be kept. */
bool dnsbl_is_complete(const struct dnsbl *d);

#endif
