/* SPDX-License-Identifier: ISC */
#include "conf/feedback.h"

#include "util/err.h"

enum { DIGITS = 6, DIVISOR_MAX = 1000000 };

/* "1", "0.25", ".5" */
static int parse_number(struct slice text, double *number)
{
	struct slice rest = text, whole = SLICE_NONE;
	uint64_t n = 0, part = 0;
	double scale = 1;

	slice_part(&rest, '.', &whole);
	if (whole.len == 0 && rest.len == 0)
		return ERR_SYNTAX;
	if (whole.len > 0 && slice_u64(whole, 0, FEEDBACK_MAX, &n) != 0)
		return ERR_SYNTAX;
	if (rest.p != NULL && slice_u64(rest, 0, UINT64_MAX, &part) == ERR_SYNTAX)
		return ERR_SYNTAX;
	rest = slice_first(rest, DIGITS);
	if (rest.len > 0)
		(void)slice_u64(rest, 0, UINT64_MAX, &part);
	for (size_t i = 0; i < rest.len; i++)
		scale *= 10;
	*number = (double)n + (double)part / scale;
	return 0;
}

int feedback_parse(struct slice text, struct buf *why, double *base, enum feedback_shape *shape)
{
	struct slice below = text, above = SLICE_NONE;
	uint64_t divisor = 1;
	int err;

	*base = 0;
	*shape = FEEDBACK_CONSTANT;
	slice_part(&below, '/', &above);
	err = parse_number(slice_trim(above), base);
	if (err == 0 && below.p != NULL) {
		below = slice_trim(below);
		if (slice_eq_str(below, "concurrency"))
			*shape = FEEDBACK_INVERSE;
		else if (slice_eq_str(below, "sqrt_concurrency"))
			*shape = FEEDBACK_INVERSE_SQRT;
		else
			err = slice_u64(below, 1, DIVISOR_MAX, &divisor);
		*base /= (double)divisor;
	}
	if (err == 0 && *shape == FEEDBACK_CONSTANT && *base > 1)
		err = ERR_RANGE;
	if (err != 0)
		buf_add_fmt(why,
			"\"%.*s\" is no feedback; expected a number from 0 to 1, N/concurrency or "
			"N/sqrt_concurrency",
			SLICE_FMT(text));
	return err;
}
