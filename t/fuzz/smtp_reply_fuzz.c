/* SPDX-License-Identifier: ISC */
#include "t/fuzz/fuzz.h"

#include "smtp/ehlo.h"
#include "util/err.h"

static void check(const struct reply *r)
{
	static struct ehlo e;
	struct buf text = BUF_INIT(1 << 16);

	FUZZ_ASSERT(r->code >= 200 && r->code <= 599);
	FUZZ_ASSERT(
		reply_status_len(slice_str(r->status)) == strlen(r->status) || r->status[0] == '3');
	FUZZ_ASSERT(r->status[0] - '0' == reply_class(r));
	FUZZ_ASSERT(r->text.len <= REPLY_TEXT_LIMIT + REPLY_LINE_LIMIT + 1);
	reply_add_text(&text, r);
	FUZZ_ASSERT(slice_is_printable(buf_slice(&text)));
	ehlo_parse(r, 0, &e);
	FUZZ_ASSERT(strlen(e.auth) < sizeof(e.auth) && strlen(e.name) < sizeof(e.name));
	buf_clear(&text);
}

/* The first byte says how the rest is cut. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice in = slice_from(slice_of(data, size), 1);
	size_t step = size > 0 ? data[0] + 1u : 1;
	struct reply r;

	reply_init(&r);
	while (in.len > 0) {
		size_t used = 0;
		int err = reply_feed(&r, slice_first(in, step), &used);

		FUZZ_ASSERT(used > 0 && used <= step);
		in = slice_from(in, used);
		if (err == 0)
			check(&r);
		if (err != 0 && err != ERR_AGAIN)
			break;
		if (err == 0)
			reply_reset(&r);
	}
	reply_clear(&r);
	return 0;
}
