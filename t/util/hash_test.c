/* SPDX-License-Identifier: ISC */
#include "util/hash.h"

#include "t/tap.h"
#include "util/crc32c.h"

/* From the reference test vectors: key 0 to 15, input 0 to len-1. */
static void test_siphash(void)
{
	static const struct {
		size_t len;
		uint64_t want;
	} rows[] = {
		{0, UINT64_C(0x726fdb47dd0e0e31)},
		{1, UINT64_C(0x74f839c593dc67fd)},
		{7, UINT64_C(0xab0200f58b01d137)},
		{8, UINT64_C(0x93f5f5799a932462)},
		{15, UINT64_C(0xa129ca6149be45e5)},
		{63, UINT64_C(0x958a324ceb064572)},
	};
	uint8_t bytes[64];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)i;
	for (size_t i = 0; i < COUNT_OF(rows); i++)
		ok(hash_keyed(bytes, slice_of(bytes, rows[i].len)) == rows[i].want,
			"siphash of %zu bytes", rows[i].len);
}

static void test_process_key(void)
{
	static const uint8_t zero[16];
	struct slice a = SLICE_LIT("user@example.org");

	ok(hash_bytes(a) == hash_bytes(a), "the same twice");
	ok(hash_bytes(a) != hash_keyed(zero, a), "under a key that was drawn");
	ok(hash_bytes(SLICE_NONE) == hash_bytes(SLICE_LIT("")), "nothing is nothing");
}

/* Each byte, at each place of a word, folds as ASCII says and only then. */
static void test_folding(void)
{
	bool good = true;

	for (size_t place = 0; place < 12; place++) {
		for (int c = 0; c < 256; c++) {
			char a[12] = "............", b[12] = "............";
			bool upper = c >= 'A' && c <= 'Z';

			a[place] = (char)c;
			b[place] = (char)(c ^ 0x20);
			if (upper)
				good &= hash_lower(slice_of(a, 12)) == hash_lower(slice_of(b, 12));
			else if (c < 'a' || c > 'z')
				good &= hash_lower(slice_of(a, 12)) != hash_lower(slice_of(b, 12));
			b[place] = upper ? (char)(c | 0x20) : (char)c;
			good &= hash_lower(slice_of(a, 12)) == hash_bytes(slice_of(b, 12));
		}
	}
	ok(good, "hash_lower is the hash of the lower-case bytes");
}

/* RFC 3720, B.4, and the check value of the polynomial. */
static void test_crc_vectors(void)
{
	uint8_t rows[4][32];
	static const uint32_t want[4] = {0x8a9136aa, 0x62a8ab43, 0x46dd794e, 0x113fdb5c};

	for (size_t i = 0; i < 32; i++) {
		rows[0][i] = 0;
		rows[1][i] = 0xff;
		rows[2][i] = (uint8_t)i;
		rows[3][i] = (uint8_t)(31 - i);
	}
	for (size_t i = 0; i < 4; i++) {
		is_int(crc32c(0, rows[i], 32), want[i], "vector %zu", i);
		is_int(crc32c_portable(0, rows[i], 32), want[i], "vector %zu, portable", i);
	}
	is_int(crc32c(0, "123456789", 9), 0xe3069283, "123456789");
	is_int(crc32c(0, NULL, 0), 0, "nothing");
}

static void test_crc_parts(void)
{
	uint8_t bytes[300];
	bool same = true, joined = true;

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 7 + (i >> 3));
	for (size_t at = 0; at < 9; at++)
		for (size_t len = 0; len < 280; len++)
			same &= crc32c(0, bytes + at, len) == crc32c_portable(0, bytes + at, len);
	ok(same, "both ways agree at each alignment and length");
	for (size_t cut = 0; cut <= sizeof(bytes); cut++)
		joined &= crc32c(crc32c(0, bytes, cut), bytes + cut, sizeof(bytes) - cut) ==
			  crc32c(0, bytes, sizeof(bytes));
	ok(joined, "in two parts it is the same");
}

int main(void)
{
	test_siphash();
	test_process_key();
	test_folding();
	test_crc_vectors();
	test_crc_parts();
	return done_testing();
}
