/* SPDX-License-Identifier: ISC */
#ifndef RESOLVER_HOST_H
#define RESOLVER_HOST_H

#include "dns/hosts.h"
#include "dns/hostsfile.h"
#include "resolver/engine.h"

/*
 * What name servers know of one host: its addresses, then, where that is wanted, its TLSA records
 * (RFC 7672, 2.2, with RFC 7671, 7, for aliases):
 *
 *   addresses ──secure, or LOOKUP_FORCE──► TLSA of the name behind the aliases ──none──► of the
 * name │ insecure                             │ secure: found                              itself
 *       ├── an alias ──► CNAME of the name itself ──secure──► TLSA of the name itself
 *       └── none: TLSA_INSECURE                   └─ insecure: TLSA_INSECURE
 *
 * A lookup that fails ends it with TLSA_FAILED, whatever else is known. TLSA records that are not
 * secure are none.
 */
enum {
	LOOKUP_MX = 1,
	LOOKUP_IPV4 = 2,
	LOOKUP_IPV6 = 4,
	LOOKUP_TLSA = 8,
	LOOKUP_FORCE = 16,      /* TLSA for insecure hosts too */
	LOOKUP_DEFNAMES = 32,   /* names without a dot: in the first domain of resolv.conf first */
	LOOKUP_SEARCH = 64,     /* the same, in all of them */
	LOOKUP_FILE = 128,      /* addresses of resolver_hosts_file come before name servers' */
	LOOKUP_FILE_LAST = 256, /* they count where name servers have none */
	LOOKUP_FLAGS = 511
};

enum { HOST_ADDRS = HOSTS_ADDR_MAX / HOSTS_MX_MAX };

/* Embedded, zero before host_start. */
struct host_lookup {
	char name[DNS_NAME_MAX + 1], canonical[DNS_NAME_MAX + 1];
	uint16_t pref;
	bool secure;
	enum dns_status
		status; /* DNS_OK unless something failed, and then perhaps with addresses */
	enum dns_type failed;
	uint32_t ttl, tlsa_ttl;
	enum tlsa_status tlsa;
	const char *base; /* name or canonical */
	struct buf records;
	unsigned count;
	/* Private. */
	struct engine *engine;
	void (*done)(void *arg);
	void *arg;
	unsigned flags, open;
	uint16_t port;
	struct engine_ask ask[2], tlsa_ask;
	uint8_t v4[HOST_ADDRS][4], v6[HOST_ADDRS][16];
	unsigned n4, n6;
};

/* What resolver_hosts_file says from now on; borrowed, NULL: nothing. */
void host_set_file(const struct hostsfile *file);
/*
 * Begins, with name and pref set. done is called once, perhaps from within this call; it may not
 * free h before host_start has returned. port: of the TLSA records.
 */
void host_start(struct host_lookup *h, struct engine *e, unsigned flags, uint16_t port,
	void (*done)(void *arg), void *arg);
/* Withdraws what is open and frees what it holds. */
void host_clear(struct host_lookup *h);
/* Addresses it has, at most HOST_ADDRS, of both families where there are two. */
unsigned host_count(const struct host_lookup *h);
/* Adds host and addresses; what is added borrows from h. TLSA records beyond room bytes: FAILED. */
void host_put(const struct host_lookup *h, struct hosts *out, size_t room);

#endif
