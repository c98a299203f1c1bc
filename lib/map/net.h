/* SPDX-License-Identifier: ISC */
#ifndef MAP_NET_H
#define MAP_NET_H

#include "util/buf.h"

/*
 * Address patterns: "192.0.2.1", "192.0.2.0/24", "2001:db8::/32", brackets around an IPv6 address
 * allowed ("[2001:db8::]/32"), "127.0.3.*" (whole parts at the end only). A pattern whose host part
 * is not zero is a mistake: the administrator meant another network or another length.
 */
struct net {
	uint8_t addr[16];
	uint8_t bytes; /* 4 or 16 */
	uint8_t bits;
};

/* ERR_SYNTAX: why says what is wrong and what was expected. */
int net_parse(struct slice text, struct buf *why, struct net *n);
/* An address alone: of a client, or of a key. ERR_SYNTAX. */
int net_parse_address(struct slice text, struct net *n);
bool net_has(const struct net *n, const struct net *address);

#endif
