/* SPDX-License-Identifier: ISC */
#include "t/fuzz/fuzz.h"

#include "ipc/proto.h"

/* A body for the message whose number stands in front: checked, then shown. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf why = BUF_INIT(512), out = BUF_INIT(1 << 20);
	struct slice body;
	int err;

	if (size == 0)
		return 0;
	body = slice_of(data + 1, size - 1);
	err = proto_check(data[0], body, &why);
	FUZZ_ASSERT((err == 0) == (why.len == 0));
	proto_dump(&out, data[0], 1, body);
	FUZZ_ASSERT(slice_is_printable(buf_slice(&out)));
	buf_clear(&why);
	buf_clear(&out);
	return 0;
}
