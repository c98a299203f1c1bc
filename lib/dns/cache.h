/* SPDX-License-Identifier: ISC */
#ifndef DNS_CACHE_H
#define DNS_CACHE_H

#include "dns/packet.h"

/*
 * Answers by (type, name), kept for their time to live, bounded by count and by
 * DNS_CACHE_ENTRY_BYTES for each on average: the one not used for the longest time goes first.
 * Positive and negative answers are kept alike; DNS_TEMP and answers with a time to live of 0 are
 * not. Times are monotonic microseconds.
 */
enum { DNS_CACHE_ENTRY_BYTES = 512 };

struct dns_cache;

struct dns_cache *dns_cache_new(size_t entries); /* owned */
void dns_cache_free(struct dns_cache **c);
/* Copies the answer, with what is left of its time to live, to out. ERR_NOT_FOUND. */
int dns_cache_get(struct dns_cache *c, const struct dns_question *q, int64_t now, struct buf *out);
void dns_cache_add(
	struct dns_cache *c, const struct dns_question *q, struct slice answer, int64_t now);
/* Forgets all (the name servers have changed). */
void dns_cache_empty(struct dns_cache *c);
size_t dns_cache_count(const struct dns_cache *c);
size_t dns_cache_bytes(const struct dns_cache *c);

#endif
