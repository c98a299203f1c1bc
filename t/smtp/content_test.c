/* SPDX-License-Identifier: ISC */
#include "t/tap.h"

#include "smtp/content.h"
#include "util/buf.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* NULL: the content has not ended yet. rest is what stands behind the end. */
static const struct {
	const char *in, *out, *rest;
	unsigned seen;
} data[] = {
	{".\r\n", "", "", 0},
	{"a\r\n.\r\n", "a\r\n", "", 0},
	{"a\r\n.\r\nMAIL", "a\r\n", "MAIL", 0},
	{"\r\n.\r\n", "\r\n", "", 0},
	{"..\r\n.\r\n", ".\r\n", "", CONTENT_DOT_LINE},
	{".a\r\n..b\r\na.b\r\n.\r\n", "a\r\n.b\r\na.b\r\n", "", CONTENT_DOT_LINE},
	{"\344\r\n.\r\n", "\344\r\n", "", CONTENT_8BIT},
	/* What other servers took for the end: each is content here. */
	{"a\n.\n\r\n.\r\n", "a\r\n\r\n\r\n", "", CONTENT_BARE_LF},
	{"a\n.\r\n\r\n.\r\n", "a\r\n\r\n\r\n", "", CONTENT_BARE_LF},
	{"a\r\n.\nb\r\n.\r\n", "a\r\n\r\nb\r\n", "", CONTENT_BARE_LF},
	{"a\r.\r\nb\r\n.\r\n", "a .\r\nb\r\n", "", CONTENT_STRAY_CR},
	{"a\r.\rb\r\n.\r\n", "a . b\r\n", "", CONTENT_STRAY_CR},
	{"a\r\n.\rb\r\n.\r\n", "a\r\n b\r\n", "", CONTENT_STRAY_CR},
	{"a\r\n.\r\r\n.\r\n", "a\r\n \r\n", "", CONTENT_STRAY_CR},
	{"a\r\r\n.\r\n", "a \r\n", "", CONTENT_STRAY_CR},
	{"a\n\r.\r\nb\r\n.\r\n", "a\r\n .\r\nb\r\n", "", CONTENT_STRAY_CR | CONTENT_BARE_LF},
	{"a\r\n.\n.\r\n.\r\n", "a\r\n\r\n\r\n", "", CONTENT_BARE_LF},
	/* Behind a CRLF that a bare-LF dot line ended, a dot ends the content again. */
	{"a\n.\r\n.\r\n", "a\r\n\r\n", "", CONTENT_BARE_LF},
	{".\n.\r\n.\r\n", "\r\n\r\n", "", CONTENT_BARE_LF},
	{"\n.\r\n\r\n.\r\n", "\r\n\r\n\r\n", "", CONTENT_BARE_LF},
};

static const struct {
	const char *in, *out;
	unsigned seen;
} chunks[] = {
	{"", "", 0},
	{"a", "a\r\n", 0},
	{"a\r\n", "a\r\n", 0},
	{"a\r", "a \r\n", CONTENT_STRAY_CR},
	{"a\nb", "a\r\nb\r\n", CONTENT_BARE_LF},
	{"\r\n.\r\nb", "\r\n.\r\nb\r\n", CONTENT_DOT_LINE},
	{".\r\n", ".\r\n", CONTENT_DOT_LINE},
	{"..a\n.", "..a\r\n.\r\n", CONTENT_DOT_LINE | CONTENT_BARE_LF},
	{"a\rb\r\r\n", "a b \r\n", CONTENT_STRAY_CR},
	{"\r\r", "  \r\n", CONTENT_STRAY_CR},
};

/* Decodes in by pieces of step bytes; *rest is what is behind the end. False: it has no end. */
static bool decode(struct content_decoder *d, struct slice in, size_t step, struct buf *out,
	struct slice *rest)
{
	for (size_t at = 0; at < in.len; at += step) {
		struct slice chunk = slice_first(slice_from(in, at), step), piece;
		size_t had = chunk.len;
		enum content_event e;

		while ((e = content_decode(d, &chunk, &piece)) == CONTENT_PIECE)
			(void)buf_add_slice(out, piece);
		if (e == CONTENT_END) {
			*rest = slice_from(in, at + had - chunk.len);
			return true;
		}
	}
	return false;
}

static void test_data(void)
{
	struct buf out = BUF_INIT(1000);

	for (size_t i = 0; i < COUNT(data); i++) {
		for (size_t step = 1; step < 30; step++) {
			struct content_decoder d;
			struct slice rest = SLICE_NONE;

			content_init(&d, CONTENT_SMTP_DATA);
			buf_reset(&out);
			ok(decode(&d, slice_str(data[i].in), step, &out, &rest),
				"case %zu by %zu ends", i, step);
			is_slice(buf_slice(&out), data[i].out, "content");
			is_slice(rest, data[i].rest, "what is behind");
			is_int(d.seen, data[i].seen, "seen");
			is_int(d.size, out.len, "size");
		}
	}
	buf_clear(&out);
}

static void test_chunks(void)
{
	struct buf out = BUF_INIT(1000);

	for (size_t i = 0; i < COUNT(chunks); i++) {
		for (size_t step = 1; step < 10; step++) {
			struct content_decoder d;
			struct slice rest;

			content_init(&d, 0);
			buf_reset(&out);
			ok(!decode(&d, slice_str(chunks[i].in), step, &out, &rest),
				"chunk %zu by %zu has no end of its own", i, step);
			(void)buf_add_slice(&out, content_finish(&d));
			is_slice(buf_slice(&out), chunks[i].out, "content");
			is_int(d.seen, chunks[i].seen, "seen");
			is_int(d.size, out.len, "size");
		}
	}
	buf_clear(&out);
}

/*
 * The same by the plainest means: bytes one by one, then CRLF.CRLF looked for in what came, with LF
 * read as CRLF afterwards.
 */
static bool reference(struct slice in, struct buf *out)
{
	bool line = true, standard = true;

	for (size_t i = 0; i < in.len; i++) {
		struct slice rest = slice_from(in, i);
		if (line && rest.p[0] == '.') {
			if (standard && slice_starts(rest, ".\r\n"))
				return true;
			rest = slice_from(in, ++i);
			if (rest.len == 0)
				return false;
		}
		line = false;
		if (rest.p[0] == '\n' || slice_starts(rest, "\r\n")) {
			line = true;
			standard = rest.p[0] == '\r';
			i += standard;
			(void)buf_add_str(out, "\r\n");
		} else {
			(void)buf_add_char(out, rest.p[0] == '\r' ? ' ' : rest.p[0]);
		}
	}
	return false;
}

/* Every string of six of the bytes that matter, in two pieces. */
static void test_reference(void)
{
	static const char alphabet[] = "a.\r\n\n";
	struct buf out = BUF_INIT(100), want = BUF_INIT(100);
	int bad = 0, n = 0;

	for (int code = 0; code < 4 * 4 * 4 * 4 * 4 * 4 * 4; code++) {
		char text[16];
		int c = code;
		for (int i = 0; i < 7; i++, c /= 4)
			text[i] = alphabet[c % 4];
		memcpy(text + 7, "\r\n.\r\n", 5);
		struct content_decoder d;
		struct slice rest = SLICE_NONE;

		content_init(&d, CONTENT_SMTP_DATA);
		buf_reset(&out);
		buf_reset(&want);
		bool ends = decode(&d, slice_of(text, 12), (size_t)(1 + code % 12), &out, &rest);
		bad += ends != reference(slice_of(text, 12), &want);
		bad += !slice_eq(buf_slice(&out), buf_slice(&want));
		n++;
	}
	is_int(bad, 0, "%d strings decode as by hand", n);
	buf_clear(&out);
	buf_clear(&want);
}

static void test_flags(void)
{
	struct content_decoder d;
	struct buf out = BUF_INIT(10000);
	struct slice rest;
	char line[2100];

	content_init(&d, CONTENT_SMTP_DATA | CONTENT_KEEP_CR);
	ok(decode(&d, SLICE_LIT("a\rb\r\n.\r\n"), 100, &out, &rest), "a CR may stay");
	is_slice(buf_slice(&out), "a\rb\r\n", "it does");
	is_int(d.seen, CONTENT_STRAY_CR, "and is seen");

	content_init(&d, CONTENT_SMTP_DATA);
	(void)decode(&d, slice_of("a\0b\r\n", 5), 100, &out, &rest);
	is_int(d.seen, CONTENT_NUL, "a NUL is seen");

	memset(line, 'x', sizeof(line));
	memcpy(line + 998, "\r\n", 2);
	for (size_t step = 1; step < 2000; step = step * 3 + 1) {
		content_init(&d, 0);
		(void)decode(&d, slice_of(line, 1000), step, &out, &rest);
		is_int(d.seen, 0, "998 bytes a line are fine (by %zu)", step);
		content_init(&d, 0);
		(void)decode(&d, slice_of(line + 1000, 999), step, &out, &rest);
		is_int(d.seen, CONTENT_LONG_LINE, "999 are seen");
	}
	buf_clear(&out);
}

/* Ordinary mail comes out in one piece a chunk. */
static void test_pieces(void)
{
	struct content_decoder d;
	struct slice in = SLICE_LIT("a: b\r\n\r\ntext. more.\r\nlines\r\n"), piece;

	content_init(&d, CONTENT_SMTP_DATA);
	is_int(content_decode(&d, &in, &piece), CONTENT_PIECE, "a piece");
	is_int(piece.len, 28, "of all");
	is_int(content_decode(&d, &in, &piece), CONTENT_MORE, "no other");
}

int main(void)
{
	test_data();
	test_chunks();
	test_reference();
	test_flags();
	test_pieces();
	return done_testing();
}
