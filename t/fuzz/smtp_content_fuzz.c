/* SPDX-License-Identifier: ISC */
#include "t/fuzz/fuzz.h"

#include "smtp/content.h"
#include "smtp/dot.h"
#include "util/buf.h"

enum { LIMIT = 1 << 22 };

static bool decode(struct content_decoder *d, int flags, struct slice in, size_t step,
	struct buf *out, size_t *rest)
{
	content_init(d, flags);
	for (size_t at = 0; at < in.len; at += step) {
		struct slice chunk = slice_first(slice_from(in, at), step), piece;
		enum content_event e;

		while ((e = content_decode(d, &chunk, &piece)) == CONTENT_PIECE) {
			FUZZ_ASSERT(piece.len > 0);
			(void)buf_add_slice(out, piece);
		}
		if (e == CONTENT_END) {
			*rest = in.len - at -
				(slice_first(slice_from(in, at), step).len - chunk.len);
			return true;
		}
		FUZZ_ASSERT(chunk.len == 0);
	}
	return false;
}

/* Every CR is followed by LF, every LF has its CR. */
static void check_lines(struct slice s)
{
	for (size_t i = 0; i < s.len; i++) {
		FUZZ_ASSERT(s.p[i] != '\n' || (i > 0 && s.p[i - 1] == '\r'));
		FUZZ_ASSERT(s.p[i] != '\r' || i + 1 == s.len || s.p[i + 1] == '\n');
	}
}

/* What was kept goes out again and comes back the same. */
static void check_round_trip(struct slice kept)
{
	struct dot_encoder e;
	struct content_decoder d;
	struct buf wire = BUF_INIT(LIMIT), back = BUF_INIT(LIMIT);
	struct slice rest = kept, piece;
	size_t left = 0;

	dot_encoder_init(&e, 0);
	while (dot_encode(&e, &rest, &piece))
		(void)buf_add_slice(&wire, piece);
	(void)buf_add_slice(&wire, dot_encoder_end(&e));
	FUZZ_ASSERT(decode(&d, CONTENT_SMTP_DATA, buf_slice(&wire), wire.len, &back, &left));
	FUZZ_ASSERT(left == 0);
	FUZZ_ASSERT(slice_eq(slice_first(buf_slice(&back), kept.len), kept));
	buf_clear(&wire);
	buf_clear(&back);
}

/* The first byte says how the rest is cut; the result does not depend on it. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice in = slice_from(slice_of(data, size), 1);
	size_t step = size > 0 ? data[0] + 1u : 1, left_a = 0, left_b = 0;

	for (int flags = 0; flags <= CONTENT_SMTP_DATA; flags++) {
		struct buf a = BUF_INIT(LIMIT), b = BUF_INIT(LIMIT);
		struct content_decoder d, whole;
		bool ends_a = decode(&d, flags, in, step, &a, &left_a);
		bool ends_b = decode(&whole, flags, in, in.len + 1, &b, &left_b);

		FUZZ_ASSERT(ends_a == ends_b && left_a == left_b);
		FUZZ_ASSERT(slice_eq(buf_slice(&a), buf_slice(&b)));
		FUZZ_ASSERT(d.seen == whole.seen && d.size == a.len);
		FUZZ_ASSERT(flags == CONTENT_SMTP_DATA || !ends_a);
		if (!ends_a)
			(void)buf_add_slice(&a, content_finish(&d));
		check_lines(buf_slice(&a));
		check_round_trip(buf_slice(&a));
		buf_clear(&a);
		buf_clear(&b);
	}
	return 0;
}
