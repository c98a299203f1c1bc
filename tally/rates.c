/* SPDX-License-Identifier: ISC */
#include "tally/rates.h"

#include "util/aged.h"
#include "util/mem.h"

struct rates {
	struct aged *rows;
	int64_t window, width; /* of a slot */
};

static void use_window(struct rates *r, int64_t window)
{
	r->window = window;
	r->width = (window + RATES_STEPS - 1) / RATES_STEPS;
	if (r->width == 0)
		r->width = 1;
}

struct rates *rates_new(size_t limit, int64_t window)
{
	struct rates *r = mem_alloc(sizeof(*r));

	r->rows = aged_new(sizeof(struct rate), sizeof(struct key), limit, NULL, NULL);
	use_window(r, window);
	return r;
}

void rates_free(struct rates **r)
{
	if (*r != NULL)
		aged_free(&(*r)->rows);
	mem_free(*r);
	*r = NULL;
}

int64_t rates_window(const struct rates *r)
{
	return r->window;
}

void rates_set_window(struct rates *r, int64_t window)
{
	if (window == r->window)
		return;
	while (aged_count(r->rows) > 0)
		aged_remove(r->rows, aged_oldest(r->rows));
	use_window(r, window);
}

static uint32_t step_of(const struct rates *r, int64_t now)
{
	return (uint32_t)(now / r->width);
}

/* A clock that was set back by more than the window begins anew. */
static void advance(struct rate *row, uint32_t step)
{
	int32_t ahead = (int32_t)(step - row->step);

	if (ahead <= 0 && ahead > -RATES_SLOTS)
		return;
	if (ahead < 0 || ahead > RATES_SLOTS)
		ahead = RATES_SLOTS;
	memmove(row->n + ahead, row->n, (size_t)(RATES_SLOTS - ahead) * sizeof(row->n[0]));
	memset(row->n, 0, (size_t)ahead * sizeof(row->n[0]));
	row->step = step;
}

static uint64_t sum_of(const struct rate *row)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < RATES_SLOTS; i++)
		sum += row->n[i];
	return sum;
}

uint64_t rates_add(struct rates *r, const struct key *k, uint64_t n, uint64_t limit, int64_t now)
{
	struct rate *row = aged_get(r->rows, k);
	uint64_t sum = 0;

	if (row == NULL && n == 0)
		return 0;
	if (row == NULL) {
		row = aged_add(r->rows, k);
		if (row == NULL)
			return 0;
		row->step = step_of(r, now);
	}
	advance(row, step_of(r, now));
	sum = sum_of(row) + n;
	if (n > 0 && (limit == 0 || sum <= limit)) {
		row->n[0] = n < UINT32_MAX - row->n[0] ? row->n[0] + (uint32_t)n : UINT32_MAX;
		aged_touch(r->rows, row);
	}
	return sum;
}

void rates_forget(struct rates *r, const struct key *k)
{
	struct rate *row = aged_get(r->rows, k);

	if (row != NULL)
		aged_remove(r->rows, row);
}

const struct rate *rates_get(const struct rates *r, const struct key *k)
{
	return aged_get(r->rows, k);
}

static bool is_live(const struct rates *r, const struct rate *row, int64_t now)
{
	int32_t age = (int32_t)(step_of(r, now) - row->step);

	return age < RATES_SLOTS && age > -RATES_SLOTS;
}

void rates_put(struct rates *r, const struct rate *row, int64_t now)
{
	struct rate *mine = aged_get(r->rows, &row->key);

	if (!is_live(r, row, now) || sum_of(row) == 0) {
		rates_forget(r, &row->key);
		return;
	}
	if (mine == NULL)
		mine = aged_add(r->rows, &row->key);
	if (mine != NULL) {
		*mine = *row;
		aged_touch(r->rows, mine);
	}
}

void rates_walk(const struct rates *r, int64_t now,
	void (*visit)(const struct rate *row, void *arg), void *arg)
{
	for (struct rate *row = aged_oldest(r->rows); row != NULL; row = aged_younger(r->rows, row))
		if (is_live(r, row, now) && sum_of(row) > 0)
			visit(row, arg);
}

size_t rates_count(const struct rates *r)
{
	return aged_count(r->rows);
}

size_t rates_bytes(const struct rates *r)
{
	return sizeof(*r) + aged_bytes(r->rows);
}
