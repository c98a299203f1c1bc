/* SPDX-License-Identifier: ISC */
#include "conf/rate.h"

#include "util/clock.h"
#include "util/err.h"

static int64_t unit_of(char c)
{
	switch (c) {
	case 's':
	case 'S': return 1;
	case 'm':
	case 'M': return 60;
	case 'h':
	case 'H': return 3600;
	case 'd':
	case 'D': return 86400;
	case 'w':
	case 'W': return 7 * 86400;
	default: return 0;
	}
}

int rate_parse_time(struct slice text, struct buf *why, int64_t *time)
{
	const uint64_t max = RATE_DAYS_MAX * UINT64_C(86400);
	struct slice digits = text;
	int64_t factor = 1;
	uint64_t v = 0;
	int err;

	*time = 0;
	if (text.len > 1 && unit_of(text.p[text.len - 1]) != 0) {
		factor = unit_of(text.p[text.len - 1]);
		digits.len--;
	}
	err = slice_u64(digits, 0, UINT64_MAX, &v);
	if (err == 0 && (v == 0 || v > max / (uint64_t)factor))
		err = ERR_RANGE;
	if (err == ERR_RANGE)
		buf_add_fmt(why, "\"%.*s\" is out of bounds; expected 1s to %dd", SLICE_FMT(text),
			RATE_DAYS_MAX);
	else if (err != 0)
		buf_add_fmt(why, "\"%.*s\" is no time; expected a number and s, m, h, d or w",
			SLICE_FMT(text));
	if (err == 0)
		*time = (int64_t)v * factor * CLOCK_SEC;
	return err;
}

int rate_parse(struct slice text, struct buf *why, uint32_t *count, int64_t *per)
{
	ptrdiff_t slash = slice_find(text, '/');
	uint64_t n = 0;
	int err;

	*count = 0;
	*per = 0;
	if (text.len == 0)
		return 0;
	if (slash < 0) {
		buf_add_fmt(why, "\"%.*s\" is no rate; expected NUMBER/TIME as in 20/1s",
			SLICE_FMT(text));
		return ERR_SYNTAX;
	}
	err = slice_u64(slice_trim(slice_first(text, (size_t)slash)), 1, RATE_COUNT_MAX, &n);
	if (err != 0) {
		buf_add_fmt(why, "\"%.*s\" is no number before the /; expected 1 to %d",
			SLICE_FMT(slice_first(text, (size_t)slash)), RATE_COUNT_MAX);
		return err;
	}
	err = rate_parse_time(slice_trim(slice_from(text, (size_t)slash + 1)), why, per);
	if (err == 0)
		*count = (uint32_t)n;
	return err;
}
