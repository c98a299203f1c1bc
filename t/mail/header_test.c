/* SPDX-License-Identifier: ISC */
#include "mail/header.h"

#include "t/tap.h"
#include "util/buf.h"

/* Text → "name=value|…" with the kinds that matter, then "/end,body,blank". */
static const struct {
	const char *name, *text, *want;
} scans[] = {
	{"plain", "A: 1\r\nB: 2\r\n\r\nbody\r\n", "A= 1\r\n|B= 2\r\n|/12,14,1"},
	{"no body", "A: 1\r\n\r\n", "A= 1\r\n|/6,8,1"},
	{"no empty line at the end", "A: 1\r\n", "A= 1\r\n|/6,6,0"},
	{"no line end at all", "A: 1", "A= 1|/4,4,0"},
	{"folded", "A: 1\r\n 2\r\n\t3\r\nB:\r\n\r\n", "A= 1\r\n 2\r\n\t3\r\n|B=\r\n|/18,20,1"},
	{"folded with blanks alone", "A: 1\r\n  \r\nB: 2\r\n\r\n",
		"A= 1\r\n  \r\n|B= 2\r\n|/16,18,1"},
	{"blank before the colon", "A \t: 1\r\n\r\n", "A= 1\r\n|/8,10,1"},
	{"no field ends it", "A: 1\r\nnot a field\r\nB: 2\r\n", "A= 1\r\n|/6,6,0"},
	{"blank in the name ends it", "A: 1\r\nB C: 2\r\n\r\n", "A= 1\r\n|/6,6,0"},
	{"8 bit in the name ends it", "A: 1\r\nB\xc3\xa9: 2\r\n\r\n", "A= 1\r\n|/6,6,0"},
	{"a colon alone ends it", ": 1\r\n\r\n", "/0,0,0"},
	{"no header section", "body\r\n", "/0,0,0"},
	{"begins with a blank", " A: 1\r\n\r\n", "/0,0,0"},
	{"begins with an empty line", "\r\nA: 1\r\n", "/0,2,1"},
	{"empty", "", "/0,0,0"},
	{"mailbox line", "From x@y Sat Nov 21\r\nA: 1\r\n\r\n", "MBOX|A= 1\r\n|/27,29,1"},
	{"quoted mailbox line", ">>From x@y Sat\r\nA: 1\r\n\r\n", "MBOX|A= 1\r\n|/22,24,1"},
	{"mailbox line behind a field", "A: 1\r\nFrom x@y Sat\r\n\r\n", "A= 1\r\n|/6,6,0"},
	{"bare line feeds", "A: 1\nB: 2\n\nbody\n", "A= 1\n|B= 2\n|/10,11,1"},
	{"8 bit in the value", "A: \xc3\xa9\r\n\r\n", "A= \xc3\xa9\r\n|/7,9,1"},
	{"empty value", "A:\r\n\r\n", "A=\r\n|/4,6,1"},
	{"CR at the end of the text", "A: 1\r\n\r", "A= 1\r\n|/6,6,0"},
};

/* Hands the text over in pieces of step bytes. */
static void scan(const char *text, size_t step, struct buf *got)
{
	struct slice all = slice_str(text);
	struct header_scan s;
	struct header_field f;
	size_t have = step < all.len ? step : all.len;
	enum header_event e;

	header_scan_init(&s);
	while ((e = header_next(&s, slice_first(all, have), have == all.len, &f)) != HEADER_END) {
		if (e == HEADER_MORE)
			have = have + step < all.len ? have + step : all.len;
		else if (f.kind == HEADER_MAILBOX_LINE)
			buf_add_str(got, "MBOX|");
		else
			buf_add_fmt(got, "%.*s=%.*s|", SLICE_FMT(f.name), SLICE_FMT(f.value));
	}
	buf_add_fmt(got, "/%zu,%zu,%d", s.end, s.body, s.has_blank);
}

static void test_scan(void)
{
	struct buf got = BUF_INIT(1000);

	for (size_t i = 0; i < COUNT_OF(scans); i++)
		for (size_t step = 1; step < 100; step = step * 3 + 1) {
			buf_reset(&got);
			scan(scans[i].text, step, &got);
			is_str(buf_str(&got), scans[i].want, "%s, %zu at a time", scans[i].name,
				step);
		}
	buf_clear(&got);
}

/* A field that was taken out of the text. */
static void test_shift(void)
{
	char text[] = "Bcc: x\r\nA: 1\r\n\r\nbody";
	struct header_scan s;
	struct header_field f;

	header_scan_init(&s);
	is_int(header_next(&s, slice_of(text, 9), false, &f), HEADER_FIELD, "the field is found");
	is_int(f.kind, HEADER_BCC, "it is known");
	memmove(text, text + 8, sizeof(text) - 8);
	header_shift(&s, 8);
	is_int(header_pending(&s), 0, "the next one is at the begin");
	is_int(header_next(&s, slice_str(text), true, &f), HEADER_FIELD, "and found");
	is_slice(f.name, "A", "as what it is");
	is_int(header_next(&s, slice_str(text), true, &f), HEADER_END, "then the end");
	is_int(s.body, 8, "body");
}

static const struct {
	const char *value, *want;
} lists[] = {
	{" a@b.example\r\n", "a@b.example"},
	{" a@b.example, c@d.example\r\n", "a@b.example c@d.example"},
	{" Some One <a@b.example>\r\n", "a@b.example"},
	{" \"One, Some\" <a@b.example>, c@d.example", "a@b.example c@d.example"},
	{" \"a b\"@c.example", "a b@c.example"},
	{" \"quo\\\"te, x\" <a@b.example>", "a@b.example"},
	{" a@b.example (One, (nested) \\) two), c@d.example", "a@b.example c@d.example"},
	{" friends: a@b.example, C <c@d.example>; , e@f.example",
		"a@b.example c@d.example e@f.example"},
	{" undisclosed-recipients:;", ""},
	{" <@x.example,@y.example:a@b.example>", "a@b.example"},
	{" One\r\n\t<a@b.example>,\r\n c@d.example\r\n", "a@b.example c@d.example"},
	{" <>", ""},
	{" ,,;", ""},
	{"", ""},
	{" user", "user"},
	{" (unclosed a@b.example", ""},
	{" \"unclosed <a@b.example>", ""},
	{" <a@b.example", "a@b.example"},
	{" =?utf-8?q?J=C3=BCrgen?= <a@b.example>", "a@b.example"},
	{" x@\xff, a@b.example", "a@b.example"},
};

static void add(struct slice address, void *arg)
{
	struct buf *got = arg;

	buf_add_fmt(got, "%s%.*s", got->len > 0 ? " " : "", SLICE_FMT(address));
}

static void test_addresses(void)
{
	struct buf got = BUF_INIT(1000);

	for (size_t i = 0; i < COUNT_OF(lists); i++) {
		buf_reset(&got);
		header_addresses(slice_str(lists[i].value), 10, add, &got);
		is_str(buf_str(&got), lists[i].want, "addresses of '%s'", lists[i].value);
	}
	buf_reset(&got);
	is_int(header_addresses(SLICE_LIT("a@x,b@x,c@x"), 2, add, &got), 2,
		"no more than the limit");
	is_str(buf_str(&got), "a@x b@x", "the first ones");
	buf_clear(&got);
}

/* "*" in want: nothing was changed. An address without '@' gets one, "stay" does not. */
static const struct {
	const char *value, *want;
} edits[] = {
	{" kim\r\n", " kim@o\r\n"},
	{" a@b.example,c@d.example\r\n", "*"},
	{" Kim  Lee <kim> , a@b.example\r\n", " Kim  Lee <kim@o> , a@b.example\r\n"},
	{" \"K, L\" <kim> (x <y>)", " \"K, L\" <kim@o> (x <y>)"},
	{" (a) kim (b),\r\n\tlee", " (a) kim@o (b),\r\n\tlee@o"},
	{" kim lee", " kim@o, lee@o"},
	{" kim lee@b.example stay bo", " kim@o, lee@b.example stay bo@o"},
	{" kim . lee", " kim.lee@o"},
	{" friends: kim, <lee>; bo", " friends: kim@o, <lee@o>; bo@o"},
	{" undisclosed-recipients:;", "*"},
	{" <@a,@b:kim>", "*"},
	{" < kim (c) >", " <kim@o>"},
	{" \"a b\"", " \"a b\"@o"},
	{" a\\,b", " \"a,b\"@o"},
	{" kim@b.example.", " kim@b.example"},
	{" kim@[192.0.2.1], x", " kim@[192.0.2.1], x@o"},
	{" <>", "*"},
	{" ,,;:", "*"},
	{"", "*"},
	{" (open kim", "*"},
	{" \"open kim", "*"},
	{" <kim", "*"},
	{" kim>", "*"},
	{" kim\\", "*"},
};

static bool append(struct slice address, struct buf *to, void *arg)
{
	buf_reset(to);
	if (slice_find(address, '@') >= 0 || slice_eq_str(address, "stay")) {
		buf_add_slice(to, address);
		return false;
	}
	buf_add_fmt(to, "%.*s%s", SLICE_FMT(address), (const char *)arg);
	return true;
}

static void test_edit(void)
{
	char origin[] = "@o";
	struct buf got = BUF_INIT(1000);

	for (size_t i = 0; i < COUNT_OF(edits); i++) {
		buf_reset(&got);
		if (header_edit_addresses(slice_str(edits[i].value), append, origin, &got) == 0)
			buf_add_char(&got, '*');
		is_str(buf_str(&got), edits[i].want, "edit of '%s'", edits[i].value);
	}
	buf_clear(&got);
}

int main(void)
{
	test_scan();
	test_shift();
	test_addresses();
	test_edit();
	is_int(header_kind(SLICE_LIT("MESSAGE-ID")), HEADER_MESSAGE_ID, "case does not matter");
	is_int(header_kind(SLICE_LIT("Message-I")), HEADER_OTHER, "a part of a name is another");
	is_int(header_kind(SLICE_LIT("")), HEADER_OTHER, "no name");
	return done_testing();
}
