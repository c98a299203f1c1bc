/* SPDX-License-Identifier: ISC */
#ifndef CONF_MISTAKE_H
#define CONF_MISTAKE_H

#include "util/dict.h"
#include "util/buf.h"

/*
 * Mistakes in configuration files, gathered as lines "PATH:LINE:COLUMN: error: …; expected …" (or
 * "warning:"). The same line is kept once, however many services meet the mistake. Text from the
 * files is quoted for a terminal here. Bounded: behind the limit only the counts go on.
 */
struct place {
	const char *path;      /* borrowed; NULL: no file, nothing is printed before "error:" */
	unsigned line, column; /* 0: not known, not printed */
};

struct mistakes {
	struct buf text;   /* the lines, each with its end */
	struct dict *seen; /* private */
	unsigned errors, warnings;
};

void mistakes_init(struct mistakes *m);
void mistakes_clear(struct mistakes *m);
void mistakes_error(struct mistakes *m, struct place where, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void mistakes_warning(struct mistakes *m, struct place where, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#endif
