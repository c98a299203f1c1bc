/* SPDX-License-Identifier: ISC */
#include "qmgr/names.h"

#include "util/hash.h"
#include "util/log.h"
#include "util/mem.h"

/*
 * Rows in one array, found through an open hash of row numbers. A text has six bits a character,
 * the rest is filled with END. A row begins with the part of its key that says where it stands in
 * the hash; a free row has an empty text and there the number of the next free one.
 */
#define KEY_BIT (UINT64_C(1) << 63)
#define END 63u
#define PACKED 24 /* room for 32 characters */
#define NO_ROW UINT32_MAX

struct row {
	uint32_t part;
	uint8_t text[PACKED];
};

struct names {
	struct row *rows;
	uint32_t *hash; /* row + 1, 0 empty */
	uint32_t rows_len, rows_cap, free_row;
	uint32_t hash_cap, used; /* hash_cap: a power of two */
};

_Static_assert(QUEUE_ID_MAX < PACKED / 3 * 4, "an id and its end fit into a row");

/* ---- Texts. ---- */

static unsigned digit_of(char c)
{
	if (c <= '9')
		return (unsigned)(c - '0');
	return c <= 'Z' ? (unsigned)(c - 'A') + 10 : (unsigned)(c - 'a') + 36;
}

static void pack(struct slice id, uint8_t out[PACKED])
{
	for (size_t at = 0, i = 0; at < PACKED; at += 3) {
		unsigned bits = 0;

		for (size_t end = i + 4; i < end; i++)
			bits = bits << 6 | (i < id.len ? digit_of(id.p[i]) : END);
		out[at] = (uint8_t)(bits >> 16);
		out[at + 1] = (uint8_t)(bits >> 8);
		out[at + 2] = (uint8_t)bits;
	}
}

static struct slice unpack(const uint8_t in[PACKED], char id[QUEUE_ID_MAX + 1])
{
	static const char digits[] =
		"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
	size_t len = 0;

	for (size_t i = 0; i < QUEUE_ID_MAX; i++) {
		const uint8_t *p = in + i / 4 * 3;
		unsigned bits = (unsigned)p[0] << 16 | (unsigned)p[1] << 8 | p[2];
		unsigned digit = bits >> (18 - i % 4 * 6) & 63;

		if (digit >= sizeof(digits) - 1)
			break;
		id[len++] = digits[digit];
	}
	id[len] = '\0';
	return slice_of(id, len);
}

static bool is_free(const struct row *row)
{
	return row->text[0] >> 2 == END;
}

uint64_t names_key(struct slice id)
{
	return hash_bytes(id) | KEY_BIT;
}

/* ---- The hash. ---- */

/* Where the row of that key is, or would be. */
static uint32_t *find(const struct names *n, uint64_t key)
{
	uint32_t mask = n->hash_cap - 1, slot = (uint32_t)key & mask;
	char id[QUEUE_ID_MAX + 1];

	for (; n->hash[slot] != 0; slot = (slot + 1) & mask) {
		const struct row *row = &n->rows[n->hash[slot] - 1];

		if (row->part == (uint32_t)key && names_key(unpack(row->text, id)) == key)
			break;
	}
	return &n->hash[slot];
}

static void grow_hash(struct names *n)
{
	uint32_t cap = n->hash_cap == 0 ? 64 : n->hash_cap * 2;

	mem_free(n->hash);
	n->hash = mem_array(cap, sizeof(*n->hash));
	n->hash_cap = cap;
	for (uint32_t row = 0; row < n->rows_len; row++) {
		uint32_t slot = n->rows[row].part & (cap - 1);

		if (is_free(&n->rows[row]))
			continue;
		while (n->hash[slot] != 0)
			slot = (slot + 1) & (cap - 1);
		n->hash[slot] = row + 1;
	}
}

/* Moves later entries of the run back into the hole, so that each is found from its own place. */
static void close_hole(struct names *n, uint32_t hole)
{
	uint32_t mask = n->hash_cap - 1;

	for (uint32_t slot = (hole + 1) & mask; n->hash[slot] != 0; slot = (slot + 1) & mask) {
		uint32_t home = n->rows[n->hash[slot] - 1].part & mask;

		if (((slot - home) & mask) < ((slot - hole) & mask))
			continue;
		n->hash[hole] = n->hash[slot];
		hole = slot;
	}
	n->hash[hole] = 0;
}

/* ---- Rows. ---- */

static uint32_t new_row(struct names *n)
{
	uint32_t row = n->free_row;

	if (row != NO_ROW) {
		n->free_row = n->rows[row].part;
		return row;
	}
	if (n->rows_len == n->rows_cap) {
		if (n->rows_cap > NO_ROW / 2)
			log_fatal("too many queue ids: %u", n->rows_cap);
		n->rows_cap += n->rows_cap / 8 + 64;
		n->rows = mem_resize(n->rows, n->rows_cap, sizeof(*n->rows));
	}
	return n->rows_len++;
}

struct names *names_new(void)
{
	struct names *n = mem_alloc(sizeof(*n));

	n->free_row = NO_ROW;
	grow_hash(n);
	return n;
}

void names_free(struct names **np)
{
	struct names *n = *np;

	if (n == NULL)
		return;
	mem_free(n->rows);
	mem_free(n->hash);
	mem_free(n);
	*np = NULL;
}

void names_add(struct names *n, struct slice id)
{
	uint64_t key = names_key(id);
	uint32_t row;

	if (*find(n, key) != 0)
		return;
	if ((uint64_t)(n->used + 1) * 4 > (uint64_t)n->hash_cap * 3)
		grow_hash(n);
	row = new_row(n);
	n->rows[row].part = (uint32_t)key;
	pack(id, n->rows[row].text);
	*find(n, key) = row + 1;
	n->used++;
}

bool names_get(const struct names *n, uint64_t key, char id[QUEUE_ID_MAX + 1])
{
	uint32_t row = *find(n, key);

	id[0] = '\0';
	if (row == 0)
		return false;
	unpack(n->rows[row - 1].text, id);
	return true;
}

void names_remove(struct names *n, uint64_t key)
{
	uint32_t *slot = find(n, key), row = *slot;

	if (row == 0)
		return;
	close_hole(n, (uint32_t)(slot - n->hash));
	n->rows[row - 1].part = n->free_row;
	memset(n->rows[row - 1].text, 0xff, PACKED);
	n->free_row = row - 1;
	n->used--;
}

size_t names_count(const struct names *n)
{
	return n->used;
}
