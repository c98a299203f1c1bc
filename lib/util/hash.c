/* SPDX-License-Identifier: ISC */
#include "util/hash.h"

#include <stdlib.h>

#include "util/wire.h"

/* SipHash-2-4 (Aumasson and Bernstein, 2012). */
struct sip {
	uint64_t v0, v1, v2, v3;
};

static inline uint64_t rotl(uint64_t x, unsigned n)
{
	return x << n | x >> (64 - n);
}

static inline void sip_round(struct sip *s)
{
	s->v0 += s->v1;
	s->v2 += s->v3;
	s->v1 = rotl(s->v1, 13) ^ s->v0;
	s->v3 = rotl(s->v3, 16) ^ s->v2;
	s->v0 = rotl(s->v0, 32);
	s->v2 += s->v1;
	s->v0 += s->v3;
	s->v1 = rotl(s->v1, 17) ^ s->v2;
	s->v3 = rotl(s->v3, 21) ^ s->v0;
	s->v2 = rotl(s->v2, 32);
}

static inline void sip_word(struct sip *s, uint64_t m)
{
	s->v3 ^= m;
	sip_round(s);
	sip_round(s);
	s->v0 ^= m;
}

/* Eight bytes at once: bit 7 of a sum says whether the byte is at least 'A', or over 'Z'. */
static inline uint64_t fold(uint64_t w)
{
	const uint64_t ones = UINT64_C(0x0101010101010101), high = ones << 7;
	uint64_t low = w & ~high;
	uint64_t from_a = low + ones * (0x80 - 'A'), over_z = low + ones * (0x7f - 'Z');

	return w | ((from_a ^ over_z) & ~w & high) >> 2;
}

static inline uint64_t sip_hash(const uint8_t key[16], struct slice in, bool folded)
{
	uint64_t k0 = wire_get_u64(key), k1 = wire_get_u64(key + 8);
	uint64_t last = (uint64_t)in.len << 56, tail = 0;
	struct sip s = {k0 ^ UINT64_C(0x736f6d6570736575), k1 ^ UINT64_C(0x646f72616e646f6d),
		k0 ^ UINT64_C(0x6c7967656e657261), k1 ^ UINT64_C(0x7465646279746573)};

	for (; in.len >= 8; in = slice_from(in, 8)) {
		uint64_t w = wire_get_u64(in.p);

		sip_word(&s, folded ? fold(w) : w);
	}
	for (size_t i = 0; i < in.len; i++)
		tail |= (uint64_t)(uint8_t)in.p[i] << (8 * i);
	sip_word(&s, last | (folded ? fold(tail) : tail));
	s.v2 ^= 0xff;
	for (int i = 0; i < 4; i++)
		sip_round(&s);
	return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

static const uint8_t *process_key(void)
{
	static uint8_t key[16];
	static bool drawn;

	if (!drawn)
		arc4random_buf(key, sizeof(key));
	drawn = true;
	return key;
}

uint64_t hash_bytes(struct slice s)
{
	return sip_hash(process_key(), s, false);
}

uint64_t hash_lower(struct slice s)
{
	return sip_hash(process_key(), s, true);
}

uint64_t hash_keyed(const uint8_t key[16], struct slice s)
{
	return sip_hash(key, s, false);
}
