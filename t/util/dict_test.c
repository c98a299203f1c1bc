/* SPDX-License-Identifier: ISC */
#include "util/dict.h"

#include "t/tap.h"
#include "util/err.h"
#include "util/mem.h"

#define MANY 20000

static size_t freed;

static void count_free(void *value)
{
	freed++;
	mem_free(value);
}

static void test_basics(void)
{
	struct dict *d = dict_new(3, count_free);
	char *taken = NULL;

	freed = 0;
	ok(dict_get(d, SLICE_LIT("a")) == NULL, "not there");
	is_int(dict_set(d, SLICE_LIT("a"), mem_str("1")), 0, "set");
	is_int(dict_set(d, SLICE_LIT(""), mem_str("2")), 0, "the empty key");
	is_int(dict_set(d, SLICE_LIT("a\0b"), mem_str("3")), 0, "a key with a NUL");
	is_str(dict_get(d, SLICE_LIT("a")), "1", "get");
	is_str(dict_get(d, SLICE_NONE), "2", "get the empty key");
	is_str(dict_get(d, SLICE_LIT("a\0b")), "3", "get a key with a NUL");
	ok(dict_get(d, SLICE_LIT("a\0c")) == NULL, "compares behind the NUL");
	taken = mem_str("4");
	is_int(dict_set(d, SLICE_LIT("b"), taken), ERR_LIMIT, "over the limit");
	mem_free(taken);
	is_int(dict_count(d), 3, "count");
	is_int(dict_set(d, SLICE_LIT("a"), mem_str("5")), 0, "replaced at the limit");
	is_int(freed, 1, "the old value is freed");
	is_str(dict_get(d, SLICE_LIT("a")), "5", "the new value");
	is_int(dict_set(d, SLICE_LIT("a"), dict_get(d, SLICE_LIT("a"))), 0, "by itself");
	is_int(freed, 1, "is not freed");
	taken = dict_take(d, SLICE_LIT("a"));
	is_str(taken, "5", "take");
	is_int(freed, 1, "does not free");
	mem_free(taken);
	ok(dict_take(d, SLICE_LIT("a")) == NULL, "gone");
	ok(!dict_remove(d, SLICE_LIT("a")), "nothing to remove");
	ok(dict_remove(d, SLICE_LIT("")), "remove");
	is_int(freed, 2, "frees");
	dict_free(&d);
	is_int(freed, 3, "the rest is freed with the dictionary");
	ok(d == NULL, "pointer cleared");
	dict_free(&d);
}

static bool remove_odd(struct slice key, void *value, void *arg)
{
	uint64_t v = 0;

	memcpy(&v, key.p, sizeof(v));
	if (v % 2 == 1)
		dict_remove(arg, key);
	return true;
}

static bool sum(struct slice key, void *value, void *arg)
{
	uint64_t v = 0;

	memcpy(&v, key.p, sizeof(v));
	*(uint64_t *)arg += v;
	return true;
}

static void test_many(void)
{
	struct dict *d = dict_new(MANY, NULL);
	static char values[MANY];
	bool good = true;
	uint64_t total = 0;

	for (uint64_t i = 0; i < MANY; i++)
		good &= dict_set(d, DICT_U64(i), &values[i]) == 0;
	ok(good, "%d set", MANY);
	for (uint64_t i = 0; i < MANY; i++)
		good &= dict_get(d, DICT_U64(i)) == &values[i];
	ok(good, "all found");
	dict_walk(d, remove_odd, d);
	is_int(dict_count(d), MANY / 2, "a walk may remove what it visits");
	for (uint64_t i = 0; i < MANY; i++)
		good &= (dict_get(d, DICT_U64(i)) != NULL) == (i % 2 == 0);
	ok(good, "the others stay");
	dict_walk(d, sum, &total);
	is_int(total, (uint64_t)(MANY / 2) * (MANY / 2 - 1), "each is visited once");
	dict_free(&d);
}

static bool stop_at_three(struct slice key, void *value, void *arg)
{
	return ++*(int *)arg < 3;
}

static bool add_more(struct slice key, void *value, void *arg)
{
	static uint64_t next = 1000;

	for (int i = 0; i < 20 && next < 1400; i++, next++)
		dict_set(arg, DICT_U64(next), value);
	return true;
}

static void test_walk(void)
{
	struct dict *d = dict_new(10000, NULL);
	int visits = 0;
	bool good = true;

	dict_walk(d, stop_at_three, &visits);
	is_int(visits, 0, "nothing to visit");
	for (uint64_t i = 0; i < 10; i++)
		dict_set(d, DICT_U64(i), &visits);
	dict_walk(d, stop_at_three, &visits);
	is_int(visits, 3, "visit stops the walk");
	dict_walk(d, add_more, d);
	for (uint64_t i = 1000; i < 1400; i++)
		good &= dict_get(d, DICT_U64(i)) != NULL;
	ok(good, "what a visit adds is there");
	is_int(dict_count(d), 410, "all of it");
	for (uint64_t i = 2000; i < 3000; i++)
		dict_set(d, DICT_U64(i), &visits);
	is_int(dict_count(d), 1410, "and the dictionary grows again");
	dict_free(&d);
}

int main(void)
{
	test_basics();
	test_many();
	test_walk();
	return done_testing();
}
