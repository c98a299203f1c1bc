/* SPDX-License-Identifier: ISC */
#ifndef TALLY_CACHE_H
#define TALLY_CACHE_H

#include "tally/key.h"

/*
 * Values of some bytes with an end. Bounded by number and by bytes: the ones that were put longest
 * ago go first. Pure: times are given, in microseconds since 1970.
 */
struct cache;

struct cache *cache_new(size_t limit, size_t bytes_limit); /* owned */
void cache_free(struct cache **c);
/* The value is copied; an empty one is forgotten. */
void cache_put(struct cache *c, const struct key *k, struct slice value, int64_t until);
/* Borrowed until the next call; false: none that still holds. */
bool cache_get(
	struct cache *c, const struct key *k, int64_t now, struct slice *value, int64_t *until);
void cache_walk(struct cache *c, int64_t now,
	void (*visit)(const struct key *k, struct slice value, int64_t until, void *arg),
	void *arg);
size_t cache_count(const struct cache *c);

#endif
