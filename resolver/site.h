/* SPDX-License-Identifier: ISC */
#ifndef RESOLVER_SITE_H
#define RESOLVER_SITE_H

#include "resolver/engine.h"

/* Finds out the site of a next hop (dns/site.h): of the first destination that it names. */
struct site_lookup;

/*
 * done is called once, perhaps from within this call: then *l is NULL behind it. Else *l is owned
 * by the caller until done is called. result: 0, or ERR_TEMP when that cannot be said now. A domain
 * that has no mail exchangers, or is not there, is its own site. ttl: seconds that it holds.
 */
void site_new(struct engine *e, struct slice nexthop,
	void (*done)(void *arg, int result, struct slice site, uint32_t ttl), void *arg,
	struct site_lookup **l);
/* Withdraws. Not to be called once done was. */
void site_free(struct site_lookup **l);

#endif
