/* SPDX-License-Identifier: ISC */
#include "tally/bans.h"

#include "util/clock.h"
#include "util/mem.h"

static const char *const names[BAN_ORIGINS] = {
	[BAN_AUTH] = "auth",
	[BAN_UNKNOWN_RECIPIENTS] = "unknown-recipients",
	[BAN_ERRORS] = "errors",
	[BAN_OPERATOR] = "operator",
};

struct bans {
	struct range_set *set;
	void (*gone)(const struct ban *b);
	LIST_HEAD(, ban_cursor) cursors;
};

const char *ban_origin_name(enum ban_origin o)
{
	return (unsigned)o < BAN_ORIGINS ? names[o] : "unknown";
}

static void drop(void *record, void *arg)
{
	struct ban *ban = record;
	struct bans *b = arg;
	struct ban_cursor *c;

	LIST_FOREACH(c, &b->cursors, link)
	if (c->next == ban)
		c->next = range_set_younger(b->set, ban);
	if (b->gone != NULL)
		b->gone(ban);
	mem_free(ban->reason);
}

struct bans *bans_new(size_t limit, void (*gone)(const struct ban *b))
{
	struct bans *b = mem_alloc(sizeof(*b));

	b->gone = gone;
	b->set = range_set_new(sizeof(struct ban), limit, drop, b);
	return b;
}

void bans_free(struct bans **b)
{
	if (*b != NULL) {
		(*b)->gone = NULL;
		range_set_free(&(*b)->set);
	}
	mem_free(*b);
	*b = NULL;
}

void bans_set_limit(struct bans *b, size_t limit)
{
	range_set_limit(b->set, limit);
}

/* A renewed one is the youngest again: it goes and comes, unseen. */
static void forget_old(struct bans *b, const struct net_range *client)
{
	void (*gone)(const struct ban *b) = b->gone;
	struct ban *old = range_set_get(b->set, client);

	b->gone = NULL;
	if (old != NULL)
		range_set_remove(b->set, old);
	b->gone = gone;
}

const struct ban *bans_add(struct bans *b, const struct net_range *client, enum ban_origin origin,
	int64_t since, int64_t until, struct slice reason)
{
	struct ban *ban = NULL;

	forget_old(b, client);
	ban = range_set_add(b->set, client);
	if (ban == NULL)
		return NULL;
	ban->origin = (uint8_t)origin;
	ban->since = (uint32_t)(since / CLOCK_SEC);
	ban->until = until;
	reason = slice_first(reason, BAN_REASON_MAX);
	ban->reason_len = (uint16_t)reason.len;
	ban->reason = reason.len > 0 ? mem_dup(reason.p, reason.len) : NULL;
	return ban;
}

const struct ban *bans_get(const struct bans *b, const struct net_range *client)
{
	return range_set_get(b->set, client);
}

bool bans_remove(struct bans *b, const struct net_range *client)
{
	struct ban *ban = range_set_get(b->set, client);

	if (ban != NULL)
		range_set_remove(b->set, ban);
	return ban != NULL;
}

const struct ban *bans_find(
	const struct bans *b, const struct net_range *client, int64_t now, int *bits)
{
	const struct ban *ban = range_set_find(b->set, client, bits);

	while (ban != NULL && ban->until <= now)
		ban = range_set_find(b->set, client, bits);
	return ban;
}

int64_t bans_expire(struct bans *b, int64_t now)
{
	int64_t soonest = INT64_MAX;
	struct ban *next = NULL;

	for (struct ban *ban = range_set_oldest(b->set); ban != NULL; ban = next) {
		next = range_set_younger(b->set, ban);
		if (ban->until <= now)
			range_set_remove(b->set, ban);
		else if (ban->until < soonest)
			soonest = ban->until;
	}
	return soonest;
}

void bans_begin(struct bans *b, struct ban_cursor *c)
{
	c->next = range_set_oldest(b->set);
	LIST_INSERT_HEAD(&b->cursors, c, link);
}

const struct ban *bans_next(struct bans *b, struct ban_cursor *c)
{
	const struct ban *ban = c->next;

	if (ban != NULL)
		c->next = range_set_younger(b->set, ban);
	return ban;
}

void bans_end(struct ban_cursor *c)
{
	LIST_REMOVE(c, link);
}

size_t bans_count(const struct bans *b)
{
	return range_set_count(b->set);
}

size_t bans_bytes(const struct bans *b)
{
	return sizeof(*b) + range_set_bytes(b->set);
}
