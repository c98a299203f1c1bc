/* SPDX-License-Identifier: ISC */
#ifndef TALLY_RATES_H
#define TALLY_RATES_H

#include "tally/key.h"

/*
 * How many events of a kind there were in a window of time that ends now. The window slides by a
 * twelfth of itself; an event counts for the whole window at least and for a twelfth more at most,
 * so that no window ever holds more than a limit. Bounded: what was not seen longest goes first.
 * Pure: times are given, in microseconds.
 */
struct rates;

enum { RATES_STEPS = 12, RATES_SLOTS = RATES_STEPS + 1 };

/* One row, as it is kept in the store. */
struct rate {
	struct key key;
	uint32_t step;           /* number of the newest slot's time */
	uint32_t n[RATES_SLOTS]; /* the newest first */
};

struct rates *rates_new(size_t limit, int64_t window); /* owned */
void rates_free(struct rates **r);
int64_t rates_window(const struct rates *r);
/* Another one forgets all that was counted. */
void rates_set_window(struct rates *r, int64_t window);

/*
 * The rate with n more; they are counted unless that is above the limit (0: none). n may be 0.
 */
uint64_t rates_add(struct rates *r, const struct key *k, uint64_t n, uint64_t limit, int64_t now);
void rates_forget(struct rates *r, const struct key *k);
const struct rate *rates_get(const struct rates *r, const struct key *k); /* NULL: none */
/* A row without events, or that is too old, is forgotten. */
void rates_put(struct rates *r, const struct rate *row, int64_t now);
/* Those that still count. */
void rates_walk(const struct rates *r, int64_t now,
	void (*visit)(const struct rate *row, void *arg), void *arg);
size_t rates_count(const struct rates *r);
size_t rates_bytes(const struct rates *r);

#endif
