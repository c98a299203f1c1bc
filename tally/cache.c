/* SPDX-License-Identifier: ISC */
#include "tally/cache.h"

#include "util/aged.h"
#include "util/mem.h"

struct item {
	struct key key;
	int64_t until;
	char *value; /* owned */
	uint32_t len;
};

struct cache {
	struct aged *items;
	size_t bytes, bytes_limit;
};

/* What a value costs beside its bytes: memory is given in steps. */
enum { VALUE_OVERHEAD = 24 };

static void item_gone(void *record, void *arg)
{
	struct item *i = record;
	struct cache *c = arg;

	c->bytes -= i->len + VALUE_OVERHEAD;
	mem_free(i->value);
}

struct cache *cache_new(size_t limit, size_t bytes_limit)
{
	struct cache *c = mem_alloc(sizeof(*c));

	c->items = aged_new(sizeof(struct item), sizeof(struct key), limit, item_gone, c);
	c->bytes_limit = bytes_limit;
	return c;
}

void cache_free(struct cache **c)
{
	if (*c != NULL)
		aged_free(&(*c)->items);
	mem_free(*c);
	*c = NULL;
}

void cache_put(struct cache *c, const struct key *k, struct slice value, int64_t until)
{
	struct item *i = aged_get(c->items, k);

	if (i != NULL)
		aged_remove(c->items, i);
	if (value.len == 0 || value.len + VALUE_OVERHEAD > c->bytes_limit)
		return;
	c->bytes += value.len + VALUE_OVERHEAD;
	while (c->bytes > c->bytes_limit && aged_count(c->items) > 0)
		aged_remove(c->items, aged_oldest(c->items));
	i = aged_add(c->items, k);
	i->until = until;
	i->value = mem_dup(value.p, value.len);
	i->len = (uint32_t)value.len;
}

bool cache_get(
	struct cache *c, const struct key *k, int64_t now, struct slice *value, int64_t *until)
{
	struct item *i = aged_get(c->items, k);

	if (i != NULL && i->until <= now) {
		aged_remove(c->items, i);
		i = NULL;
	}
	*value = i != NULL ? slice_of(i->value, i->len) : SLICE_NONE;
	*until = i != NULL ? i->until : 0;
	return i != NULL;
}

void cache_walk(struct cache *c, int64_t now,
	void (*visit)(const struct key *k, struct slice value, int64_t until, void *arg), void *arg)
{
	for (struct item *i = aged_oldest(c->items); i != NULL; i = aged_younger(c->items, i))
		if (i->until > now)
			visit(&i->key, slice_of(i->value, i->len), i->until, arg);
}

size_t cache_count(const struct cache *c)
{
	return aged_count(c->items);
}
