/* SPDX-License-Identifier: ISC */
#include "util/dict.h"

#include "util/err.h"
#include "util/hash.h"
#include "util/log.h"
#include "util/mem.h"

#define DICT_FIRST 16

/* Chains: an entry never moves, so one may go while its neighbours are being visited. */
struct entry {
	struct entry *next;
	uint64_t hash;
	void *value;
	size_t len;
	char key[];
};

struct dict {
	struct entry **slots; /* size is a power of two */
	size_t size, count, limit;
	unsigned walks; /* no growth while one is under way */
	void (*free_value)(void *value);
};

struct dict *dict_new(size_t limit, void (*free_value)(void *value))
{
	struct dict *d = mem_alloc(sizeof(*d));

	d->limit = limit;
	d->free_value = free_value;
	d->size = DICT_FIRST;
	d->slots = mem_array(d->size, sizeof(*d->slots));
	return d;
}

static void free_value(const struct dict *d, void *value)
{
	if (d->free_value != NULL)
		d->free_value(value);
}

void dict_free(struct dict **d)
{
	struct entry *e = NULL, *next = NULL;

	if (*d == NULL)
		return;
	for (size_t i = 0; i < (*d)->size; i++) {
		for (e = (*d)->slots[i]; e != NULL; e = next) {
			next = e->next;
			free_value(*d, e->value);
			mem_free(e);
		}
	}
	mem_free((*d)->slots);
	mem_free(*d);
	*d = NULL;
}

size_t dict_count(const struct dict *d)
{
	return d->count;
}

/* Where the entry hangs, or would. */
static struct entry **dict_place(const struct dict *d, uint64_t hash, struct slice key)
{
	struct entry **at = &d->slots[hash & (d->size - 1)];

	while (*at != NULL &&
		((*at)->hash != hash || !slice_eq(slice_of((*at)->key, (*at)->len), key)))
		at = &(*at)->next;
	return at;
}

void *dict_get(const struct dict *d, struct slice key)
{
	struct entry *e = *dict_place(d, hash_bytes(key), key);

	return e != NULL ? e->value : NULL;
}

static void dict_grow(struct dict *d)
{
	size_t size = d->size * 2;
	struct entry **slots = mem_array(size, sizeof(*slots));
	struct entry *e = NULL, *next = NULL;

	for (size_t i = 0; i < d->size; i++) {
		for (e = d->slots[i]; e != NULL; e = next) {
			next = e->next;
			e->next = slots[e->hash & (size - 1)];
			slots[e->hash & (size - 1)] = e;
		}
	}
	mem_free(d->slots);
	d->slots = slots;
	d->size = size;
}

int dict_set(struct dict *d, struct slice key, void *value)
{
	uint64_t hash = hash_bytes(key);
	struct entry **at = dict_place(d, hash, key), *e = *at;

	if (value == NULL)
		log_panic("dict_set: no value");
	if (e != NULL) {
		void *old = e->value;

		e->value = value;
		if (old != value)
			free_value(d, old);
		return 0;
	}
	if (d->count >= d->limit)
		return ERR_LIMIT;
	e = mem_alloc(sizeof(*e) + key.len);
	e->hash = hash;
	e->value = value;
	e->len = key.len;
	if (key.len > 0)
		memcpy(e->key, key.p, key.len);
	*at = e;
	if (++d->count > d->size && d->walks == 0)
		dict_grow(d);
	return 0;
}

void *dict_take(struct dict *d, struct slice key)
{
	struct entry **at = dict_place(d, hash_bytes(key), key), *e = *at;
	void *value = NULL;

	if (e == NULL)
		return NULL;
	value = e->value;
	*at = e->next;
	d->count--;
	mem_free(e);
	return value;
}

bool dict_remove(struct dict *d, struct slice key)
{
	void *value = dict_take(d, key);

	if (value == NULL)
		return false;
	free_value(d, value);
	return true;
}

void dict_walk(struct dict *d, bool (*visit)(struct slice key, void *value, void *arg), void *arg)
{
	struct entry *e = NULL, *next = NULL;
	bool go_on = true;

	d->walks++;
	for (size_t i = 0; i < d->size && go_on; i++) {
		for (e = d->slots[i]; e != NULL && go_on; e = next) {
			next = e->next;
			go_on = visit(slice_of(e->key, e->len), e->value, arg);
		}
	}
	d->walks--;
}
