/* SPDX-License-Identifier: ISC */
#ifndef UTIL_HASH_H
#define UTIL_HASH_H

#include "util/slice.h"

/* SipHash-2-4 with a key drawn once per process (arc4random). Not for storage. */
uint64_t hash_bytes(struct slice s);
/* The same folded over ASCII case. */
uint64_t hash_lower(struct slice s);
/* SipHash-2-4 with a given key of 16 bytes. */
uint64_t hash_keyed(const uint8_t key[16], struct slice s);

/* CRC-32C (Castagnoli, RFC 3720 B.4), by SSE4.2 where the machine has it. Start with crc 0. */
uint32_t crc32c(uint32_t crc, const void *p, size_t len);

#endif
