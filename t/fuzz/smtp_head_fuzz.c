/* SPDX-License-Identifier: ISC */
#include "t/fuzz/fuzz.h"

#include <arpa/inet.h>

#include "smtp/proxy.h"
#include "smtp/xattr.h"
#include "util/err.h"

static void proxy(struct slice in)
{
	struct smtp_proxy p;
	size_t used = 0;
	unsigned char bytes[16];
	int err = smtp_proxy_parse(in, &p, &used);

	if (err != 0 || p.is_own)
		return;
	FUZZ_ASSERT(used > 0 && used <= in.len);
	FUZZ_ASSERT(inet_pton(AF_INET, p.client, bytes) == 1 ||
		    inet_pton(AF_INET6, p.client, bytes) == 1);
}

static void xattr(struct slice in, unsigned allowed)
{
	struct buf value = BUF_INIT(1024), reply = BUF_INIT(1024);
	enum smtp_xattr_kind kind;
	enum smtp_xattr a;
	int err;

	while ((err = smtp_xattr_next(&in, allowed, &a, &kind, &value, &reply)) == 0) {
		FUZZ_ASSERT((allowed & 1u << a) != 0);
		FUZZ_ASSERT(value.len <= XATTR_VALUE_LIMIT);
		FUZZ_ASSERT(slice_is_printable(buf_slice(&value)));
		FUZZ_ASSERT((kind == XATTR_VALUE) == (value.len > 0));
	}
	FUZZ_ASSERT((err == ERR_SYNTAX) == (reply.len > 0));
	FUZZ_ASSERT(slice_is_printable(buf_slice(&reply)));
	buf_clear(&value);
	buf_clear(&reply);
}

/* What comes from a load balancer or a trusted client: the first byte says which. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice in = slice_from(slice_of(data, size), 1);

	if (size == 0)
		return 0;
	switch (data[0]) {
	case 'c': xattr(in, smtp_xclient_attributes); break;
	case 'f': xattr(in, smtp_xforward_attributes); break;
	default: proxy(in); break;
	}
	return 0;
}
