/* SPDX-License-Identifier: ISC */
#ifndef DNS_NEXTHOP_H
#define DNS_NEXTHOP_H

#include "dns/packet.h"

/*
 * Next hops: their spelling, and the hosts and addresses that they lead to (RFC 5321, 5.1). Pure:
 * the resolver collects what name servers said into one encoded answer per name, which these
 * functions read, order and cut; smtp-client only connects.
 *
 * A next hop is one or more destinations separated by commas or blanks, to be tried in order:
 *   domain, domain:port          by MX, without MX by address
 *   [host], [host]:port          by address of the host
 *   [192.0.2.1], [IPv6:2001:…]   this address
 *   192.0.2.1                    the same (as Postfix takes it)
 * LMTP's are "inet:host:port", "unix:path" or as above, always without MX.
 */
struct nexthop {
	struct slice host; /* borrowed: name or address text without brackets and "IPv6:" */
	uint16_t port;     /* 0: none was given */
	bool mx;           /* MX records are asked */
	bool literal;      /* host is an address */
	bool unix_path;    /* host is a path */
};

/*
 * Takes the next destination off *rest. 0; ERR_NOT_FOUND at the end; ERR_SYNTAX. lmtp: no MX, and
 * "inet:" and "unix:" are understood.
 */
int nexthop_next(struct slice *rest, bool lmtp, struct nexthop *nh);
/* A port's number or one of the names smtp, smtps, submission, submissions, lmtp. ERR_SYNTAX. */
int nexthop_port(struct slice s, uint16_t *port);

struct host_addr {
	uint16_t pref;
	uint8_t family;    /* AF_INET, AF_INET6 */
	uint8_t addr[16];  /* the first 4 for AF_INET */
	struct slice host; /* borrowed from the encoded answer */
};

enum { HOSTS_MX_MAX = 20, HOSTS_ADDR_MAX = 200 };

/* What was found for a name. Failures carry the name and type whose lookup decided. */
struct hosts {
	enum dns_status status; /* DNS_OK: n > 0 */
	uint32_t ttl;
	bool mx;            /* the name has MX records */
	uint16_t best;      /* the lowest preference announced, with an address or not */
	enum dns_type type; /* what failed */
	struct slice name;  /* what failed; borrowed */
	struct host_addr addr[HOSTS_ADDR_MAX];
	unsigned n;
};

/* Encodes / decodes. The decoded slices point into encoded. ERR_SYNTAX. */
void hosts_encode(struct buf *out, const struct hosts *h);
int hosts_decode(struct slice encoded, struct hosts *h);

/*
 * The order of attempts: by preference; among equal ones by chance when randomize is set
 * (smtp_randomize_addresses), the preferred family (AF_INET, AF_INET6, or 0 for any) first. Then
 * at most limit addresses stay (0: all); with balance and no preference both families are among
 * them where there are two (smtp_balance_inet_protocols).
 */
void hosts_order(struct hosts *h, bool randomize, int prefer, bool balance, unsigned limit);

/*
 * Removes the addresses that are as far from the domain as is_self's best one, and all behind it
 * (RFC 5321, 5.1: a relay does not go back). 0: none is our own, or better ones are left.
 * ERR_EXISTS: we are the best: "mail for X loops back to myself". ERR_NOT_FOUND: a better one was
 * announced but none has an address.
 */
int hosts_cut_self(
	struct hosts *h, bool (*is_self)(const struct host_addr *a, void *arg), void *arg);

#endif
