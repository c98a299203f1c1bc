/* SPDX-License-Identifier: ISC */
#ifndef PRIV_PRIV_PRIVATE_H
#define PRIV_PRIV_PRIVATE_H

#include "priv/priv.h"

/* What sandbox.def's rows say, for the files of this folder. */
enum {
	SANDBOX_FORKS = 1,
	SANDBOX_FILES = 2,
	SANDBOX_DIALS = 4,
	SANDBOX_READS = 8,
	SANDBOX_FIXED = 16,
};

struct sandbox_row {
	const char *name;
	uint64_t groups; /* bits of enum call_group */
	unsigned flags;
};
extern const struct sandbox_row sandbox_rows[SANDBOX_COUNT];

enum { BELOW_READ = 1, BELOW_WRITE = 2, BELOW_MAKE_DIR = 4 };

struct below_row {
	enum sandbox sandbox;
	const char *directory;
	unsigned rights;
};
extern const struct below_row below_rows[];
extern const size_t below_rows_n;

/* landlock.c */
void landlock_confine(enum sandbox s, const char *base);
/* filter.c */
void filter_confine(enum sandbox s);

#endif
