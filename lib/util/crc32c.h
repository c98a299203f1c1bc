/* SPDX-License-Identifier: ISC */
#ifndef UTIL_CRC32C_H
#define UTIL_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* crc32c of util/hash.h without the machine's instruction, for its test. */
uint32_t crc32c_portable(uint32_t crc, const void *p, size_t len);

#endif
