/* SPDX-License-Identifier: ISC */
#include "t/tap.h"

#include "util/aged.h"

struct item {
	uint64_t key;
	uint32_t value;
};

enum { MANY = 20000, LIMIT = 5000 };

static unsigned removed;

static void gone(void *record, void *arg)
{
	const struct item *i = record;

	*(uint64_t *)arg += i->key;
	removed++;
}

static struct item *put(struct aged *a, uint64_t key)
{
	struct item *i = aged_get(a, &key);

	if (i == NULL)
		i = aged_add(a, &key);
	i->value = (uint32_t)key * 3;
	return i;
}

static unsigned wrong(const struct aged *a, uint64_t from, uint64_t to, bool there)
{
	unsigned n = 0;

	for (uint64_t key = from; key < to; key++) {
		const struct item *i = aged_get(a, &key);

		n += (i != NULL) != there || (i != NULL && i->value != (uint32_t)key * 3);
	}
	return n;
}

int main(void)
{
	uint64_t sum = 0, key = 0;
	struct aged *a = aged_new(sizeof(struct item), sizeof(uint64_t), LIMIT, gone, &sum);

	ok(aged_oldest(a) == NULL && aged_get(a, &key) == NULL, "empty");
	for (key = 0; key < MANY; key++)
		put(a, key);
	is_int(aged_count(a), LIMIT, "bounded");
	is_int(wrong(a, 0, MANY - LIMIT, false), 0, "the oldest have gone");
	is_int(wrong(a, MANY - LIMIT, MANY, true), 0, "the others are there");
	is_int(removed, MANY - LIMIT, "each was told of");
	is_int(((struct item *)aged_oldest(a))->key, MANY - LIMIT, "in their order");

	for (key = MANY - LIMIT; key < MANY; key += 2)
		aged_remove(a, aged_get(a, &key));
	is_int(aged_count(a), LIMIT / 2, "every second one is removed");
	unsigned bad = 0;
	for (key = MANY - LIMIT; key < MANY; key++)
		bad += (aged_get(a, &key) != NULL) != (key % 2 == 1);
	is_int(bad, 0, "and no other");
	key = MANY - LIMIT + 1;
	aged_touch(a, aged_get(a, &key));
	is_int(((struct item *)aged_oldest(a))->key, key + 2, "one was made young");
	size_t n = 0;
	uint64_t last = 0;
	for (struct item *i = aged_oldest(a); i != NULL; i = aged_younger(a, i), n++)
		last = i->key;
	ok(n == LIMIT / 2 && last == key, "the walk ends with it");
	size_t before = aged_bytes(a);
	for (key = 0; key < LIMIT / 2; key++)
		put(a, key);
	is_int(aged_bytes(a), before, "free places are used again");
	is_int(wrong(a, 0, LIMIT / 2, true), 0, "well");
	aged_set_limit(a, 10);
	is_int(aged_count(a), 10, "a smaller limit");
	aged_set_limit(a, 0);
	key = 1;
	ok(aged_add(a, &key) == NULL && aged_count(a) == 0, "none");
	aged_free(&a);
	ok(a == NULL, "freed");
	return done_testing();
}
