/* SPDX-License-Identifier: ISC */
#include "util/slice.h"

#include "t/tap.h"
#include "util/err.h"
#include "util/mem.h"

static void test_equal(void)
{
	static const struct {
		struct slice a;
		const char *b;
		bool same, same_case;
	} rows[] = {
		{SLICE_LIT(""), "", true, true},
		{SLICE_NONE, "", true, true},
		{SLICE_LIT("a"), "", false, false},
		{SLICE_LIT("abc"), "abc", true, true},
		{SLICE_LIT("AbC"), "aBc", false, true},
		{SLICE_LIT("abc"), "abcd", false, false},
		{SLICE_LIT("@["), "`{", false, false},
		{SLICE_LIT("\xc4"), "\xe4", false, false},
		{SLICE_LIT("a\0b"), "a", false, false},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		is_int(slice_eq_str(rows[i].a, rows[i].b), rows[i].same, "eq row %zu", i);
		is_int(slice_case_eq_str(rows[i].a, rows[i].b), rows[i].same_case, "case row %zu",
			i);
	}
	ok(slice_eq(SLICE_NONE, SLICE_LIT("")), "no bytes are no bytes");
	ok(!slice_case_eq(SLICE_LIT("a\0b"), SLICE_LIT("a\0c")), "compares behind a NUL");
}

static void test_affixes(void)
{
	static const struct {
		const char *a, *affix;
		bool starts, case_starts, ends, case_ends;
	} rows[] = {
		{"", "", true, true, true, true},
		{"abc", "", true, true, true, true},
		{"", "a", false, false, false, false},
		{"abcab", "ab", true, true, true, true},
		{"ABcab", "ab", false, true, true, true},
		{"abcAB", "ab", true, true, false, true},
		{"ab", "abc", false, false, false, false},
		{"abc", "abc", true, true, true, true},
		{"xabcx", "abc", false, false, false, false},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct slice a = slice_str(rows[i].a);

		is_int(slice_starts(a, rows[i].affix), rows[i].starts, "starts row %zu", i);
		is_int(slice_case_starts(a, rows[i].affix), rows[i].case_starts, "row %zu", i);
		is_int(slice_ends(a, rows[i].affix), rows[i].ends, "ends row %zu", i);
		is_int(slice_case_ends(a, rows[i].affix), rows[i].case_ends, "row %zu", i);
	}
}

static int sign(int v)
{
	return (v > 0) - (v < 0);
}

static void test_cmp(void)
{
	static const struct {
		const char *a, *b;
		int want;
	} rows[] = {
		{"", "", 0},
		{"", "a", -1},
		{"a", "", 1},
		{"ab", "abc", -1},
		{"b", "abc", 1},
		{"\xff", "a", 1},
		{"same", "same", 0},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++)
		is_int(sign(slice_cmp(slice_str(rows[i].a), slice_str(rows[i].b))), rows[i].want,
			"cmp row %zu", i);
	is_int(slice_cmp(SLICE_NONE, SLICE_LIT("")), 0, "cmp of nothing");
}

static void test_parts(void)
{
	struct slice s = SLICE_LIT("abcd");

	is_slice(slice_from(s, 0), "abcd", "from 0");
	is_slice(slice_from(s, 3), "d", "from 3");
	is_slice(slice_from(s, 4), "", "from the end");
	is_slice(slice_from(s, 5), "", "from behind the end");
	ok(slice_from(SLICE_NONE, 3).p == NULL, "from of nothing");
	is_slice(slice_first(s, 0), "", "first 0");
	is_slice(slice_first(s, 2), "ab", "first 2");
	is_slice(slice_first(s, SIZE_MAX), "abcd", "first of too many");
	is_slice(slice_first(SLICE_NONE, 2), "", "first of nothing");
}

static void test_find(void)
{
	struct slice s = SLICE_LIT("a.b\0.c"), embedded = SLICE_LIT("xaab");

	is_int(slice_find(s, '.'), 1, "find");
	is_int(slice_find_last(s, '.'), 4, "find_last");
	is_int(slice_find(s, '\0'), 3, "find a NUL");
	is_int(slice_find(s, 'x'), -1, "find what is not there");
	is_int(slice_find_last(s, 'x'), -1, "find_last what is not there");
	is_int(slice_find(SLICE_NONE, 'x'), -1, "find in nothing");
	is_int(slice_find_last(SLICE_NONE, 'x'), -1, "find_last in nothing");
	is_int(slice_find_str(embedded, "ab"), 2, "find_str");
	is_int(slice_find_str(embedded, "aabc"), -1, "find_str over the end");
	is_int(slice_find_str(embedded, ""), 0, "find_str of nothing");
	is_int(slice_find_str(SLICE_NONE, "a"), -1, "find_str in nothing");
}

static void test_trim(void)
{
	static const char *const rows[][2] = {
		{"", ""},
		{" \t\r\n", ""},
		{"a", "a"},
		{" a b\t", "a b"},
		{"a\r\n", "a"},
		{"\x0b"
		 "a",
			"\x0b"
			"a"},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++)
		is_slice(slice_trim(slice_str(rows[i][0])), rows[i][1], "trim row %zu", i);
}

static void test_token(void)
{
	struct slice rest = SLICE_LIT(" ,a, bc\0d,,"), t = SLICE_NONE;

	ok(slice_token(&rest, ", ", &t), "first token");
	is_slice(t, "a", "separators in front are skipped");
	ok(slice_token(&rest, ", ", &t), "second token");
	ok(slice_eq(t, SLICE_LIT("bc\0d")), "NUL does not separate");
	ok(!slice_token(&rest, ", ", &t), "no token between separators at the end");
	is_int(t.len, 0, "and it is set empty");
	rest = SLICE_NONE;
	ok(!slice_token(&rest, " ", &t), "no token in nothing");
	rest = SLICE_LIT("a b");
	ok(slice_token(&rest, "", &t), "without separators");
	is_slice(t, "a b", "all is one token");
}

static void test_part(void)
{
	static const struct {
		const char *in, *out[4];
		size_t count;
	} rows[] = {
		{"", {""}, 1},
		{"a", {"a"}, 1},
		{"a:b", {"a", "b"}, 2},
		{":", {"", ""}, 2},
		{":a:", {"", "a", ""}, 3},
		{"a::b", {"a", "", "b"}, 3},
	};
	struct slice none = SLICE_NONE, part = SLICE_NONE;

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct slice rest = slice_str(rows[i].in);
		size_t n = 0;

		for (; slice_part(&rest, ':', &part) && n < 4; n++)
			if (n < rows[i].count)
				is_slice(part, rows[i].out[n], "'%s' part %zu", rows[i].in, n);
		is_int(n, rows[i].count, "'%s' parts", rows[i].in);
	}
	ok(!slice_part(&none, ':', &part), "no part of nothing");
}

static void test_number(void)
{
	static const struct {
		const char *in;
		uint64_t min, max;
		int want;
		uint64_t value;
	} rows[] = {
		{"0", 0, 0, 0, 0},
		{"007", 0, 10, 0, 7},
		{"10", 0, 10, 0, 10},
		{"11", 0, 10, ERR_RANGE, 0},
		{"4", 5, 10, ERR_RANGE, 0},
		{"18446744073709551615", 0, UINT64_MAX, 0, UINT64_MAX},
		{"18446744073709551616", 0, UINT64_MAX, ERR_RANGE, 0},
		{"99999999999999999999", 0, UINT64_MAX, ERR_RANGE, 0},
		{"184467440737095516150", 0, UINT64_MAX, ERR_RANGE, 0},
		{"99999999999999999999x", 0, UINT64_MAX, ERR_SYNTAX, 0},
		{"", 0, 10, ERR_SYNTAX, 0},
		{"-1", 0, 10, ERR_SYNTAX, 0},
		{"+1", 0, 10, ERR_SYNTAX, 0},
		{" 1", 0, 10, ERR_SYNTAX, 0},
		{"1 ", 0, 10, ERR_SYNTAX, 0},
		{"0x1", 0, 10, ERR_SYNTAX, 0},
		{"/", 0, 100, ERR_SYNTAX, 0},
		{":", 0, 100, ERR_SYNTAX, 0},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		uint64_t v = 99;

		is_int(slice_u64(slice_str(rows[i].in), rows[i].min, rows[i].max, &v), rows[i].want,
			"number '%s'", rows[i].in);
		ok(v == rows[i].value, "value of '%s'", rows[i].in);
	}
}

static void test_classes(void)
{
	static const struct {
		struct slice in;
		bool printable, ascii;
	} rows[] = {
		{SLICE_NONE, true, true},
		{SLICE_LIT("abc ~"), true, true},
		{SLICE_LIT("a\tb"), false, true},
		{SLICE_LIT("a\0b"), false, true},
		{SLICE_LIT("\x1f"), false, true},
		{SLICE_LIT("\x7f"), false, true},
		{SLICE_LIT("\x80"), true, false},
		{SLICE_LIT("\xff"), true, false},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		is_int(slice_is_printable(rows[i].in), rows[i].printable, "printable row %zu", i);
		is_int(slice_is_ascii(rows[i].in), rows[i].ascii, "ascii row %zu", i);
	}
}

/* The edges of RFC 3629, 4. */
static void test_utf8(void)
{
	static const struct {
		struct slice in;
		size_t len;
	} rows[] = {
		{SLICE_NONE, 0},
		{SLICE_LIT("a"), 1},
		{SLICE_LIT("\0"), 1},
		{SLICE_LIT("\x7f"), 1},
		{SLICE_LIT("\x80"), 0},
		{SLICE_LIT("\xbf"), 0},
		{SLICE_LIT("\xc0\x80"), 0},
		{SLICE_LIT("\xc1\xbf"), 0},
		{SLICE_LIT("\xc2\x80"), 2},
		{SLICE_LIT("\xdf\xbf"), 2},
		{SLICE_LIT("\xc2"), 0},
		{SLICE_LIT("\xc2\x7f"), 0},
		{SLICE_LIT("\xc2\xc0"), 0},
		{SLICE_LIT("\xe0\x9f\xbf"), 0},
		{SLICE_LIT("\xe0\xa0\x80"), 3},
		{SLICE_LIT("\xed\x9f\xbf"), 3},
		{SLICE_LIT("\xed\xa0\x80"), 0},
		{SLICE_LIT("\xef\xbf\xbf"), 3},
		{SLICE_LIT("\xe2\x82"), 0},
		{SLICE_LIT("\xe2\x82\x28"), 0},
		{SLICE_LIT("\xf0\x8f\xbf\xbf"), 0},
		{SLICE_LIT("\xf0\x90\x80\x80"), 4},
		{SLICE_LIT("\xf4\x8f\xbf\xbf"), 4},
		{SLICE_LIT("\xf4\x90\x80\x80"), 0},
		{SLICE_LIT("\xf0\x9f\x98"), 0},
		{SLICE_LIT("\xf5\x80\x80\x80"), 0},
		{SLICE_LIT("\xff"), 0},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		is_int(slice_utf8_len(rows[i].in), rows[i].len, "utf8 row %zu", i);
		is_int(slice_is_utf8(rows[i].in), rows[i].len > 0 || rows[i].in.len == 0,
			"utf8 row %zu as a whole", i);
	}
	ok(slice_is_utf8(SLICE_LIT("gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80")), "mixed");
	ok(!slice_is_utf8(SLICE_LIT("gr\xc3\xbc\xc3")), "cut off");
}

int main(void)
{
	char *copy = NULL;

	test_equal();
	test_affixes();
	test_cmp();
	test_parts();
	test_find();
	test_trim();
	test_token();
	test_part();
	test_number();
	test_classes();
	test_utf8();
	copy = slice_dup(slice_first(SLICE_LIT("abc"), 2));
	is_str(copy, "ab", "dup ends with NUL");
	mem_free(copy);
	ok(slice_str(NULL).len == 0, "slice_str of NULL");
	return done_testing();
}
