/* SPDX-License-Identifier: ISC */
#include "t/fuzz/fuzz.h"

#include "util/base64.h"

/* What is decoded has one form only: encoding it gives the input again. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice in = slice_of(data, size);
	struct buf plain = BUF_INIT(size), coded = BUF_INIT(2 * size + 4), again = BUF_INIT(size);

	if (base64_decode(&plain, in) == 0) {
		base64_encode(&coded, buf_slice(&plain));
		FUZZ_ASSERT(slice_eq(buf_slice(&coded), in));
	}
	buf_reset(&coded);
	base64_encode(&coded, in);
	FUZZ_ASSERT(!buf_failed(&coded));
	FUZZ_ASSERT(base64_decode(&again, buf_slice(&coded)) == 0);
	FUZZ_ASSERT(slice_eq(buf_slice(&again), in));
	buf_clear(&plain);
	buf_clear(&coded);
	buf_clear(&again);
	return 0;
}
