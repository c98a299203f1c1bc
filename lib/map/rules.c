/* SPDX-License-Identifier: ISC */
#include "map/rules.h"

enum rule_kind rule_kind_of(struct slice line, struct slice *rest)
{
	struct slice word, behind;
	text_split(line, &word, &behind);
	*rest = behind;
	if (slice_case_eq_str(word, "if"))
		return RULE_IF;
	if (slice_case_eq_str(word, "endif"))
		return RULE_ENDIF;
	*rest = line;
	return RULE_MATCH;
}

bool rule_take_not(struct slice *text)
{
	bool found = slice_starts(*text, "!");
	if (found)
		*text = slice_trim(slice_from(*text, 1));
	return found;
}

bool rule_ifs_begin(struct rule_ifs *ifs, struct text *t, unsigned line, size_t index)
{
	if (ifs->depth == RULE_IF_LIMIT) {
		text_mistake(
			t, line, "if nested too deep; expected at most %d levels", RULE_IF_LIMIT);
		return false;
	}
	ifs->line[ifs->depth] = line;
	ifs->index[ifs->depth++] = index;
	return true;
}

bool rule_ifs_end(
	struct rule_ifs *ifs, struct text *t, unsigned line, struct slice rest, size_t *index)
{
	if (ifs->depth == 0) {
		text_mistake(t, line, "endif without if; expected an if before it");
		return false;
	}
	if (rest.len > 0)
		text_mistake(t, line, "text behind endif; expected none");
	*index = ifs->index[--ifs->depth];
	return true;
}

int rules_read(const struct map_input *in, struct rule_ifs *ifs,
	void (*parse)(void *table, struct slice logical, struct text *t, unsigned line),
	void *table)
{
	struct text t;
	struct slice logical;
	unsigned line, count = 0;
	text_init(&t, in->file, in->text, in->why);
	while (text_next(&t, &logical, &line)) {
		if (count++ == RULE_LIMIT) {
			text_mistake(&t, line, "too many rules; expected at most %d", RULE_LIMIT);
			break;
		}
		parse(table, logical, &t, line);
	}
	while (ifs->depth > 0)
		text_mistake(
			&t, ifs->line[--ifs->depth], "if without endif; expected one behind it");
	int r = text_result(&t);
	text_clear(&t);
	return r;
}
