/* SPDX-License-Identifier: ISC */
#include "tally/grey.h"

#include "util/aged.h"
#include "util/mem.h"

enum { SAVE_AGE = 3600 }; /* by how much a time in the store may be too old */

struct grey {
	struct aged *rows;
	struct grey_settings set;
	void (*changed)(const struct grey_row *row);
};

struct grey *grey_new(const struct grey_settings *s)
{
	struct grey *g = mem_alloc(sizeof(*g));

	g->set = *s;
	g->rows = aged_new(sizeof(struct grey_row), sizeof(struct key), s->limit, NULL, NULL);
	return g;
}

void grey_free(struct grey **g)
{
	if (*g != NULL)
		aged_free(&(*g)->rows);
	mem_free(*g);
	*g = NULL;
}

void grey_set(struct grey *g, const struct grey_settings *s)
{
	g->set = *s;
	aged_set_limit(g->rows, s->limit);
}

void grey_on_change(struct grey *g, void (*changed)(const struct grey_row *row))
{
	g->changed = changed;
}

static void tell(struct grey *g, const struct grey_row *row)
{
	if (g->changed != NULL)
		g->changed(row);
}

static bool is_expired(const struct grey *g, const struct grey_row *row, int64_t now)
{
	return row->passes > 0 ? now - row->last > g->set.max_age
			       : now - row->first > g->set.retry_window;
}

/* NULL: there is none that still holds. */
static struct grey_row *find(struct grey *g, const struct key *k, int64_t now)
{
	struct grey_row *row = aged_get(g->rows, k);

	if (row != NULL && is_expired(g, row, now)) {
		aged_remove(g->rows, row);
		row = NULL;
	}
	return row;
}

static struct grey_row *add(struct grey *g, const struct key *k, int64_t now)
{
	struct grey_row *row = aged_add(g->rows, k);

	if (row != NULL)
		row->first = row->last = (uint32_t)now;
	return row;
}

static void pass(struct grey *g, struct grey_row *row, int64_t now)
{
	bool save = row->passes == 0 || now - row->last > SAVE_AGE;

	if (row->passes < UINT32_MAX)
		row->passes++;
	row->last = (uint32_t)now;
	aged_touch(g->rows, row);
	if (save)
		tell(g, row);
}

/* One more sender and recipient of this network have passed. */
static void credit(struct grey *g, const struct key *net, int64_t now)
{
	struct grey_row *row = find(g, net, now);

	if (g->set.auto_allow == 0)
		return;
	if (row == NULL)
		row = add(g, net, now);
	if (row == NULL)
		return;
	pass(g, row, now);
	tell(g, row);
}

static struct key triple_of(
	const struct net_range *net, struct slice sender, struct slice recipient)
{
	struct buf from = BUF_INIT(2048), to = BUF_INIT(2048);
	struct key k;

	(void)buf_add_lower(&from, slice_first(sender, 2048));
	(void)buf_add_lower(&to, slice_first(recipient, 2048));
	k = KEY_OF('g', slice_of(net, NET_RANGE_WIRE), buf_slice(&from), buf_slice(&to));
	buf_clear(&from);
	buf_clear(&to);
	return k;
}

int64_t grey_ask(struct grey *g, const struct net_range *client, struct slice sender,
	struct slice recipient, int64_t delay, int64_t now)
{
	struct net_range net = *client;
	struct grey_row *row = NULL;

	net_range_mask(&net, 24, 64);
	struct key own = KEY_OF('n', slice_of(&net, NET_RANGE_WIRE));
	struct key k = triple_of(&net, sender, recipient);

	row = find(g, &own, now);
	if (row != NULL && g->set.auto_allow > 0 && row->passes >= g->set.auto_allow) {
		pass(g, row, now);
		return 0;
	}
	row = find(g, &k, now);
	if (row == NULL) {
		row = add(g, &k, now);
		if (row == NULL || delay <= 0)
			return 0;
		tell(g, row);
		return delay;
	}
	if (row->passes == 0 && now - row->first < delay)
		return delay - (now - row->first);
	if (row->passes == 0)
		credit(g, &own, now);
	/* A row of the network may have pushed the oldest out: it may have been this one. */
	row = find(g, &k, now);
	if (row != NULL)
		pass(g, row, now);
	return 0;
}

void grey_put(struct grey *g, const struct grey_row *row, int64_t now)
{
	struct grey_row *mine = aged_get(g->rows, &row->key);

	if (is_expired(g, row, now))
		return;
	if (mine == NULL)
		mine = aged_add(g->rows, &row->key);
	if (mine != NULL) {
		*mine = *row;
		aged_touch(g->rows, mine);
	}
}

void grey_walk(const struct grey *g, int64_t now,
	void (*visit)(const struct grey_row *row, void *arg), void *arg)
{
	for (struct grey_row *row = aged_oldest(g->rows); row != NULL;
		row = aged_younger(g->rows, row))
		if (!is_expired(g, row, now))
			visit(row, arg);
}

size_t grey_count(const struct grey *g)
{
	return aged_count(g->rows);
}

size_t grey_bytes(const struct grey *g)
{
	return sizeof(*g) + aged_bytes(g->rows);
}
