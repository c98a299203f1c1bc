/* SPDX-License-Identifier: ISC */
#include "mime/mime.h"

#include "t/tap.h"
#include "util/mem.h"

/*
 * Events as a text: P, M, N and a field's name and a '+' when more of it follows; '=' and its
 * encodings and types at the end of a section, '!' when no empty line follows; body lines in
 * brackets with a letter for their domain. "|" in a message is a line end.
 */
struct row {
	const char *what, *message, *events;
	unsigned errors;
};

static const struct row rows[] = {
	{"nothing", "", "P=text7! ", 0},
	{"fields alone", "A: b|", "P:A P=text7! ", 0},
	{"a body alone", "hello|", "P=text7! [7hello]", 0},
	{"a blank first", "|hello|", "P=text7 [7][7hello]", 0},
	{"the usual", "A: b| c|Subject : x||one|two|", "P:A P:Subject P=text7 [7][7one][7two]", 0},
	{"no line end", "A: b||one", "P:A P=text7 [7][7one~]", 0},
	{"no field", "A: b|what|two|", "P:A P=text7! [7what][7two]", 0},
	{"continuation alone", " A: b||x|", "P=text7! [7 A: b][7][7x]", 0},
	{"8bit", "Content-Transfer-Encoding: 8bit||x|",
		"P:Content-Transfer-Encoding P=text8 [8][8x]", 0},
	{"binary, a comment", "CONTENT-TRANSFER-ENCODING: (no (t) 7bit) BINARY (x)||x|",
		"P:CONTENT-TRANSFER-ENCODING P=textb [b][bx]", 0},
	{"quoted", "Content-Transfer-Encoding: \"8bit\"||x|",
		"P:Content-Transfer-Encoding P=text7 [7][7x]", 0},
	{"a mark behind it", "Content-Transfer-Encoding: 8bit; x||x|",
		"P:Content-Transfer-Encoding P=text8 [8][8x]", 0},
	{"unknown", "Content-Transfer-Encoding: 9bit||x|",
		"P:Content-Transfer-Encoding P=text7 [7][7x]", 0},
	{"the last one counts",
		"Content-Transfer-Encoding: 8bit|Content-Transfer-Encoding: base64||x|",
		"P:Content-Transfer-Encoding P:Content-Transfer-Encoding P=text7 [7][7x]", 0},
	{"other type", "Content-Type: image/jpeg||x|", "P:Content-Type P=other7 [7][7x]", 0},
	{"no type", "Content-Type: ||x|", "P:Content-Type P=text7 [7][7x]", 0},
	{"parts",
		"Content-Type: multipart/mixed; boundary=\"b b\"||pre|--b b|A: b||one|--b "
		"b|Content-"
		"Type: x/y||two|--b b--|post|",
		"P:Content-Type P=multi7 [7][7pre][7--b b]M:A M=text7 [7][7one][7--b b]"
		"M:Content-Type M=other7 [7][7two][7--b b--][7post]",
		0},
	{"a part without fields", "Content-Type: multipart/x; boundary=b||--b||one|--b--|",
		"P:Content-Type P=multi7 [7][7--b]M=text7 [7][7one][7--b--]", 0},
	{"a part without an empty line", "Content-Type: multipart/x; boundary=b||--b|one|--b--|",
		"P:Content-Type P=multi7 [7][7--b]M=text7! [7one][7--b--]", 0},
	{"an empty part", "Content-Type: multipart/x; boundary=b||--b|--b|A: b|--b--|x|",
		"P:Content-Type P=multi7 [7][7--b]M=text7! [7--b]M:A M=text7! [7--b--][7x]", 0},
	{"text behind a boundary", "Content-Type: multipart/x; boundary=b||--bx|A: b||--b-- x|",
		"P:Content-Type P=multi7 [7][7--bx]M:A M=text7 [7][7--b-- x]", 0},
	{"folded, comments, other parameters",
		"Content-Type: (a) multipart (b) / (c)| mixed; x=\"y;boundary=n\";|\tBOUNDARY (d) "
		"= "
		"\"q\\\"r\"||--q\"r||x|",
		"P:Content-Type P=multi7 [7][7--q\"r]M=text7 [7][7x]", 0},
	{"two boundaries",
		"Content-Type: multipart/x; boundary=a; boundary=b||--a||x|--b||y|--a||z|",
		"P:Content-Type P=multi7 [7][7--a]M=text7 [7][7x][7--b][7][7y][7--a]M=text7 "
		"[7][7z]",
		0},
	{"no boundary", "Content-Type: multipart/x||--b|A: b||x|",
		"P:Content-Type P=multi7 [7][7--b][7A: b][7][7x]", 0},
	{"digest", "Content-Type: multipart/digest; boundary=b||--b||A: b||x|--b--|",
		"P:Content-Type P=multi7 [7][7--b]M=822-7 [7]N:A N=text7 [7][7x][7--b--]", 0},
	{"a message", "Content-Type: message/rfc822||A: b|Content-Transfer-Encoding: 8bit||x|",
		"P:Content-Type P=822-7 [7]N:A N:Content-Transfer-Encoding N=text8 [8][8x]", 0},
	{"a part of a message", "Content-Type: message/partial; id=x||A: b||x|",
		"P:Content-Type P=partial7 [7][7A: b][7][7x]", 0},
	{"a message elsewhere", "Content-Type: message/External-Body||A: b||x|",
		"P:Content-Type P=external7 [7][7A: b][7][7x]", 0},
	{"another message", "Content-Type: message/x||A: b||x|",
		"P:Content-Type P=msg7 [7][7A: b][7][7x]", 0},
	{"parts of parts, inner end missing",
		"Content-Type: multipart/x; boundary=a||--a|Content-Type: multipart/y; boundary=b||"
		"--b||x|--a||y|--b||z|--a--|",
		"P:Content-Type P=multi7 [7][7--a]M:Content-Type M=multi7 [7][7--b]M=text7 "
		"[7][7x][7--a]M=text7 [7][7y][7--b][7][7z][7--a--]",
		0},
	{"an encoding that parts may not have",
		"Content-Type: multipart/x; boundary=a|Content-Transfer-Encoding: base64||x|",
		"P:Content-Type P:Content-Transfer-Encoding P=multi7 [7][7x]", MIME_ERR_ENCODING},
	{"parts of 8 bit",
		"Content-Type: multipart/x; boundary=a|Content-Transfer-Encoding: 8bit||x|",
		"P:Content-Type P:Content-Transfer-Encoding P=multi8 [7][7x]", 0},
	{"a part of a message of 8 bit",
		"Content-Type: message/partial|Content-Transfer-Encoding: 8bit||x|",
		"P:Content-Type P:Content-Transfer-Encoding P=partial8 [8][8x]", MIME_ERR_ENCODING},
	{"8-bit header", "A: \xe9||x|", "P:A P=text7 [7][7x]", MIME_ERR_8BIT_HEADER},
	{"8-bit body", "A: b||\xe9|", "P:A P=text7 [7][7\xe9]", MIME_ERR_8BIT_BODY},
	{"8-bit body that says so", "Content-Transfer-Encoding: 8bit||\xe9|",
		"P:Content-Transfer-Encoding P=text8 [8][8\xe9]", 0},
	{"a long field",
		"A: 0123456789| 0123456789| 0123456789| 0123456789| 0123456789| 0123456789| "
		"0123456789| 0123456789| last|B: x||x|",
		"P:A P+ last|P:B P=text7 [7][7x]", MIME_ERR_LONG_HEADER},
	{"levels",
		"Content-Type: multipart/x; boundary=a||--a|Content-Type: multipart/x; boundary=b||"
		"--b|Content-Type: multipart/x; boundary=c||--c|Content-Type: multipart/x; "
		"boundary=d||--d||x|--c--|",
		"P:Content-Type P=multi7 [7][7--a]M:Content-Type M=multi7 [7][7--b]M:Content-Type "
		"M=multi7 [7][7--c]M:Content-Type M=multi7 [7][7--d][7][7x][7--c--]",
		MIME_ERR_NESTING},
	{"a long boundary is known by its begin",
		"Content-Type: multipart/x; boundary=0123456789abcdef||--0123456789zz||x|",
		"P:Content-Type P=multi7 [7][7--0123456789zz]M=text7 [7][7x]", 0},
	{"a bad boundary parameter", "Content-Type: multipart/x; boundary=| ; boundary||--||x|",
		"P:Content-Type P=multi7 [7][7--][7][7x]", 0},
};

/* "|" to CRLF. */
static struct slice lines(const char *text, struct buf *out)
{
	for (; *text != '\0'; text++) {
		if (*text == '|')
			buf_add_str(out, "\r\n");
		else
			buf_add_char(out, *text);
	}
	return buf_slice(out);
}

static const char *type_name(const struct mime_part *p)
{
	switch (p->type) {
	case MIME_TEXT: return "text";
	case MIME_MULTIPART_TYPE: return "multi";
	case MIME_MESSAGE:
		return p->subtype == MIME_RFC822          ? "822-"
		       : p->subtype == MIME_PARTIAL       ? "partial"
		       : p->subtype == MIME_EXTERNAL_BODY ? "external"
							  : "msg";
	default: return "other";
	}
}

static char domain_letter(const struct mime *m)
{
	return "78b"[m->part.domain];
}

static void note(
	struct buf *out, const struct mime *m, enum mime_event event, const struct mime_data *d)
{
	char where = "PMN"[d->section];

	if (event == MIME_HEADER)
		buf_add_fmt(out, "%c:%.*s ", where, SLICE_FMT(d->name));
	else if (event == MIME_REST)
		buf_add_fmt(out, "%c+%.*s%s", where, SLICE_FMT(d->text), d->eol.len > 0 ? "|" : "");
	else if (event == MIME_HEAD_END)
		buf_add_fmt(out, "%c=%s%c%s ", where, type_name(&m->part), domain_letter(m),
			d->is_blank ? "" : "!");
	else
		buf_add_fmt(out, "[%c%.*s%s]", domain_letter(m), SLICE_FMT(d->text),
			d->eol.len > 0 ? "" : "~");
}

/* The events of a message that comes in pieces of step bytes; its bytes go to back. */
static unsigned run(struct slice text, size_t step, int options, struct buf *out, struct buf *back)
{
	const struct mime_limits limits = {.header = 100, .boundary = 10, .nesting = 2};
	struct mime m;
	struct mime_data d;
	enum mime_event event = MIME_MORE;
	unsigned errors;

	buf_reset(out);
	buf_reset(back);
	mime_init(&m, &limits, options);
	while (event != MIME_END) {
		/* A copy, so that a look behind the chunk is seen. */
		struct slice chunk = slice_first(text, step);
		char *copy = mem_dup(chunk.p, chunk.len);
		struct slice in = slice_of(copy, chunk.len);
		bool is_last = chunk.len == 0;

		text = slice_from(text, chunk.len);
		while ((event = mime_next(&m, &in, is_last, &d)) != MIME_MORE &&
			event != MIME_END) {
			note(out, &m, event, &d);
			buf_add_slice(back, d.text);
			buf_add_slice(back, d.eol);
		}
		mem_free(copy);
	}
	errors = m.errors;
	mime_clear(&m);
	return errors;
}

static void test_row(const struct row *r)
{
	struct buf text = BUF_INIT(65536), out = BUF_INIT(65536), back = BUF_INIT(65536);
	struct slice message = lines(r->message, &text);
	unsigned errors = run(message, message.len + 1, MIME_LOOK_8BIT, &out, &back);
	bool good = true;

	is_slice(buf_slice(&out), r->events, "%s", r->what);
	is_int(errors, r->errors, "%s: errors", r->what);
	is_slice(buf_slice(&back), buf_str(&text), "%s: every byte", r->what);
	for (size_t step = 1; step < 8; step++) {
		struct buf cut = BUF_INIT(65536);

		good = good && run(message, step, MIME_LOOK_8BIT, &cut, &back) == errors &&
		       slice_eq(buf_slice(&cut), buf_slice(&out));
		buf_clear(&cut);
	}
	ok(good, "%s: however it is cut", r->what);
	buf_clear(&text);
	buf_clear(&out);
	buf_clear(&back);
}

/* Lines around the lengths at which they are cut, and a part's boundary behind each. */
static void test_long_lines(void)
{
	static const size_t lengths[] = {2046, 2047, 2048, 2049, 2050, 2051, 4096, 4097, 5000};

	for (size_t i = 0; i < COUNT_OF(lengths); i++) {
		struct buf text = BUF_INIT(65536), out = BUF_INIT(65536), back = BUF_INIT(65536),
			   cut = BUF_INIT(65536);
		unsigned pieces = 0;
		bool good = true;

		buf_add_str(&text, "Content-Type: multipart/x; boundary=b\r\n\r\n--b\r\n\r\n");
		for (size_t n = 0; n < lengths[i]; n++)
			buf_add_char(&text, (char)('a' + n % 26));
		buf_add_str(&text, "\r\n--b--\r\n");
		(void)run(buf_slice(&text), text.len, 0, &out, &back);
		for (struct slice s = buf_slice(&out); s.len > 0; s = slice_from(s, 1))
			pieces += s.p[0] == '~';
		is_int(pieces, (lengths[i] - 1) / MIME_LINE, "%zu bytes: cut so often", lengths[i]);
		ok(slice_ends(buf_slice(&out), "[7--b--]"), "%zu: the boundary behind it",
			lengths[i]);
		ok(slice_eq(buf_slice(&back), buf_slice(&text)), "%zu: every byte", lengths[i]);
		for (size_t step = 1; step < 5000; step = step * 2 + 1) {
			(void)run(buf_slice(&text), step, 0, &cut, &back);
			good = good && slice_eq(buf_slice(&cut), buf_slice(&out));
		}
		ok(good, "%zu: however it is cut", lengths[i]);
		buf_clear(&text);
		buf_clear(&out);
		buf_clear(&back);
		buf_clear(&cut);
	}
}

static void test_primary_only(void)
{
	static const char text[] =
		"A: b\r\nContent-Type: multipart/x; boundary=b\r\n\r\n--b\r\nC: d\r\n\r\n";
	struct buf out = BUF_INIT(65536), back = BUF_INIT(65536);

	for (size_t step = 1; step < sizeof(text) + 1; step++) {
		(void)run(slice_str(text), step, MIME_PRIMARY_ONLY, &out, &back);
		if (!slice_eq_str(buf_slice(&back), text) ||
			slice_find_str(buf_slice(&out), "M:") >= 0)
			fail("the first section alone, by %zu", step);
	}
	ok(slice_starts(buf_slice(&out), "P:A P:Content-Type P=multi7 "),
		"the first section alone");
	buf_clear(&out);
	buf_clear(&back);
}

static void test_words(void)
{
	const char *status;

	is_str(mime_error_text(MIME_ERR_NESTING | MIME_ERR_ENCODING, &status),
		"MIME nesting exceeds safety limit", "the gravest");
	is_str(status, "5.6.0", "its code");
	is_str(mime_error_text(MIME_ERR_ENCODING, &status),
		"invalid message/* or multipart/* encoding domain", "the least");
	is_str(mime_encoding_name(MIME_QUOTED_PRINTABLE), "quoted-printable", "a name");
}

int main(void)
{
	for (size_t i = 0; i < COUNT_OF(rows); i++)
		test_row(&rows[i]);
	test_long_lines();
	test_primary_only();
	test_words();
	return done_testing();
}
