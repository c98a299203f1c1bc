/* SPDX-License-Identifier: ISC */
#include "util/aged.h"

#include <string.h>

#include "util/hash.h"
#include "util/mem.h"

/*
 * Records stand in chunks; numbers begin with 1, 0 is none. An index of numbers with linear probing
 * finds them; a list by age goes through them, and another one through free places.
 */
enum { CHUNK = 4096, SLOTS_FIRST = 64 };

struct head {
	uint32_t older, younger; /* younger: the next free place of one that is free */
	uint32_t self, hash;
};

struct aged {
	size_t record, key, stride, limit, count;
	void (*gone)(void *record, void *arg);
	void *arg;
	char **chunks; /* owned, each owned */
	size_t chunks_n;
	uint32_t used; /* places that have ever been in use */
	uint32_t free, oldest, youngest;
	uint32_t *slots; /* owned */
	size_t mask;
};

static struct head *head_of(const struct aged *a, uint32_t n)
{
	size_t i = n - 1;

	return (struct head *)(void *)(a->chunks[i / CHUNK] + (i % CHUNK) * a->stride);
}

static void *record_of(struct head *h)
{
	return h + 1;
}

static struct head *head_at(const void *record)
{
	return (struct head *)(uintptr_t)record - 1;
}

struct aged *aged_new(
	size_t record, size_t key, size_t limit, void (*gone)(void *record, void *arg), void *arg)
{
	struct aged *a = mem_alloc(sizeof(*a));

	a->record = record;
	a->key = key;
	a->stride = sizeof(struct head) + (record + 7) / 8 * 8;
	a->limit = limit;
	a->gone = gone;
	a->arg = arg;
	a->slots = mem_array(SLOTS_FIRST, sizeof(*a->slots));
	a->mask = SLOTS_FIRST - 1;
	return a;
}

void aged_free(struct aged **ap)
{
	struct aged *a = *ap;

	*ap = NULL;
	if (a == NULL)
		return;
	while (a->count > 0)
		aged_remove(a, aged_oldest(a));
	for (size_t i = 0; i < a->chunks_n; i++)
		mem_free(a->chunks[i]);
	mem_free(a->chunks);
	mem_free(a->slots);
	mem_free(a);
}

void aged_set_limit(struct aged *a, size_t limit)
{
	a->limit = limit;
	while (a->count > limit)
		aged_remove(a, aged_oldest(a));
}

/* ---- the index ---- */

static uint32_t hash_key(const struct aged *a, const void *key)
{
	return (uint32_t)hash_bytes(slice_of(key, a->key));
}

static void index_add(struct aged *a, uint32_t n, uint32_t hash)
{
	size_t at = hash & a->mask;

	while (a->slots[at] != 0)
		at = (at + 1) & a->mask;
	a->slots[at] = n;
}

static void index_grow(struct aged *a)
{
	size_t slots = (a->mask + 1) * 2;

	mem_free(a->slots);
	a->slots = mem_array(slots, sizeof(*a->slots));
	a->mask = slots - 1;
	for (uint32_t n = a->oldest; n != 0; n = head_of(a, n)->younger)
		index_add(a, n, head_of(a, n)->hash);
}

/* What stands behind an emptied place moves up where it belongs, so that no search ends early. */
static void index_remove(struct aged *a, uint32_t n, uint32_t hash)
{
	size_t hole = hash & a->mask;

	while (a->slots[hole] != n)
		hole = (hole + 1) & a->mask;
	for (size_t at = (hole + 1) & a->mask; a->slots[at] != 0; at = (at + 1) & a->mask) {
		size_t home = head_of(a, a->slots[at])->hash & a->mask;

		if (((at - home) & a->mask) >= ((at - hole) & a->mask)) {
			a->slots[hole] = a->slots[at];
			hole = at;
		}
	}
	a->slots[hole] = 0;
}

void *aged_get(const struct aged *a, const void *key)
{
	uint32_t hash = hash_key(a, key);

	for (size_t at = hash & a->mask; a->slots[at] != 0; at = (at + 1) & a->mask) {
		struct head *h = head_of(a, a->slots[at]);

		if (h->hash == hash && memcmp(record_of(h), key, a->key) == 0)
			return record_of(h);
	}
	return NULL;
}

/* ---- age ---- */

static void link_youngest(struct aged *a, struct head *h)
{
	h->older = a->youngest;
	h->younger = 0;
	if (a->youngest != 0)
		head_of(a, a->youngest)->younger = h->self;
	else
		a->oldest = h->self;
	a->youngest = h->self;
}

static void take_out(struct aged *a, struct head *h)
{
	if (h->older != 0)
		head_of(a, h->older)->younger = h->younger;
	else
		a->oldest = h->younger;
	if (h->younger != 0)
		head_of(a, h->younger)->older = h->older;
	else
		a->youngest = h->older;
}

void aged_touch(struct aged *a, void *record)
{
	struct head *h = head_at(record);

	if (a->youngest != h->self) {
		take_out(a, h);
		link_youngest(a, h);
	}
}

void *aged_oldest(const struct aged *a)
{
	return a->oldest != 0 ? record_of(head_of(a, a->oldest)) : NULL;
}

void *aged_younger(const struct aged *a, const void *record)
{
	uint32_t n = head_at(record)->younger;

	return n != 0 ? record_of(head_of(a, n)) : NULL;
}

/* ---- records ---- */

static struct head *place_new(struct aged *a)
{
	struct head *h = NULL;

	if (a->free != 0) {
		h = head_of(a, a->free);
		a->free = h->younger;
		return h;
	}
	if (a->used == a->chunks_n * CHUNK) {
		a->chunks = mem_resize(a->chunks, a->chunks_n + 1, sizeof(*a->chunks));
		a->chunks[a->chunks_n++] = mem_array(CHUNK, a->stride);
	}
	h = head_of(a, ++a->used);
	h->self = a->used;
	return h;
}

void *aged_add(struct aged *a, const void *key)
{
	struct head *h = NULL;

	if (a->limit == 0)
		return NULL;
	while (a->count >= a->limit)
		aged_remove(a, aged_oldest(a));
	if ((a->count + 1) * 4 > (a->mask + 1) * 3)
		index_grow(a);
	h = place_new(a);
	h->hash = hash_key(a, key);
	memset(record_of(h), 0, a->record);
	memcpy(record_of(h), key, a->key);
	index_add(a, h->self, h->hash);
	link_youngest(a, h);
	a->count++;
	return record_of(h);
}

void aged_remove(struct aged *a, void *record)
{
	struct head *h = head_at(record);

	if (a->gone != NULL)
		a->gone(record, a->arg);
	index_remove(a, h->self, h->hash);
	take_out(a, h);
	h->younger = a->free;
	a->free = h->self;
	a->count--;
}

size_t aged_count(const struct aged *a)
{
	return a->count;
}

size_t aged_bytes(const struct aged *a)
{
	return sizeof(*a) + a->chunks_n * (sizeof(*a->chunks) + CHUNK * a->stride) +
	       (a->mask + 1) * sizeof(*a->slots);
}
