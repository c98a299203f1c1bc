/* SPDX-License-Identifier: ISC */
#ifndef T_FUZZ_FUZZ_H
#define T_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

/*
 * What a fuzz target defines: parses size bytes at data, which are exactly as long (the byte behind
 * is not the target's), checks what must hold for any input with FUZZ_ASSERT, frees all. Returns 0.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FUZZ_ASSERT(cond) ((cond) ? (void)0 : fuzz_failed(__FILE__, __LINE__, #cond))

_Noreturn void fuzz_failed(const char *file, int line, const char *what);

#endif
