/* SPDX-License-Identifier: ISC */
#include "t/tap.h"

#include "smtp/reply.h"
#include "util/err.h"

static const struct {
	const char *in;
	int result, code;
	const char *status, *text;
	size_t used; /* 0: all */
} cases[] = {
	{"250 2.1.0 Ok\r\n", 0, 250, "2.1.0", "250 2.1.0 Ok", 0},
	{"250\r\n", 0, 250, "2.0.0", "250", 0},
	{"250 \r\n", 0, 250, "2.0.0", "250 ", 0},
	{"354 go\n", 0, 354, "3.0.0", "354 go", 0},
	{"550-5.1.1 no\r\n550 5.1.1 such user\r\n", 0, 550, "5.1.1",
		"550-5.1.1 no 550 5.1.1 such user", 0},
	{"550-5.7.1 first\r\n550 second\r\n", 0, 550, "5.7.1", "550-5.7.1 first 550 second", 0},
	{"550 4.1.1 wrong class\r\n", 0, 550, "5.0.0", "550 4.1.1 wrong class", 0},
	{"450-4.2.0 a\r\n550 b\r\n", 0, 550, "5.0.0", "450-4.2.0 a 550 b", 0},
	{"250 a\r\n250 b\r\n", 0, 250, "2.0.0", "250 a", 7},
	{"250 a\001b\177\r\n", 0, 250, "2.0.0", "250 a?b?", 0},
	{"250-a\r\n", ERR_AGAIN, 250, "", "250-a", 0},
	{"25", ERR_AGAIN, 0, "", "", 0},
	{"", ERR_AGAIN, 0, "", "", 0},
	{"HTTP/1.0 200 OK\r\n", ERR_SYNTAX, 0, "", "HTTP/1.0 200 OK", 0},
	{"\r\n", ERR_SYNTAX, 0, "", "", 0},
	{"150 a\r\n", ERR_SYNTAX, 0, "", "150 a", 0},
	{"650 a\r\n", ERR_SYNTAX, 0, "", "650 a", 0},
	{"2500 a\r\n", ERR_SYNTAX, 0, "", "2500 a", 0},
	{"250_a\r\n", ERR_SYNTAX, 0, "", "250_a", 0},
	{"250-a\r\nx\r\n", ERR_SYNTAX, 250, "", "250-a x", 0},
};

/* The whole at once, then byte by byte: the same answer. */
static void test_cases(size_t step)
{
	struct reply r;

	reply_init(&r);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct slice in = slice_str(cases[i].in);
		size_t all = 0, used;
		int result = ERR_AGAIN;
		struct buf text = BUF_INIT(20000);

		reply_reset(&r);
		while (result == ERR_AGAIN && all < in.len) {
			result = reply_feed(&r, slice_first(slice_from(in, all), step), &used);
			all += used;
		}
		reply_add_text(&text, &r);
		is_int(result, cases[i].result, "case %zu by %zu: result", i, step);
		is_int(r.code, cases[i].code, "code");
		is_str(r.status, cases[i].status, "status");
		is_slice(buf_slice(&text), cases[i].text, "text");
		is_int(all, cases[i].used > 0 ? cases[i].used : in.len, "used");
		buf_clear(&text);
	}
	reply_clear(&r);
}

static void test_limits(void)
{
	struct reply r;
	static char line[REPLY_LINE_LIMIT + 10];
	size_t used;
	int result;

	reply_init(&r);
	memset(line, 'x', sizeof(line));
	is_int(reply_feed(&r, slice_of(line, sizeof(line)), &used), ERR_LIMIT,
		"a line over the limit");
	reply_reset(&r);
	for (size_t i = 0; i < sizeof(line) - 1; i += 1000)
		result = reply_feed(&r, slice_of(line, 1000), &used);
	is_int(result, ERR_LIMIT, "the same in pieces");

	reply_reset(&r);
	memcpy(line, "250-", 4);
	memcpy(line + 998, "\r\n", 2);
	for (int i = 0; i < 20; i++)
		is_int(reply_feed(&r, slice_of(line, 1000), &used), ERR_AGAIN, "line %d", i);
	is_int(reply_feed(&r, SLICE_LIT("250 2.5.0 end\r\n"), &used), 0, "a long reply ends");
	ok(r.truncated, "and was cut");
	ok(r.text.len <= REPLY_TEXT_LIMIT + REPLY_LINE_LIMIT, "its text is bounded");
	ok(slice_ends(buf_slice(&r.text), "\n250 2.5.0 end"), "its last line is kept");
	is_str(r.status, "2.5.0", "and the status");

	reply_reset(&r);
	result = ERR_AGAIN;
	for (int i = 0; i < 1000 && result == ERR_AGAIN; i++)
		result = reply_feed(&r, slice_of(line, 1000), &used);
	is_int(result, ERR_LIMIT, "an endless reply");
	reply_clear(&r);
}

static void test_status(void)
{
	static const struct {
		const char *text;
		size_t len;
	} rows[] = {
		{"2.0.0", 5},
		{"5.7.999 x", 7},
		{"4.123.1\tx", 7},
		{"3.0.0", 0},
		{"5.7", 0},
		{"5.7.", 0},
		{"5..1", 0},
		{"5.1234.1", 0},
		{"5.1.1234", 0},
		{"5.1.1x", 0},
		{"", 0},
		{"5.1.1.2", 0},
		{"55.1.1", 0},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		is_int(reply_status_len(slice_str(rows[i].text)), rows[i].len, "%s", rows[i].text);
}

int main(void)
{
	test_cases(100000);
	test_cases(1);
	test_limits();
	test_status();
	return done_testing();
}
