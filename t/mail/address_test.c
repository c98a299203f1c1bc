/* SPDX-License-Identifier: ISC */
#include "t/tap.h"

#include "mail/address.h"
#include "util/err.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* What Postfix 3.7 answers to the same line is in the replies of smtpd's own tests. */
static const struct {
	const char *in;
	int flags, result;
	const char *out, *rest;
} paths[] = {
	{"<a@b.test>", 0, 0, "a@b.test", ""},
	{" <a@b.test> SIZE=1", 0, 0, "a@b.test", " SIZE=1"},
	{"a@b.test SIZE=1", 0, 0, "a@b.test", " SIZE=1"},
	{"< a@b.test >", 0, 0, "a@b.test", ""},
	{"<>", ADDRESS_NULL, 0, "", ""},
	{"<>", 0, ERR_SYNTAX, "", ""},
	{"", ADDRESS_NULL, ERR_SYNTAX, "", ""},
	{"<a>", 0, 0, "a", ""},
	{"<\"a b\"@c.test> x", 0, 0, "a b@c.test", " x"},
	{"\"a b\"@c.test x", 0, 0, "a b@c.test", " x"},
	{"<\"a>b\"@c.test>", 0, 0, "a>b@c.test", ""},
	{"<\"a\\\"b\\\\\"@c.test>", 0, 0, "a\"b\\@c.test", ""},
	{"<\"u@far.test\"@local.test>", 0, 0, "u@far.test@local.test", ""},
	{"<a@b@c.test>", 0, 0, "a@b@c.test", ""},
	{"<a\\b@c.test>", 0, 0, "ab@c.test", ""},
	{"<a..b@c.test>", 0, 0, "a..b@c.test", ""},
	{"<a.@c.test>", 0, 0, "a.@c.test", ""},
	{"<a@c.test.>", 0, 0, "a@c.test", ""},
	{"<a@C_d.test>", 0, 0, "a@C_d.test", ""},
	{"<@x,@y:u@c.test>", 0, 0, "u@c.test", ""},
	{"<@[IPv6:::1]:u@c.test>", 0, 0, "u@c.test", ""},
	{"<u%far.test@local.test>", 0, 0, "u%far.test@local.test", ""},
	{"<far.test!u@local.test>", 0, 0, "far.test!u@local.test", ""},
	{"<a@[192.0.2.1]>", 0, 0, "a@[192.0.2.1]", ""},
	{"<a@[IPv6:2001:db8::1]>", 0, 0, "a@[IPv6:2001:db8::1]", ""},
	{"<\303\244@b.test>", 0, 0, "\303\244@b.test", ""},
	{"<\303\244@b.test>", ADDRESS_ASCII_ONLY, ERR_DENIED, "", ""},
	{"<\303\244@b.test>", ADDRESS_ASCII_ONLY | ADDRESS_UTF8, 0, "\303\244@b.test", ""},
	{"<\344@b.test>", ADDRESS_UTF8, ERR_SYNTAX, "", ""},
	{"<a b@c.test>", 0, ERR_SYNTAX, "", ""},
	{"<a@b.test>x", 0, ERR_SYNTAX, "", ""},
	{"<a@b.test", 0, ERR_SYNTAX, "", ""},
	{"<\"a@b.test>", 0, ERR_SYNTAX, "", ""},
	{"<a@>", 0, ERR_SYNTAX, "", ""},
	{"<@b.test>", 0, ERR_SYNTAX, "", ""},
	{"<\"\"@b.test>", 0, ERR_SYNTAX, "", ""},
	{"<@x:>", 0, ERR_SYNTAX, "", ""},
	{"<@x:@b.test>", 0, ERR_SYNTAX, "", ""},
	{"<@:a@b.test>", 0, ERR_SYNTAX, "", ""},
	{"<a@b..test>", 0, ERR_SYNTAX, "", ""},
	{"<a@-b.test>", 0, ERR_SYNTAX, "", ""},
	{"<a@b/c>", 0, ERR_SYNTAX, "", ""},
	{"<a@1.2.3.4>", 0, ERR_SYNTAX, "", ""},
	{"<a@[1.2.3]>", 0, ERR_SYNTAX, "", ""},
	{"<a@[1.2.3.4]x>", 0, ERR_SYNTAX, "", ""},
	{"<a@x[1.2.3.4]>", 0, ERR_SYNTAX, "", ""},
	{"<[1.2.3.4]>", 0, ERR_SYNTAX, "", ""},
	{"<a@[IPv6:1.2.3.4]>", 0, ERR_SYNTAX, "", ""},
	{"<a\001@b.test>", 0, ERR_SYNTAX, "", ""},
	{"<\"a\001\"@b.test>", 0, ERR_SYNTAX, "", ""},
	{"<\"a\tb\"@b.test>", 0, ERR_SYNTAX, "", ""},
	{"<a@b,c>", 0, ERR_SYNTAX, "", ""},
	{"<(x)a@b.test>", 0, ERR_SYNTAX, "", ""},
	{"<a@\"b\">", 0, ERR_SYNTAX, "", ""},
	{"<a\\", 0, ERR_SYNTAX, "", ""},
	{"<.!>", 0, 0, ".!", ""},
	{"<\"x@far.test\">", 0, 0, "x@far.test", ""},
	{"<\"@far.test\">", 0, ERR_SYNTAX, "", ""},
	{"<\"x@\">", 0, ERR_SYNTAX, "", ""},
	{"<\"@<\"a>", 0, ERR_SYNTAX, "", ""},
	{"a@b.test", ADDRESS_STRICT, ERR_SYNTAX, "", ""},
	{"< a@b.test>", ADDRESS_STRICT, ERR_SYNTAX, "", ""},
	{"<a..b@c.test>", ADDRESS_STRICT, ERR_SYNTAX, "", ""},
	{"<.a@c.test>", ADDRESS_STRICT, ERR_SYNTAX, "", ""},
	{"<a.@c.test>", ADDRESS_STRICT, ERR_SYNTAX, "", ""},
	{"<a@c.test.>", ADDRESS_STRICT, ERR_SYNTAX, "", ""},
	{"<a@b@c.test>", ADDRESS_STRICT, ERR_SYNTAX, "", ""},
	{"<a\\b@c.test>", ADDRESS_STRICT, ERR_SYNTAX, "", ""},
	{"<a\"b\"@c.test>", ADDRESS_STRICT, ERR_SYNTAX, "", ""},
	{"<a>", ADDRESS_STRICT, ERR_SYNTAX, "", ""},
	{"<Postmaster>", ADDRESS_STRICT, 0, "Postmaster", ""},
	{"<\".a..b.\"@c.test>", ADDRESS_STRICT, 0, ".a..b.@c.test", ""},
	{"<a.b@c.test>", ADDRESS_STRICT, 0, "a.b@c.test", ""},
	{"<@x,@y:u@c.test>", ADDRESS_STRICT, 0, "u@c.test", ""},
};

static void test_paths(void)
{
	struct buf out = BUF_INIT(2048);

	for (size_t i = 0; i < COUNT(paths); i++) {
		struct slice rest = slice_str(paths[i].in);
		int r = address_parse_path(&rest, paths[i].flags, &out);

		is_int(r, paths[i].result, "%s (%d)", paths[i].in, paths[i].flags);
		is_slice(buf_slice(&out), paths[i].out, "internal");
		if (r == 0)
			is_slice(rest, paths[i].rest, "rest");
	}
	buf_clear(&out);
}

static void test_limits(void)
{
	struct buf out = BUF_INIT(4096), in = BUF_INIT(4096);

	for (int i = 0; i < ADDRESS_LIMIT - 2; i++)
		(void)buf_add_char(&in, 'l');
	(void)buf_add_str(&in, "@d");
	is_int(address_parse(buf_slice(&in), 0, &out), 0, "an address of the limit");
	is_int(address_parse(slice_of("", 0), 0, &out), ERR_SYNTAX, "none");
	(void)buf_add_char(&in, 'd');
	is_int(address_parse(buf_slice(&in), 0, &out), ERR_LIMIT, "one more");
	struct buf small = BUF_INIT(3);
	is_int(address_parse(SLICE_LIT("a@b.test"), 0, &small), ERR_LIMIT, "a small buffer");
	is_int(address_parse(slice_of("a\0b@c", 5), 0, &out), ERR_SYNTAX, "a NUL");
	is_int(address_parse(slice_of("a@[1.2.3.4\0]", 12), 0, &out), ERR_SYNTAX, "in a literal");
	buf_clear(&small);
	buf_clear(&in);
	buf_clear(&out);
}

static void test_external(void)
{
	static const char *const rows[][2] = {
		{"", ""},
		{"a@b", "a@b"},
		{"a", "a"},
		{"a b@c", "\"a b\"@c"},
		{"a b", "\"a b\""},
		{"a..b@c", "\"a..b\"@c"},
		{".a@c", "\".a\"@c"},
		{"a.@c", "\"a.\"@c"},
		{"a@b@c", "\"a@b\"@c"},
		{"a\"\\@c", "\"a\\\"\\\\\"@c"},
		{"@c", "\"\"@c"},
		{"a>b@c", "\"a>b\"@c"},
		{"\303\244@c", "\303\244@c"},
		{"a+b=c!d%e@c", "a+b=c!d%e@c"},
	};
	struct buf out = BUF_INIT(100), back = BUF_INIT(100);

	for (size_t i = 0; i < COUNT(rows); i++) {
		buf_reset(&out);
		address_add_external(&out, slice_str(rows[i][0]));
		is_slice(buf_slice(&out), rows[i][1], "external %s", rows[i][0]);
		if (rows[i][0][0] != '@' && rows[i][0][0] != '\0') {
			is_int(address_parse(buf_slice(&out), 0, &back), 0, "it parses");
			is_slice(buf_slice(&back), rows[i][0], "and gives the same");
		}
	}
	buf_clear(&out);
	buf_clear(&back);
}

static void test_extension(void)
{
	static const struct {
		const char *local, *delimiters, *user, *ext;
	} rows[] = {
		{"u+e", "+", "u", "e"},
		{"u+e+f", "+", "u", "e+f"},
		{"u-e+f", "+-", "u", "e+f"},
		{"u=e+f", "+=", "u", "e+f"},
		{"u+", "+", "u+", ""},
		{"+e", "+", "+e", ""},
		{"u+e", "", "u+e", ""},
		{"u+e", "-", "u+e", ""},
		{"owner-l", "-", "owner-l", ""},
		{"l-Request", "-", "l-Request", ""},
		{"owner+l", "+", "owner", "l"},
		{"Double-Bounce", "-", "Double-Bounce", ""},
		{"mailer-daemon", "-", "mailer-daemon", ""},
		{"", "+", "", ""},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct slice user, ext;
		bool split = address_split_extension(
			slice_str(rows[i].local), rows[i].delimiters, &user, &ext);

		is_int(split, rows[i].ext[0] != '\0', "%s by %s", rows[i].local,
			rows[i].delimiters);
		is_slice(user, rows[i].user, "user");
		is_slice(ext, rows[i].ext, "extension");
	}
}

static void test_complete(void)
{
	const struct address_rules all = {SLICE_LIT("o.test"), SLICE_LIT("dom.test"), true, true};
	const struct address_rules none = {SLICE_NONE, SLICE_NONE, false, false};
	const struct address_rules usual = {SLICE_LIT("o.test"), SLICE_NONE, true, true};
	static const struct {
		int rules;
		const char *in, *out;
	} rows[] = {
		{0, "", ""},
		{0, "u", "u@o.test"},
		{0, "u@h", "u@h.dom.test"},
		{0, "u@[1.2.3.4]", "u@[1.2.3.4]"},
		{0, "u@h.x", "u@h.x"},
		{0, "u%h.x", "u@h.x"},
		{0, "u%a.x%h.x", "u%a.x@h.x"},
		{0, "h.x!u", "u@h.x"},
		{0, "a.x!b.x!u", "b.x!u@a.x"},
		{0, "a.x!u%b.x", "u%b.x@a.x"},
		{0, "!u", "!u@o.test"},
		{0, "u%", "u%@o.test"},
		{1, "u%h.x", "u%h.x"},
		{1, "h.x!u", "h.x!u"},
		{1, "u", "u"},
		{2, "u@h", "u@h"},
	};
	struct buf out = BUF_INIT(2000);

	for (size_t i = 0; i < COUNT(rows); i++) {
		const struct address_rules *r = rows[i].rules == 0   ? &all
						: rows[i].rules == 1 ? &none
								     : &usual;
		is_int(address_complete(slice_str(rows[i].in), r, &out), 0, "complete %s",
			rows[i].in);
		is_slice(buf_slice(&out), rows[i].out, "gives");
	}
	ok(address_has_route(SLICE_LIT("u%far"), &usual), "percent is a route");
	ok(address_has_route(SLICE_LIT("far!u"), &usual), "so is a bang");
	ok(address_has_route(SLICE_LIT("u@far"), &none), "and an at sign always");
	ok(!address_has_route(SLICE_LIT("u%far!x"), &none), "the others as the rules say");
	ok(!address_has_route(SLICE_LIT("u"), &usual), "a plain user is none");

	is_int(address_follow_route(SLICE_LIT("u%far.x"), &usual, &out), 0, "a percent route");
	is_slice(buf_slice(&out), "u@far.x", "leads there");
	is_int(address_follow_route(SLICE_LIT("far.x!u"), &usual, &out), 0, "a bang route");
	is_slice(buf_slice(&out), "u@far.x", "leads there");
	is_int(address_follow_route(SLICE_LIT("u@far.x"), &none, &out), 0, "a quoted at sign");
	is_slice(buf_slice(&out), "u@far.x", "leads there");
	is_int(address_follow_route(SLICE_LIT("u"), &usual, &out), ERR_NOT_FOUND, "no route");
	is_int(address_follow_route(SLICE_LIT("%x"), &usual, &out), ERR_NOT_FOUND, "half a route");
	buf_clear(&out);
}

static void test_xtext(void)
{
	static const struct {
		const char *in;
		int result;
		const char *out;
	} rows[] = {
		{"", 0, ""},
		{"abc", 0, "abc"},
		{"a+2Bb+3D", 0, "a+b="},
		{"+C3+A4", 0, "\303\244"},
		{"+E4", ERR_SYNTAX, ""},
		{"+2b", ERR_SYNTAX, ""},
		{"+", ERR_SYNTAX, ""},
		{"+2", ERR_SYNTAX, ""},
		{"+00", ERR_SYNTAX, ""},
		{"a+0Ab", ERR_SYNTAX, ""},
		{"a+0D", ERR_SYNTAX, ""},
		{"a+7F", ERR_SYNTAX, ""},
		{"a=b", ERR_SYNTAX, ""},
		{"a b", ERR_SYNTAX, ""},
		{"\303\244", ERR_SYNTAX, ""},
	};
	struct buf out = BUF_INIT(100);

	for (size_t i = 0; i < COUNT(rows); i++) {
		buf_reset(&out);
		is_int(address_xtext_decode(&out, slice_str(rows[i].in)), rows[i].result,
			"xtext %s", rows[i].in);
		if (rows[i].result == 0)
			is_slice(buf_slice(&out), rows[i].out, "decoded");
	}
	buf_reset(&out);
	address_xtext_encode(&out, SLICE_LIT("a b+=\303~"));
	is_slice(buf_slice(&out), "a+20b+2B+3D+C3~", "encoded");
	buf_clear(&out);
}

static void test_orcpt(void)
{
	static const struct {
		const char *in;
		int flags, result;
		const char *type, *out;
	} rows[] = {
		{"rfc822;a+2Bb@c", 0, 0, "rfc822", "a+b@c"},
		{"utf-8;\\x{E4}@c", 0, 0, "utf-8", "\303\244@c"},
		{"UTF-8;\303\244@c", ADDRESS_UTF8, 0, "UTF-8", "\303\244@c"},
		{"utf-8;\303\244@c", 0, ERR_SYNTAX, "", ""},
		{"utf-8;\\x{1F600}\\x{20}", ADDRESS_UTF8, 0, "utf-8", "\360\237\230\200 "},
		{"utf-8;\\x{A}", ADDRESS_UTF8, ERR_SYNTAX, "", ""},
		{"utf-8;\\x{D800}", ADDRESS_UTF8, ERR_SYNTAX, "", ""},
		{"utf-8;\\x{}", ADDRESS_UTF8, ERR_SYNTAX, "", ""},
		{"utf-8;\\x{110000}", ADDRESS_UTF8, ERR_SYNTAX, "", ""},
		{"utf-8;\\y", ADDRESS_UTF8, ERR_SYNTAX, "", ""},
		{"x", 0, ERR_SYNTAX, "", ""},
		{";x", 0, ERR_SYNTAX, "", ""},
		{"rfc822;", 0, ERR_SYNTAX, "", ""},
		{"rfc_822;x", 0, ERR_SYNTAX, "", ""},
		{"rfc822;a+0Ab", 0, ERR_SYNTAX, "", ""},
	};
	struct buf out = BUF_INIT(100);

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct slice type;

		buf_reset(&out);
		is_int(address_orcpt_decode(slice_str(rows[i].in), rows[i].flags, &type, &out),
			rows[i].result, "orcpt %s", rows[i].in);
		is_slice(type, rows[i].type, "type");
		if (rows[i].result == 0)
			is_slice(buf_slice(&out), rows[i].out, "address");
	}
	buf_clear(&out);
}

int main(void)
{
	test_paths();
	test_limits();
	test_external();
	test_extension();
	test_complete();
	test_xtext();
	test_orcpt();
	return done_testing();
}
