/* SPDX-License-Identifier: ISC */
#ifndef RESOLVER_LOOKUP_H
#define RESOLVER_LOOKUP_H

#include "resolver/host.h"

/*
 * The hosts of a next hop: MX records (RFC 5321, 5.1), then all addresses of the HOSTS_MX_MAX
 * nearest hosts, asked at once, and what they can be authenticated by (resolver/host.h, whose flags
 * these are). What is found for one host counts even when another fails; when nothing is found a
 * temporary failure outweighs a permanent one.
 */
struct lookup;

/*
 * Begins. done is called once, perhaps from within this call: then *l is NULL behind it. Else *l is
 * owned by the caller until done is called. port: of the TLSA records.
 */
void lookup_new(struct engine *e, struct slice name, unsigned flags, uint16_t port,
	void (*done)(void *arg, const struct hosts *h), void *arg, struct lookup **l);
/* Withdraws. Not to be called once done was. */
void lookup_free(struct lookup **l);

#endif
