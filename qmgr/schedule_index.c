/* SPDX-License-Identifier: ISC */
#include "qmgr/schedule_priv.h"
#include "util/log.h"
#include "util/mem.h"

/*
 * Deferred messages: rows in one array, found by id through an open hash of row numbers, by due
 * time through a heap of row numbers (four children a node: half the depth, one cache line a
 * step). 40 bytes a row, 4 to 8 in the hash, 4 in the heap; arrays grow by half. `place` of a row
 * is its position in the heap, or NO_PLACE for a held one; of a free row the next free one.
 */
#define NO_PLACE UINT32_MAX
#define NO_ROW UINT32_MAX
#define FREED 128 /* a flag of rows that hold nothing */

struct schedule_index {
	struct schedule_deferred *rows;
	uint32_t *heap, *hash; /* hash: row + 1, 0 empty */
	uint32_t rows_len, rows_cap, free_row;
	uint32_t heap_len, heap_cap;
	uint32_t hash_cap, used; /* hash_cap: a power of two */
	uint32_t asked;          /* rows with SCHEDULE_ASKED */
};

struct schedule_index *schedule_index_new(void)
{
	struct schedule_index *x = mem_alloc(sizeof(*x));

	x->free_row = NO_ROW;
	return x;
}

void schedule_index_free(struct schedule_index **xp)
{
	struct schedule_index *x = *xp;

	if (x == NULL)
		return;
	mem_free(x->rows);
	mem_free(x->heap);
	mem_free(x->hash);
	mem_free(x);
	*xp = NULL;
}

/* Ids come from a counter of ours, no peer chooses them: mixing is enough. */
static uint32_t id_slot(const struct schedule_index *x, uint64_t id)
{
	id ^= id >> 33;
	id *= UINT64_C(0xff51afd7ed558ccd);
	id ^= id >> 33;
	return (uint32_t)id & (x->hash_cap - 1);
}

static uint32_t *hash_find(const struct schedule_index *x, uint64_t id)
{
	uint32_t slot = id_slot(x, id);

	while (x->hash[slot] != 0 && x->rows[x->hash[slot] - 1].id != id)
		slot = (slot + 1) & (x->hash_cap - 1);
	return &x->hash[slot];
}

static uint32_t row_find(const struct schedule_index *x, uint64_t id)
{
	return x->hash_cap == 0 ? NO_ROW : *hash_find(x, id) - 1;
}

static void hash_grow(struct schedule_index *x)
{
	uint32_t cap = x->hash_cap == 0 ? 64 : x->hash_cap * 2;

	mem_free(x->hash);
	x->hash = mem_array(cap, sizeof(*x->hash));
	x->hash_cap = cap;
	for (uint32_t row = 0; row < x->rows_len; row++)
		if ((x->rows[row].flags & FREED) == 0)
			*hash_find(x, x->rows[row].id) = row + 1;
}

/* Moves later entries of the run back, so that no grave stones are needed. */
static void hash_remove(struct schedule_index *x, uint64_t id)
{
	uint32_t mask = x->hash_cap - 1;
	uint32_t hole = (uint32_t)(hash_find(x, id) - x->hash);

	for (uint32_t slot = (hole + 1) & mask; x->hash[slot] != 0; slot = (slot + 1) & mask) {
		uint32_t home = id_slot(x, x->rows[x->hash[slot] - 1].id);

		if (((slot - home) & mask) >= ((slot - hole) & mask)) {
			x->hash[hole] = x->hash[slot];
			hole = slot;
		}
	}
	x->hash[hole] = 0;
}

static bool is_before(const struct schedule_index *x, uint32_t a, uint32_t b)
{
	const struct schedule_deferred *m = &x->rows[a], *n = &x->rows[b];

	return m->due != n->due ? m->due < n->due : m->arrival < n->arrival;
}

static void heap_put(struct schedule_index *x, uint32_t place, uint32_t row)
{
	x->heap[place] = row;
	x->rows[row].place = place;
}

static void heap_up(struct schedule_index *x, uint32_t place)
{
	uint32_t row = x->heap[place];

	while (place > 0 && is_before(x, row, x->heap[(place - 1) / 4])) {
		heap_put(x, place, x->heap[(place - 1) / 4]);
		place = (place - 1) / 4;
	}
	heap_put(x, place, row);
}

static void heap_down(struct schedule_index *x, uint32_t place)
{
	uint32_t row = x->heap[place];

	for (;;) {
		uint64_t first = (uint64_t)place * 4 + 1, least = first;

		for (uint64_t i = first + 1; i < first + 4 && i < x->heap_len; i++)
			if (is_before(x, x->heap[i], x->heap[least]))
				least = i;
		if (first >= x->heap_len || !is_before(x, x->heap[least], row))
			break;
		heap_put(x, place, x->heap[least]);
		place = (uint32_t)least;
	}
	heap_put(x, place, row);
}

static void heap_add(struct schedule_index *x, uint32_t row)
{
	if (x->heap_len == x->heap_cap) {
		x->heap_cap += x->heap_cap / 2 + 64;
		x->heap = mem_resize(x->heap, x->heap_cap, sizeof(*x->heap));
	}
	x->heap[x->heap_len] = row;
	heap_up(x, x->heap_len++);
}

static void heap_remove(struct schedule_index *x, uint32_t row)
{
	uint32_t place = x->rows[row].place, last;

	if (place == NO_PLACE)
		return;
	x->rows[row].place = NO_PLACE;
	last = x->heap[--x->heap_len];
	if (last == row)
		return;
	heap_put(x, place, last);
	heap_up(x, place);
	heap_down(x, x->rows[last].place);
}

static uint32_t row_new(struct schedule_index *x)
{
	uint32_t row = x->free_row;

	if (row != NO_ROW) {
		x->free_row = x->rows[row].place;
		return row;
	}
	if (x->rows_len == x->rows_cap) {
		if (x->rows_cap > NO_ROW / 2)
			log_fatal("too many deferred messages: %u", x->rows_cap);
		x->rows_cap += x->rows_cap / 8 + 64;
		x->rows = mem_resize(x->rows, x->rows_cap, sizeof(*x->rows));
	}
	return x->rows_len++;
}

static void row_remove(struct schedule_index *x, uint32_t row)
{
	heap_remove(x, row);
	hash_remove(x, x->rows[row].id);
	x->asked -= (x->rows[row].flags & SCHEDULE_ASKED) != 0;
	x->rows[row].flags = FREED;
	x->rows[row].place = x->free_row;
	x->free_row = row;
	x->used--;
}

void schedule_defer(struct schedule *s, const struct schedule_deferred *d)
{
	struct schedule_index *x = s->index;
	uint32_t row = row_find(x, d->id);

	if (row != NO_ROW)
		row_remove(x, row);
	if ((uint64_t)(x->used + 1) * 4 > (uint64_t)x->hash_cap * 3)
		hash_grow(x);
	row = row_new(x);
	x->rows[row] = *d;
	x->rows[row].flags &= (uint8_t) ~(FREED | SCHEDULE_ASKED);
	x->rows[row].place = NO_PLACE;
	*hash_find(x, d->id) = row + 1;
	x->used++;
	if ((d->flags & SCHEDULE_HELD) == 0)
		heap_add(x, row);
}

const struct schedule_deferred *schedule_deferred_find(const struct schedule *s, uint64_t id)
{
	uint32_t row = row_find(s->index, id);

	return row == NO_ROW ? NULL : &s->index->rows[row];
}

bool schedule_deferred_remove(struct schedule *s, uint64_t id)
{
	uint32_t row = row_find(s->index, id);

	if (row == NO_ROW)
		return false;
	row_remove(s->index, row);
	return true;
}

int64_t schedule_index_next(const struct schedule_index *x)
{
	return x->heap_len == 0 ? CLOCK_NEVER : (int64_t)x->rows[x->heap[0]].due * CLOCK_SEC;
}

struct schedule_deferred schedule_index_pop(struct schedule_index *x)
{
	struct schedule_deferred d = x->rows[x->heap[0]];

	row_remove(x, x->heap[0]);
	return d;
}

static bool flush_row(struct schedule_index *x, uint32_t row, int64_t now, uint8_t flags)
{
	struct schedule_deferred *d = &x->rows[row];

	if ((d->flags & (FREED | SCHEDULE_HELD)) != 0)
		return false;
	x->asked += (flags & ~d->flags & SCHEDULE_ASKED) != 0;
	d->flags |= flags;
	if (d->due > (uint32_t)(now / CLOCK_SEC)) {
		d->due = (uint32_t)(now / CLOCK_SEC);
		heap_up(x, d->place);
	}
	return true;
}

size_t schedule_flush_all(struct schedule *s, int64_t now)
{
	size_t n = 0;

	for (uint32_t row = 0; row < s->index->rows_len; row++)
		n += flush_row(s->index, row, now, SCHEDULE_FLUSHED);
	return n;
}

/* Sites, of which there is one for each transport; the sieve tells most of the others apart. */
struct sites {
	const uint32_t *list;
	size_t n;
	uint64_t sieve[16];
};

#define SIEVE_BITS 1024

static void sieve_fill(struct sites *f)
{
	for (size_t i = 0; i < f->n; i++)
		f->sieve[f->list[i] % SIEVE_BITS / 64] |= UINT64_C(1) << f->list[i] % 64;
}

static bool has_site(const struct sites *f, uint32_t site)
{
	if (site == 0 || (f->sieve[site % SIEVE_BITS / 64] >> site % 64 & 1) == 0)
		return false;
	for (size_t i = 0; i < f->n; i++)
		if (f->list[i] == site)
			return true;
	return false;
}

/*
 * One walk for all of a name. It takes 2 to 5 ms for a million rows, 25 ms when each of them is to
 * be asked for and moves in the heap: not worth a pause.
 */
size_t schedule_flush_name(
	struct schedule *s, int64_t now, const uint32_t *sites, size_t n_sites, uint32_t domain)
{
	struct sites f = {.list = sites, .n = n_sites};
	size_t n = 0;

	s->flushes++;
	sieve_fill(&f);
	for (uint32_t row = 0; row < s->index->rows_len; row++) {
		const struct schedule_deferred *d = &s->index->rows[row];

		if (has_site(&f, d->site[0]) || has_site(&f, d->site[1]))
			n += flush_row(s->index, row, now, SCHEDULE_FLUSHED);
		else if (d->domain == domain || (d->flags & SCHEDULE_MANY) != 0)
			n += flush_row(s->index, row, now, SCHEDULE_ASKED);
	}
	return n;
}

bool schedule_ask(struct schedule *s, int64_t now, uint64_t id)
{
	uint32_t row = row_find(s->index, id);

	return row != NO_ROW && flush_row(s->index, row, now, SCHEDULE_ASKED);
}

bool schedule_has_asked(const struct schedule *s)
{
	return s->index->asked > 0;
}

bool schedule_flush_id(struct schedule *s, int64_t now, uint64_t id)
{
	uint32_t row = row_find(s->index, id);

	if (row == NO_ROW || !flush_row(s->index, row, now, SCHEDULE_FLUSHED))
		return false;
	s->index->rows[row].flags |= SCHEDULE_REVIVE;
	s->flushes++;
	return true;
}

void schedule_deferred_walk(const struct schedule *s,
	bool (*visit)(const struct schedule_deferred *d, void *arg), void *arg)
{
	for (uint32_t row = 0; row < s->index->rows_len; row++)
		if ((s->index->rows[row].flags & FREED) == 0 && !visit(&s->index->rows[row], arg))
			return;
}

void schedule_index_count(const struct schedule_index *x, struct schedule_counts *c)
{
	c->deferred = x->heap_len;
	c->held = x->used - x->heap_len;
	c->index_bytes = x->rows_cap * sizeof(*x->rows) + x->heap_cap * sizeof(*x->heap) +
			 x->hash_cap * sizeof(*x->hash);
}
