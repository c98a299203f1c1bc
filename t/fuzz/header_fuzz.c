/* SPDX-License-Identifier: ISC */
#include "t/fuzz/fuzz.h"

#include "mail/address.h"
#include "mail/header.h"

/*
 * The first byte says how the rest is cut. However that is, the same fields are found, one behind
 * the other, and the section ends at the same place.
 */
struct result {
	size_t fields, sum, end, body;
};

static void take(struct slice address, void *arg)
{
	size_t *n = arg;

	FUZZ_ASSERT(address.len > 0 && address.len <= ADDRESS_LIMIT);
	FUZZ_ASSERT(slice_is_printable(address));
	++*n;
}

static bool append(struct slice address, struct buf *to, void *arg)
{
	struct slice at = SLICE_LIT("@example.com");

	(void)arg;
	buf_reset(to);
	buf_add_slice(to, address);
	if (slice_find(address, '@') < 0)
		buf_add_slice(to, at);
	return slice_find(address, '@') < 0 && !buf_failed(to);
}

/* What has been completed once needs no second time. */
static void edit(struct slice value)
{
	struct buf once = BUF_INIT(1 << 22), again = BUF_INIT(1 << 23);

	if (header_edit_addresses(value, append, NULL, &once) > 0 && !buf_failed(&once))
		FUZZ_ASSERT(header_edit_addresses(buf_slice(&once), append, NULL, &again) == 0);
	buf_clear(&once);
	buf_clear(&again);
}

static struct result scan(struct slice text, size_t step)
{
	struct result r = {0};
	struct header_scan s;
	struct header_field f;
	enum header_event event;
	size_t have = step < text.len ? step : text.len, n = 0;

	header_scan_init(&s);
	while ((event = header_next(&s, slice_first(text, have), have == text.len, &f)) !=
		HEADER_END) {
		if (event == HEADER_MORE) {
			FUZZ_ASSERT(have < text.len);
			have = text.len - have > step ? have + step : text.len;
			continue;
		}
		FUZZ_ASSERT(f.start == r.sum && f.len > 0 && f.start + f.len <= have);
		FUZZ_ASSERT(header_pending(&s) == f.start + f.len);
		FUZZ_ASSERT(f.kind == HEADER_MAILBOX_LINE || f.name.len > 0);
		r.sum += f.len;
		r.fields++;
		n = 0;
		FUZZ_ASSERT(header_addresses(f.value, 5, take, &n) == n && n <= 5);
		edit(f.value);
	}
	FUZZ_ASSERT(s.end == r.sum && s.body >= s.end && s.body - s.end <= 2);
	r.end = s.end;
	r.body = s.body;
	return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice text = slice_of(data, size);
	struct result whole, cut;

	if (size == 0)
		return 0;
	text = slice_from(text, 1);
	whole = scan(text, text.len > 0 ? text.len : 1);
	cut = scan(text, data[0] % 16 + 1);
	FUZZ_ASSERT(whole.fields == cut.fields && whole.end == cut.end && whole.body == cut.body);
	return 0;
}
