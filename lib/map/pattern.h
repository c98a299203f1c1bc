/* SPDX-License-Identifier: ISC */
#ifndef MAP_PATTERN_H
#define MAP_PATTERN_H

#include "map/driver.h"
#include "map/text.h"

/*
 * What pcre and regexp have in common: rules "[!]/PATTERN/FLAGS RESULT", "if [!]/PATTERN/FLAGS",
 * "endif"; the first that matches decides; $1, ${1}, $(1) in a result stand for what a group
 * matched, $$ for a dollar. The two differ in their engine alone.
 */
enum { PATTERN_GROUP_LIMIT = 99 };

/* What a group matched, in bytes of the key; to < from: nothing. */
struct pattern_span {
	ptrdiff_t from, to;
};

struct pattern_engine {
	/* False, with a mistake. code is owned by the table; groups: how many the pattern has. */
	bool (*compile)(struct slice pattern, struct slice flags, struct text *t, unsigned line,
		void **code, unsigned *groups);
	/* 1 it matches, with spans 0 to groups (at most PATTERN_GROUP_LIMIT); 0 not; ERR_TEMP. */
	int (*match)(const void *code, struct slice key,
		struct pattern_span spans[PATTERN_GROUP_LIMIT + 1], struct buf *why);
	void (*free)(void *code); /* NULL is fine */
};

/* For the driver: open with an engine that lives for ever; the others as they are. */
int pattern_open(const struct pattern_engine *e, const struct map_input *in, void **state);
int pattern_find(void *state, struct slice key, struct later *l, struct buf *value);
void pattern_close(void *state);

#endif
