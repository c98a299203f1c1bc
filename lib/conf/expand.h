/* SPDX-License-Identifier: ISC */
#ifndef CONF_EXPAND_H
#define CONF_EXPAND_H

#include "util/buf.h"

/*
 * $name, ${name}, $(name), ${name?text}, ${name:text}, ${name?{text}:{text}},
 * ${{a} == {b} ? {text} : {text}} with == != < <= >= > (numbers when both sides are, else text)
 * and the same with "level" behind the operator (versions), and $$. Values are expanded again.
 */
enum { EXPAND_DEPTH = 50, EXPAND_LIMIT = 1 << 20, EXPAND_NAMES = 10000 };

struct expand {
	/* The value of a name, unexpanded; NULL: there is none. Values are borrowed. */
	const char *(*lookup)(void *arg, struct slice name);
	void *arg;
	/* Called for each name that is referred to; may be NULL. */
	void (*seen)(void *arg, struct slice name);
	struct buf *why; /* what is wrong with the text; may be NULL */
	unsigned *left;  /* private: names that may still be looked up */
};

/* Appends to out. ERR_SYNTAX (why says what), ERR_LIMIT: too deep (a loop), too
 * long, or too many names. */
int expand(const struct expand *e, struct slice text, struct buf *out);
/* Compares "3.6" and "3.11" part by part: < 0, 0, > 0; ERR_SYNTAX as false. */
bool expand_compare_levels(struct slice a, struct slice b, int *order);

#endif
