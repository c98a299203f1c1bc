/* SPDX-License-Identifier: ISC */
#include "util/crc32c.h"

#include "util/hash.h"
#include "util/wire.h"

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

#define POLYNOMIAL UINT32_C(0x82f63b78) /* reflected */

/* table[k][b]: the remainder of byte b with k zero bytes behind it. */
static uint32_t table[8][256];

static void table_fill(void)
{
	for (uint32_t b = 0; b < 256; b++) {
		uint32_t crc = b;

		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? POLYNOMIAL : 0);
		table[0][b] = crc;
	}
	for (uint32_t b = 0; b < 256; b++)
		for (int k = 1; k < 8; k++)
			table[k][b] = table[k - 1][b] >> 8 ^ table[0][table[k - 1][b] & 0xff];
}

uint32_t crc32c_portable(uint32_t crc, const void *p, size_t len)
{
	struct slice in = slice_of(p, len);

	if (table[0][1] == 0)
		table_fill();
	crc = ~crc;
	for (; in.len >= 8; in = slice_from(in, 8)) {
		uint64_t w = wire_get_u64(in.p) ^ crc;

		crc = 0;
		for (int k = 0; k < 8; k++)
			crc ^= table[7 - k][w >> (8 * k) & 0xff];
	}
	for (size_t i = 0; i < in.len; i++)
		crc = crc >> 8 ^ table[0][(crc ^ (uint8_t)in.p[i]) & 0xff];
	return ~crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t crc32c_sse42(
	uint32_t crc, const void *p, size_t len)
{
	struct slice in = slice_of(p, len);
	uint64_t c = (uint32_t)~crc;

	for (; in.len >= 8; in = slice_from(in, 8))
		c = _mm_crc32_u64(c, wire_get_u64(in.p));
	for (size_t i = 0; i < in.len; i++)
		c = _mm_crc32_u8((uint32_t)c, (uint8_t)in.p[i]);
	return ~(uint32_t)c;
}
#endif

uint32_t crc32c(uint32_t crc, const void *p, size_t len)
{
#if defined(__x86_64__)
	if (__builtin_cpu_supports("sse4.2"))
		return crc32c_sse42(crc, p, len);
#endif
	return crc32c_portable(crc, p, len);
}
