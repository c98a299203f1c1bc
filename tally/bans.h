/* SPDX-License-Identifier: ISC */
#ifndef TALLY_BANS_H
#define TALLY_BANS_H

#include <sys/queue.h>

#include "net/range.h"

/*
 * Clients and networks that are banned, each until a time. Bounded: the ones that were banned (or
 * whose ban was renewed) longest ago go first. Pure: times are given, in microseconds since 1970.
 */
struct bans;

enum ban_origin { BAN_AUTH, BAN_UNKNOWN_RECIPIENTS, BAN_ERRORS, BAN_OPERATOR, BAN_ORIGINS };

enum { BAN_REASON_MAX = 500 };

struct ban {
	struct net_range client; /* first */
	uint8_t origin;
	uint16_t reason_len;
	uint32_t since; /* seconds */
	int64_t until;
	char *reason; /* owned; not terminated */
};

const char *ban_origin_name(enum ban_origin o);

/* gone: one is not in force any more, because it was removed, or expired, or there are too many. */
struct bans *bans_new(size_t limit, void (*gone)(const struct ban *b)); /* owned */
void bans_free(struct bans **b);                                        /* calls nobody */
void bans_set_limit(struct bans *b, size_t limit);

/* An existing one is renewed. NULL: the limit is 0. */
const struct ban *bans_add(struct bans *b, const struct net_range *client, enum ban_origin origin,
	int64_t since, int64_t until, struct slice reason);
const struct ban *bans_get(const struct bans *b, const struct net_range *client);
bool bans_remove(struct bans *b, const struct net_range *client);
/* The next one that the client lies in, the smallest first; *bits begins with 128. NULL: none. */
const struct ban *bans_find(
	const struct bans *b, const struct net_range *client, int64_t now, int *bits);
/* Ends what has expired. When to call it again at the latest; INT64_MAX: nothing is left. */
int64_t bans_expire(struct bans *b, int64_t now);

/* A way through all of them, from the oldest, during which bans may come and go. */
struct ban_cursor {
	LIST_ENTRY(ban_cursor) link;
	struct ban *next;
};
void bans_begin(struct bans *b, struct ban_cursor *c);
const struct ban *bans_next(struct bans *b, struct ban_cursor *c); /* NULL: that was all */
void bans_end(struct ban_cursor *c);

size_t bans_count(const struct bans *b);
size_t bans_bytes(const struct bans *b); /* without the reasons */

#endif
