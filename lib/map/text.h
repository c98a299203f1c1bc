/* SPDX-License-Identifier: ISC */
#ifndef MAP_TEXT_H
#define MAP_TEXT_H

#include "util/buf.h"

/*
 * Table sources as text: logical lines. A line whose first character other than blanks is '#' and
 * an empty line are skipped, wherever they stand; a line that begins with a blank continues the
 * one before. The parts are joined as they are, blanks at the end are dropped.
 *
 * Mistakes are gathered in why, one a line, "FILE:LINE: what; expected what"; after
 * TEXT_MISTAKE_LIMIT of them the rest is only counted.
 */
enum { TEXT_LINE_LIMIT = 65536 + 4096, TEXT_MISTAKE_LIMIT = 20 };

struct text {
	const char *file; /* borrowed */
	struct slice rest;
	unsigned line; /* physical lines read so far */
	unsigned mistakes;
	struct buf *why; /* borrowed */
	/* When set, mistakes go here and not to why. */
	void (*report)(const struct text *t, unsigned line, const char *what);
	struct buf logical;
};

/* source and file are borrowed until text_clear. */
void text_init(struct text *t, const char *file, struct slice source, struct buf *why);
void text_clear(struct text *t);
/*
 * The next logical line and the number of its first physical line; borrowed until the next call.
 * False at the end. A line that is too long, holds a NUL, or continues nothing is a mistake and
 * is not returned.
 */
bool text_next(struct text *t, struct slice *logical, unsigned *line);
void text_mistake(struct text *t, unsigned line, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* 0, or ERR_SYNTAX when there was a mistake. */
int text_result(const struct text *t);

/* Splits "word   rest" at the first blank; both trimmed. */
void text_split(struct slice line, struct slice *word, struct slice *rest);

#endif
