/* SPDX-License-Identifier: ISC */
#include "util/backoff.h"

#include "t/tap.h"
#include "util/clock.h"

/* Deaths, one a step; what is waited each time. */
static void check_waits(void)
{
	static const struct {
		const char *name;
		int64_t step_msec;
		bool ready;
		int deaths;
		int64_t wait; /* after the last of them */
	} cases[] = {
		{"ready, once", 1000, true, 1, 0},
		{"ready, 20 times a minute", 1000, true, 20, 0},
		{"ready, 21 times a minute", 1000, true, 21, 1},
		/* It becomes ready in between, and waits longer all the same. */
		{"ready, 22 times a minute", 1000, true, 22, 2},
		{"ready, often but slowly", 3000, true, 100, 0},
		{"ready, just too slowly", 3001, true, 30, 0},
		{"ready, just fast enough", 2999, true, 21, 1},
		{"never ready, once", 1000, false, 1, 1},
		{"never ready, twice", 1000, false, 2, 2},
		{"never ready, thrice", 1000, false, 3, 4},
		{"never ready, six times", 100000, false, 6, 32},
		{"never ready, seven times", 100000, false, 7, 60},
		{"never ready, many times", 100000, false, 1000, 60},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct backoff b = {0};
		int64_t now = CLOCK_SEC, wait = -1;

		for (int n = 0; n < cases[i].deaths; n++) {
			now += cases[i].step_msec * CLOCK_MSEC;
			if (cases[i].ready)
				backoff_ready(&b, now);
			wait = backoff_died(&b, now, cases[i].ready);
		}
		is_int(wait, cases[i].wait, "%s", cases[i].name);
	}
}

static void check_ready(void)
{
	struct backoff b = {0};

	for (int n = 0; n < 5; n++)
		backoff_died(&b, CLOCK_SEC, false);
	is_int(b.wait, 16, "a long wait");
	backoff_ready(&b, 2 * CLOCK_SEC);
	is_int(backoff_died(&b, 3 * CLOCK_SEC, false), 1, "is short again after it was ready");
	is_int(backoff_failed(&b), 2, "what cannot be started waits too");
}

int main(void)
{
	check_waits();
	check_ready();
	return done_testing();
}
