/* SPDX-License-Identifier: ISC */
#ifndef NET_RANGE_H
#define NET_RANGE_H

#include "net/addr.h"

/*
 * Addresses and networks as bytes, IPv4 in its mapped form: an address is a network of 128 bits.
 * Bits behind its length are 0.
 */
struct net_range {
	uint8_t addr[16];
	uint8_t bits;
};

enum { NET_RANGE_TEXT = 64, NET_RANGE_WIRE = 17, NET_RANGE_IPV4 = 96 };

/* "192.0.2.1", "192.0.2.0/24", "2001:db8::/32". ERR_SYNTAX; ERR_RANGE: the length. */
int net_range_parse(struct slice text, struct net_range *r);
/* As net_range_parse takes it; an address without its length. Terminated. */
void net_range_text(const struct net_range *r, char text[NET_RANGE_TEXT]);
bool net_range_is_ipv4(const struct net_range *r);
/* Makes it a network of so many bits, of 32 for IPv4 and of 128 for IPv6. */
void net_range_mask(struct net_range *r, unsigned ipv4, unsigned ipv6);

/*
 * A set of records that begin with a range (util/aged.h: bounded, the oldest go first).
 */
struct range_set;

struct range_set *range_set_new(
	size_t record, size_t limit, void (*gone)(void *record, void *arg), void *arg); /* owned */
void range_set_free(struct range_set **s);
void range_set_limit(struct range_set *s, size_t limit);
void *range_set_get(const struct range_set *s, const struct net_range *r); /* this very one */
void *range_set_add(struct range_set *s, const struct net_range *r);
void range_set_remove(struct range_set *s, void *record);
/*
 * The next record that r lies in, the smallest network first; *bits begins with 128. NULL at the
 * end. One probe for each length that is in the set.
 */
void *range_set_find(const struct range_set *s, const struct net_range *r, int *bits);
void *range_set_oldest(const struct range_set *s);
void *range_set_younger(const struct range_set *s, const void *record);
size_t range_set_count(const struct range_set *s);
size_t range_set_bytes(const struct range_set *s);

#endif
