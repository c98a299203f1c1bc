/* SPDX-License-Identifier: ISC */
#include "t/fuzz/fuzz.h"

#include "mail/address.h"

static const struct address_rules rules = {SLICE_LIT("o.test"), SLICE_LIT("d.test"), true, true};

static void check_parsed(struct slice internal)
{
	struct buf out = BUF_INIT(3 * ADDRESS_LIMIT), back = BUF_INIT(2 * ADDRESS_LIMIT);
	struct slice local, domain, user, ext;

	FUZZ_ASSERT(slice_is_printable(internal) && slice_is_utf8(internal));
	FUZZ_ASSERT(internal.len <= ADDRESS_LIMIT);
	address_split(internal, &local, &domain);
	FUZZ_ASSERT(internal.len == 0 || local.len > 0);
	(void)address_split_extension(local, "+-", &user, &ext);
	FUZZ_ASSERT(local.len == 0 || user.len > 0);
	/* The external form means the same address. */
	address_add_external(&out, internal);
	if (internal.len > 0 && address_parse(buf_slice(&out), 0, &back) == 0)
		FUZZ_ASSERT(slice_eq(buf_slice(&back), internal));
	buf_clear(&back);
	if (address_complete(internal, &rules, &back) == 0 && internal.len > 0)
		FUZZ_ASSERT(slice_find(buf_slice(&back), '@') >= 0);
	(void)address_follow_route(local, &rules, &back);
	buf_clear(&out);
	buf_clear(&back);
}

/* The first byte is the flags, the rest an address, a path, xtext and ORCPT in turn. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice in = slice_of(data, size), rest, type;
	struct buf out = BUF_INIT(4 * ADDRESS_LIMIT);
	int flags = size > 0 ? data[0] & 15 : 0;

	in = slice_from(in, 1);
	if (address_parse(in, flags, &out) == 0)
		check_parsed(buf_slice(&out));
	rest = in;
	if (address_parse_path(&rest, flags, &out) == 0) {
		check_parsed(buf_slice(&out));
		FUZZ_ASSERT(rest.len < in.len && rest.p + rest.len == in.p + in.len);
	}
	buf_reset(&out);
	if (address_xtext_decode(&out, in) == 0)
		FUZZ_ASSERT(slice_is_printable(buf_slice(&out)));
	buf_reset(&out);
	if (address_orcpt_decode(in, flags, &type, &out) == 0)
		FUZZ_ASSERT(type.len > 0 && slice_is_printable(buf_slice(&out)));
	buf_clear(&out);
	return 0;
}
