/* SPDX-License-Identifier: ISC */
#include "conf/plans.h"
#include "conf/rate.h"
#include "t/tap.h"
#include "util/clock.h"
#include "util/err.h"

static const struct {
	const char *text, *why;
	size_t where;
} mistaken[] = {
	{"", "", 0},
	{"{ a = 5m, 10m 1h } { a connect = 1 } { a 421 = 2s } { a 4.7.1 = 2s }", "", 0},
	{"{a=1s},{b=1s},{b dot=1s}", "", 0},
	{"{ a = 5m", "a brace without its partner; expected { … }", 0},
	{"{ a = 5m } x",
		"\"x\" is no plan; expected { NAME = TIME, … } or { NAME CLASS = TIME, … }", 11},
	{"{ a 5m }",
		"\"{ a 5m }\" is no plan; expected { NAME = TIME, … } or { NAME CLASS = TIME, … }",
		0},
	{"{ = 5m }",
		"\"{ = 5m }\" is no plan; expected { NAME = TIME, … } or { NAME CLASS = TIME, … }",
		0},
	{"{ a dns more = 5m }",
		"\"{ a dns more = 5m }\" is no plan; expected { NAME = TIME, … } or { NAME CLASS = "
		"TIME, … }",
		0},
	{"{ a! = 5m }",
		"\"a!\" is no name of a plan; expected up to 64 letters, digits, \".\", \"-\" and "
		"\"_\"",
		0},
	{"{ a = }", "plan \"a\" has no time; expected { NAME = TIME, … }", 0},
	{"{ a = 5m, 0 }", "\"0\" is out of bounds; expected 1s to 100d", 10},
	{"{ a = 101d }", "\"101d\" is out of bounds; expected 1s to 100d", 6},
	{"{ a = 99999999999999999999s }",
		"\"99999999999999999999s\" is out of bounds; expected 1s to 100d", 6},
	{"{ a = soon }", "\"soon\" is no time; expected a number and s, m, h, d or w", 6},
	{"{ a end = 5m }",
		"\"end\" is no class of plan \"a\"; expected dns, connect, greeting, tls, auth, "
		"helo, mail, rcpt, data, dot, a reply code as 421 or an enhanced status code as "
		"4.7.1",
		0},
	{"{ a 250 = 5m }",
		"\"250\" is no class of plan \"a\"; expected dns, connect, greeting, tls, auth, "
		"helo, mail, rcpt, data, dot, a reply code as 421 or an enhanced status code as "
		"4.7.1",
		0},
	{"{ a 4.7 = 5m }",
		"\"4.7\" is no class of plan \"a\"; expected dns, connect, greeting, tls, auth, "
		"helo, mail, rcpt, data, dot, a reply code as 421 or an enhanced status code as "
		"4.7.1",
		0},
	{"{ a = 1s } { b = 1s } { a = 2s }", "plan \"a\" stands there twice; expected it once", 22},
	{"{ a 421 = 1s } { a 421 = 1s }", "plan \"a 421\" stands there twice; expected it once",
		15},
};

static void test_mistakes(void)
{
	for (size_t i = 0; i < COUNT_OF(mistaken); i++) {
		struct buf why = BUF_INIT(10000);
		size_t where = 99;
		int err = plans_parse(slice_str(mistaken[i].text), &why, &where, NULL);

		is_str(buf_str(&why), mistaken[i].why, "\"%s\"", mistaken[i].text);
		ok((err == 0) == (mistaken[i].why[0] == '\0'), "its result");
		is_int((int64_t)where, (int64_t)mistaken[i].where, "where");
		buf_clear(&why);
	}
}

static const char *const text = "{ p = 5m, 1h } { p connect = 10m } { p 421 = 20m } "
				"{ p 4.7.1 = 30m, 31m } { q dot = 40m } { default = 50m }";

static const struct {
	const char *name, *stage, *status;
	unsigned code;
	int64_t minutes; /* of the first time; 0: none */
	unsigned n;
} asked[] = {
	{"p", "none", "", 0, 5, 2},
	{"p", NULL, "4.2.0", 450, 5, 2},
	{"p", "connect", "4.4.1", 0, 10, 1},
	{"p", "connect", "", 421, 20, 1},
	{"p", "connect", "4.7.1", 421, 30, 2},
	{"p", "dot", "4.7.1", 450, 30, 2},
	{"p", "dot", "4.7.10", 450, 5, 2},
	{"q", "dot", "", 450, 40, 1},
	{"q", "rcpt", "", 450, 0, 0},
	{"default", "rcpt", "", 450, 50, 1},
	{"none", "dot", "", 450, 0, 0},
	{"", "dot", "", 450, 0, 0},
};

static void test_find(void)
{
	struct buf why = BUF_INIT(10000);
	struct plans *p = NULL;
	size_t where;

	is_int(plans_parse(slice_str(text), &why, &where, &p), 0, "good plans");
	for (size_t i = 0; i < COUNT_OF(asked); i++) {
		struct plans_query q = {slice_str(asked[i].name), slice_str(asked[i].status),
			asked[i].code, asked[i].stage};
		const int64_t *steps;
		unsigned n;
		bool found = plans_find(p, &q, &steps, &n);

		is_int(found ? steps[0] / (60 * CLOCK_SEC) : 0, asked[i].minutes, "case %zu", i);
		is_int(n, asked[i].n, "so many times");
	}
	ok(plans_has(p, SLICE_LIT("q")), "a plan that is there");
	ok(!plans_has(p, SLICE_LIT("r")), "one that is not");
	is_int(plans_longest(p), 60 * 60 * CLOCK_SEC, "the longest time");
	plans_free(&p);
	ok(p == NULL, "is gone");
	buf_clear(&why);
}

static const struct {
	const char *text, *why;
	uint32_t count;
	int64_t per;
} rates[] = {
	{"", "", 0, 0},
	{"20/1s", "", 20, CLOCK_SEC},
	{"1/10", "", 1, 10 * CLOCK_SEC},
	{"100 / 1h", "", 100, 3600 * CLOCK_SEC},
	{"1/1w", "", 1, 7 * 86400 * CLOCK_SEC},
	{"20", "\"20\" is no rate; expected NUMBER/TIME as in 20/1s", 0, 0},
	{"0/1s", "\"0\" is no number before the /; expected 1 to 1000000", 0, 0},
	{"x/1s", "\"x\" is no number before the /; expected 1 to 1000000", 0, 0},
	{"1/", "\"\" is no time; expected a number and s, m, h, d or w", 0, 0},
	{"1/0s", "\"0s\" is out of bounds; expected 1s to 100d", 0, 0},
	{"1/s", "\"s\" is no time; expected a number and s, m, h, d or w", 0, 0},
	{"1/200d", "\"200d\" is out of bounds; expected 1s to 100d", 0, 0},
};

static void test_rates(void)
{
	for (size_t i = 0; i < COUNT_OF(rates); i++) {
		struct buf why = BUF_INIT(10000);
		uint32_t count = 77;
		int64_t per = 77;
		int err = rate_parse(slice_str(rates[i].text), &why, &count, &per);

		is_str(buf_str(&why), rates[i].why, "\"%s\"", rates[i].text);
		ok((err == 0) == (rates[i].why[0] == '\0'), "its result");
		is_int(count, rates[i].count, "how many");
		is_int(per, rates[i].per, "in which time");
		buf_clear(&why);
	}
}

int main(void)
{
	test_mistakes();
	test_find();
	test_rates();
	return done_testing();
}
