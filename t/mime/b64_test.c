/* SPDX-License-Identifier: ISC */
#include "mime/b64.h"

#include "t/mime/rows.h"
#include "util/base64.h"

static void add_line(struct buf *out, const struct buf *line)
{
	if (line->len > B64_LINE || (out->len > 0 && (out->len + 1) % (B64_LINE + 1) != 0))
		fail("a line of %zu behind %zu", line->len, out->len);
	if (out->len > 0)
		buf_add_char(out, '|');
	buf_add_slice(out, buf_slice(line));
}

static void encode(struct slice text, size_t step, struct buf *out)
{
	struct b64_encoder b = {0};
	struct buf line = BUF_INIT(B64_LINE);

	buf_reset(out);
	while (text.len > 0) {
		struct slice piece = slice_first(text, step);

		text = slice_from(text, piece.len);
		while (b64_encode(&b, &piece, &line))
			add_line(out, &line);
		if (piece.len > 0 || line.len > 0)
			fail("%zu bytes left, a line of %zu", piece.len, line.len);
	}
	if (b64_is_open(&b)) {
		b64_end(&b, &line);
		add_line(out, &line);
	}
	b64_end(&b, &line);
	if (b64_is_open(&b) || line.len > 0)
		fail("an end behind the end");
	buf_clear(&line);
}

static void test_rows(void)
{
	static const struct encoded_row rows[] = {
		{"", ""},
		{"f", "Zg=="},
		{"fo", "Zm8="},
		{"foo", "Zm9v"},
		{"\xff\xfe\r\n", "//4NCg=="},
		{"012345678901234567890123456789012345678901234567890123456",
			"MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzND"
			"U"
			"2"},
		{"0123456789012345678901234567890123456789012345678901234567",
			"MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzND"
			"U"
			"2|Nw=="},
	};

	check_rows(rows, COUNT_OF(rows), encode);
}

/* Every length up to some lines, of every byte there is: the same when it is decoded. */
static void test_lengths(void)
{
	char data[4 * B64_RAW];
	struct buf out = BUF_INIT(4096), joined = BUF_INIT(4096), back = BUF_INIT(4096);
	bool good = true;

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (char)(i * 5);
	for (size_t len = 0; len <= sizeof(data); len++) {
		struct slice rest, line;

		encode(slice_of(data, len), len % 7 + 1, &out);
		buf_reset(&joined);
		buf_reset(&back);
		rest = buf_slice(&out);
		while (slice_part(&rest, '|', &line))
			buf_add_slice(&joined, line);
		good = good && base64_decode(&back, buf_slice(&joined)) == 0 &&
		       slice_eq(buf_slice(&back), slice_of(data, len));
	}
	ok(good, "every length");
	buf_clear(&out);
	buf_clear(&joined);
	buf_clear(&back);
}

int main(void)
{
	test_rows();
	test_lengths();
	return done_testing();
}
