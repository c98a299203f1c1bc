/* SPDX-License-Identifier: ISC */
#ifndef TALLY_GREY_H
#define TALLY_GREY_H

#include "net/range.h"
#include "tally/key.h"

/*
 * The greylist. A network of clients (/24, /64), a sender and a recipient that come together for
 * the first time are to come again later: a mail server does, much of what sends spam does not. Who
 * has come again within retry_window passes, and goes on passing while he comes within max_age. A
 * network that has passed auto_allow times (0: never) passes with any sender and recipient.
 * Bounded: what was not seen longest goes first. Pure: times are given, in seconds since 1970.
 */
struct grey;

struct grey_settings {
	int64_t retry_window, max_age;
	uint64_t auto_allow;
	size_t limit;
};

/* One row, as it is kept in the store. */
struct grey_row {
	struct key key;
	uint32_t first, last; /* seen; last since it has passed */
	uint32_t passes;
};

struct grey *grey_new(const struct grey_settings *s); /* owned */
void grey_free(struct grey **g);
void grey_set(struct grey *g, const struct grey_settings *s);
/* Called with each row that has changed and is worth to be kept. */
void grey_on_change(struct grey *g, void (*changed)(const struct grey_row *row));
/* 0: it may pass; else for how long it still has to wait. */
int64_t grey_ask(struct grey *g, const struct net_range *client, struct slice sender,
	struct slice recipient, int64_t delay, int64_t now);
void grey_put(struct grey *g, const struct grey_row *row, int64_t now);
/* Those that have not expired. */
void grey_walk(const struct grey *g, int64_t now,
	void (*visit)(const struct grey_row *row, void *arg), void *arg);
size_t grey_count(const struct grey *g);
size_t grey_bytes(const struct grey *g);

#endif
