/* SPDX-License-Identifier: ISC */
#ifndef DNS_NEXTHOP_H
#define DNS_NEXTHOP_H

#include "util/slice.h"

/*
 * How next hops are spelled; what they lead to is in hosts.h. A next hop is one or more
 * destinations separated by commas or blanks, to be tried in order: domain, domain:port          by
 * MX, without MX by address [host], [host]:port          by address of the host [192.0.2.1],
 * [IPv6:2001:…]   this address 192.0.2.1                    the same (as Postfix takes it) LMTP's
 * are "inet:host:port", "unix:path" or as above, always without MX.
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

#endif
