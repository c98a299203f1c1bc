/* SPDX-License-Identifier: ISC */
#include "t/fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>

void fuzz_failed(const char *file, int line, const char *what)
{
	fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, what);
	abort();
}
