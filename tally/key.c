/* SPDX-License-Identifier: ISC */
#include "tally/key.h"

#include "util/hash.h"
#include "util/wire.h"

enum { BYTES = 8192, HEAD = 1 + KEY_PARTS * 4 };

uint8_t key_secret[KEY_SECRET];

struct key key_of(char kind, const struct slice part[KEY_PARTS])
{
	static char bytes[BYTES];
	size_t len = HEAD;
	struct key k;

	bytes[0] = kind;
	for (size_t i = 0; i < KEY_PARTS; i++) {
		struct slice s = slice_first(part[i], BYTES - len);

		wire_put_u32(bytes + 1 + i * 4, (uint32_t)part[i].len);
		if (s.len > 0)
			memcpy(bytes + len, s.p, s.len);
		len += s.len;
	}
	for (size_t i = 0; i < 2; i++)
		k.word[i] = hash_keyed(key_secret + i * KEY_SECRET / 2, slice_of(bytes, len));
	return k;
}
