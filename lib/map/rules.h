/* SPDX-License-Identifier: ISC */
#ifndef MAP_RULES_H
#define MAP_RULES_H

#include "map/driver.h"
#include "map/text.h"

/*
 * What cidr and pcre sources have in common: a list of rules with if and endif, searched forward.
 * An "if" learns the rule behind its "endif" when that comes, so a search only goes forward and
 * nothing recurs.
 */
enum { RULE_LIMIT = 1000000, RULE_IF_LIMIT = 100 };

enum rule_kind { RULE_MATCH, RULE_IF, RULE_ENDIF };

struct rule_ifs {
	size_t index[RULE_IF_LIMIT];
	unsigned line[RULE_IF_LIMIT];
	size_t depth;
};

/* What a line is; *rest is what stands behind if or endif, or all of it. */
enum rule_kind rule_kind_of(struct slice line, struct slice *rest);
/* Takes "!" and blanks behind it off the front. */
bool rule_take_not(struct slice *text);
/* Rule number index begins an if. False, with a mistake, when they nest too deep. */
bool rule_ifs_begin(struct rule_ifs *ifs, struct text *t, unsigned line, size_t index);
/* *index is the if that ends here. False, with a mistake, when there is none. */
bool rule_ifs_end(
	struct rule_ifs *ifs, struct text *t, unsigned line, struct slice rest, size_t *index);
/* Reads a whole source, a call of parse a rule; an if that is still open at its end is a mistake.
 */
int rules_read(const struct map_input *in, struct rule_ifs *ifs,
	void (*parse)(void *table, struct slice logical, struct text *t, unsigned line),
	void *table);

#endif
