/* SPDX-License-Identifier: ISC */
#include <malloc.h>
#include <stdio.h>
#include <string.h>

#include "qmgr/names.h"
#include "t/tap.h"

enum { MANY = 100000, NAME_BYTES = 48 };

/* The texts that a queue may hold: as they are made here, and the ends of what is valid. */
static void keeps_texts(void)
{
	static const char *const ids[] = {
		"4dvR5y0C1VzwBzKNqLw",
		"4dvR5y0C1Vz0",
		"zzzzzzzzzzzzzzzzzzzzzzzzzzzzzz9",
		"0000000000z0",
		"0123456789ABCDEF",
		"FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF",
	};
	struct names *n = names_new();
	char id[QUEUE_ID_MAX + 1];

	for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
		ok(queue_id_is_valid(slice_str(ids[i])), "id %zu is valid", i);
		ok(!names_get(n, names_key(slice_str(ids[i])), id) && id[0] == '\0',
			"and not known");
		names_add(n, slice_str(ids[i]));
		names_add(n, slice_str(ids[i]));
		ok(names_get(n, names_key(slice_str(ids[i])), id), "it is kept");
		is_str(id, ids[i], "as it is");
	}
	is_int(names_count(n), sizeof(ids) / sizeof(ids[0]), "each once");
	names_free(&n);
	ok(n == NULL, "freed");
}

static void name(char id[QUEUE_ID_MAX + 1], unsigned i)
{
	static const char base[] = "0123456789BCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz";

	snprintf(id, QUEUE_ID_MAX + 1, "4dvR5y%c%c%c%cz1", base[i / 140608 % 52],
		base[i / 2704 % 52], base[i / 52 % 52], base[i % 52]);
}

/* Those of [from, to) that are known under their keys. */
static unsigned known(const struct names *n, unsigned from, unsigned to)
{
	char id[QUEUE_ID_MAX + 1], found[QUEUE_ID_MAX + 1];
	unsigned count = 0;

	for (unsigned i = from; i < to; i++) {
		name(id, i);
		count += names_get(n, names_key(slice_str(id)), found) && strcmp(id, found) == 0;
	}
	return count;
}

static void add(struct names *n, unsigned from, unsigned to)
{
	char id[QUEUE_ID_MAX + 1];

	for (unsigned i = from; i < to; i++) {
		name(id, i);
		names_add(n, slice_str(id));
	}
}

static size_t in_use(void)
{
	struct mallinfo2 m = mallinfo2();

	return m.uordblks + m.hblkhd;
}

static void forgets(void)
{
	struct names *n = names_new();
	char id[QUEUE_ID_MAX + 1];
	size_t full;

	add(n, 0, MANY);
	is_int(known(n, 0, MANY), MANY, "%d are known", MANY);
	full = in_use();
	for (unsigned i = 0; i < MANY; i += 2) {
		name(id, i);
		names_remove(n, names_key(slice_str(id)));
		names_remove(n, names_key(slice_str(id)));
	}
	is_int(names_count(n), MANY / 2, "every other one is removed");
	is_int(known(n, 0, MANY), MANY / 2, "the others are known");
	add(n, MANY, MANY + MANY / 2);
	is_int(known(n, MANY, MANY + MANY / 2), MANY / 2, "new ones take their place");
	is_int(known(n, 0, MANY), MANY / 2, "of nobody else");
	ok(in_use() <= full, "and no more memory");
	names_free(&n);
}

static void costs_little(void)
{
	size_t before = in_use(), bytes;
	struct names *n = names_new();

	add(n, 0, MANY);
	bytes = (in_use() - before) / MANY;
	/* A memory checker's own allocator tells nothing. */
	ok(bytes <= NAME_BYTES, "%zu bytes a name", bytes);
	names_free(&n);
}

int main(void)
{
	keeps_texts();
	forgets();
	costs_little();
	return done_testing();
}
