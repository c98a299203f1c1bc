/* SPDX-License-Identifier: ISC */
#include "conf/feedback.h"
#include "t/tap.h"

static const struct {
	const char *text;
	double base;
	enum feedback_shape shape;
} good[] = {
	{"1", 1, FEEDBACK_CONSTANT},
	{"0", 0, FEEDBACK_CONSTANT},
	{"0.25", 0.25, FEEDBACK_CONSTANT},
	{".5", 0.5, FEEDBACK_CONSTANT},
	{"0.12500000001", 0.125, FEEDBACK_CONSTANT},
	{"1/8", 0.125, FEEDBACK_CONSTANT},
	{"1/concurrency", 1, FEEDBACK_INVERSE},
	{"4 / concurrency", 4, FEEDBACK_INVERSE},
	{"1/sqrt_concurrency", 1, FEEDBACK_INVERSE_SQRT},
};

static const char *const bad[] = {"", ".", "1.", "-1", "1.x", "2", "9/8", "1/", "1/0",
	"/concurrency", "1/concurency", "1/sqrt", "1/1/concurrency", "one", "1001/concurrency"};

int main(void)
{
	struct buf why = BUF_INIT(1000);
	enum feedback_shape shape;
	double base;

	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
		ok(feedback_parse(slice_str(good[i].text), &why, &base, &shape) == 0 &&
				base > good[i].base - 1e-9 && base < good[i].base + 1e-9 &&
				shape == good[i].shape,
			"%s", good[i].text);
	is_int((int64_t)why.len, 0, "nothing is said of them");
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		buf_reset(&why);
		ok(feedback_parse(slice_str(bad[i]), &why, &base, &shape) != 0 && why.len > 0,
			"\"%s\"", bad[i]);
	}
	buf_clear(&why);
	return done_testing();
}
