/* SPDX-License-Identifier: ISC */
#include "t/fuzz/fuzz.h"

#include "util/wire.h"

/* The input says what to read: each byte an operation on all that follows it. */
static void read_once(struct reader *r, uint8_t operation)
{
	const char *end = r->in.p + r->in.len;
	struct slice s = SLICE_NONE;

	switch (operation % 7) {
	case 0: reader_u16(r); break;
	case 1: reader_u32(r); break;
	case 2: reader_u64(r); break;
	case 3: s = reader_bytes(r, operation); break;
	case 4: s = reader_counted(r, operation); break;
	case 5: s = reader_counted(r, SIZE_MAX); break;
	default: reader_skip(r, operation / 7); break;
	}
	FUZZ_ASSERT(r->err == 0 || (r->in.len == 0 && s.len == 0));
	FUZZ_ASSERT(r->err != 0 || r->in.p + r->in.len == end);
	FUZZ_ASSERT(s.len == 0 || s.p + s.len == r->in.p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct reader r = reader_of(slice_of(data, size));
	int err = 0;

	while (r.err == 0 && r.in.len > 0)
		read_once(&r, reader_u8(&r));
	err = r.err;
	reader_end(&r);
	FUZZ_ASSERT(r.err == err);
	return 0;
}
