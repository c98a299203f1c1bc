/* SPDX-License-Identifier: ISC */
#include "t/fuzz/fuzz.h"

#include "smtp/ehlo.h"
#include "util/err.h"

/*
 * A server's talk, in pieces as long as its first byte says, and whole: the same replies come of
 * it, none of them longer than its limit or with a control character.
 */
static int one_reply(struct reply *r, struct slice *in, size_t step)
{
	int result = ERR_AGAIN;
	while (result == ERR_AGAIN && in->len > 0) {
		size_t used = 0;
		result = reply_feed(r, slice_first(*in, step), &used);
		FUZZ_ASSERT(used <= in->len && (used > 0 || result != ERR_AGAIN));
		*in = slice_from(*in, used);
	}
	return result;
}

static void check(const struct reply *r)
{
	struct slice text = buf_slice(&r->text);
	struct ehlo e;
	FUZZ_ASSERT(text.len <= REPLY_TEXT_LIMIT + REPLY_LINE_LIMIT);
	for (size_t i = 0; i < text.len; i++) {
		unsigned char c = (unsigned char)text.p[i];
		FUZZ_ASSERT(c == '\n' || c == '\t' || (c >= 32 && c != 127));
	}
	FUZZ_ASSERT(r->code >= 200 && r->code <= 599);
	ehlo_parse(r, 0, &e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct reply whole, pieces;
	struct slice all = slice_from(slice_of(data, size), 1), parts = all;
	size_t step = size > 0 ? (size_t)data[0] + 1 : 1;

	reply_init(&whole);
	reply_init(&pieces);
	for (int result = 0; result == 0 && all.len > 0;) {
		result = one_reply(&whole, &all, SIZE_MAX);
		int other = one_reply(&pieces, &parts, step);
		FUZZ_ASSERT(result == other);
		if (result == 0) {
			FUZZ_ASSERT(whole.code == pieces.code && all.len == parts.len);
			FUZZ_ASSERT(slice_eq(buf_slice(&whole.text), buf_slice(&pieces.text)));
			check(&whole);
		}
		reply_reset(&whole);
		reply_reset(&pieces);
	}
	reply_clear(&whole);
	reply_clear(&pieces);
	return 0;
}
