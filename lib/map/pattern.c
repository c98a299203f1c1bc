/* SPDX-License-Identifier: ISC */
#include "map/pattern.h"

#include "map/rules.h"
#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"

/* A piece of a result: text, or (group > 0) what a group matched. */
struct piece {
	size_t start, len;
	unsigned group;
};

struct pattern_rule {
	void *code; /* owned; NULL for RULE_ENDIF */
	enum rule_kind kind;
	bool negated;
	unsigned line;
	size_t skip;  /* RULE_IF: the rule to go on with when it does not hold */
	char *result; /* owned */
	struct piece *pieces;
	size_t piece_count;
};

struct patterns {
	const struct pattern_engine *engine;
	struct pattern_rule *rules;
	size_t count, cap;
	struct rule_ifs ifs;
	char *file; /* owned */
};

void pattern_close(void *state)
{
	struct patterns *p = state;
	for (size_t i = 0; i < p->count; i++) {
		p->engine->free(p->rules[i].code);
		mem_free(p->rules[i].result);
		mem_free(p->rules[i].pieces);
	}
	mem_free(p->rules);
	mem_free(p->file);
	mem_free(p);
}

static struct pattern_rule *add_rule(struct patterns *p, enum rule_kind kind, unsigned line)
{
	if (p->count == p->cap) {
		p->cap = p->cap == 0 ? 16 : p->cap * 2;
		p->rules = mem_resize(p->rules, p->cap, sizeof(*p->rules));
	}
	struct pattern_rule *r = &p->rules[p->count++];
	*r = (struct pattern_rule){.kind = kind, .line = line};
	return r;
}

static bool is_delimiter(char c)
{
	unsigned char u = (unsigned char)c;
	bool alnum = (u >= '0' && u <= '9') || (u >= 'a' && u <= 'z') || (u >= 'A' && u <= 'Z');
	return u > ' ' && u < 127 && !alnum && u != '\\';
}

/* Takes "/PATTERN/FLAGS" off the front of *rest. A delimiter inside is written with a backslash. */
static bool take_pattern(struct slice *rest, struct text *t, unsigned line, struct slice *pattern,
	struct slice *flags)
{
	if (rest->len == 0 || !is_delimiter(rest->p[0])) {
		text_mistake(t, line, "no pattern in \"%.*s\"; expected /PATTERN/FLAGS RESULT",
			SLICE_FMT(slice_first(*rest, 60)));
		return false;
	}
	size_t end = 1;
	while (end < rest->len && rest->p[end] != rest->p[0])
		end += rest->p[end] == '\\' ? 2 : 1;
	if (end >= rest->len) {
		text_mistake(t, line, "pattern \"%.*s\" does not end; expected another '%c'",
			SLICE_FMT(slice_first(*rest, 60)), rest->p[0]);
		return false;
	}
	*pattern = slice_of(rest->p + 1, end - 1);
	text_split(slice_from(*rest, end + 1), flags, rest);
	return true;
}

static bool parse_pattern(struct patterns *p, struct slice *rest, struct text *t, unsigned line,
	void **code, unsigned *groups)
{
	struct slice pattern, flags;
	*code = NULL;
	*groups = 0;
	return take_pattern(rest, t, line, &pattern, &flags) &&
	       p->engine->compile(pattern, flags, t, line, code, groups);
}

static void add_piece(struct pattern_rule *r, size_t start, size_t len, unsigned group)
{
	if (len == 0 && group == 0)
		return;
	r->pieces = mem_resize(r->pieces, r->piece_count + 1, sizeof(*r->pieces));
	r->pieces[r->piece_count++] = (struct piece){start, len, group};
}

/* The name behind a dollar: 1, {1}, (1) or $. Returns its length, 0 for none. */
static size_t parse_group(struct slice s, uint64_t *group)
{
	size_t open = s.len > 0 && (s.p[0] == '{' || s.p[0] == '('), n = open;
	while (n < s.len && s.p[n] >= '0' && s.p[n] <= '9')
		n++;
	if (n == open || slice_u64(slice_of(s.p + open, n - open), 0, UINT32_MAX, group) != 0)
		return 0;
	if (open == 0)
		return n;
	char closing = s.p[0] == '{' ? '}' : ')';
	return n < s.len && s.p[n] == closing ? n + 1 : 0;
}

/* One '$' of a result; at is behind it. Returns what was used, 0 with a mistake. */
static size_t parse_dollar(struct pattern_rule *r, size_t at, unsigned groups, struct text *t)
{
	struct slice behind = slice_str(r->result + at);
	uint64_t group = 0;
	if (slice_starts(behind, "$")) {
		add_piece(r, at, 1, 0);
		return 1;
	}
	size_t used = parse_group(behind, &group);
	if (used == 0)
		text_mistake(t, r->line, "bad \"$%.*s\" in the result; expected $NUMBER or $$",
			SLICE_FMT(slice_first(behind, 20)));
	else if (r->negated)
		text_mistake(
			t, r->line, "$%u behind a negated pattern; expected no $", (unsigned)group);
	else if (group < 1 || group > groups || group > PATTERN_GROUP_LIMIT)
		text_mistake(t, r->line, "no group $%u in the pattern; it has %u", (unsigned)group,
			groups);
	else
		add_piece(r, 0, 0, (unsigned)group);
	return used;
}

static void parse_result(struct pattern_rule *r, unsigned groups, struct text *t)
{
	size_t start = 0, at = 0, len = strlen(r->result);
	while (at < len) {
		if (r->result[at++] != '$')
			continue;
		add_piece(r, start, at - 1 - start, 0);
		size_t used = parse_dollar(r, at, groups, t);
		if (used == 0)
			return;
		at += used;
		start = at;
	}
	add_piece(r, start, len - start, 0);
}

static void parse_match(struct patterns *p, struct slice rest, struct text *t, unsigned line)
{
	unsigned groups;
	void *code;
	bool negated = rule_take_not(&rest);
	if (!parse_pattern(p, &rest, t, line, &code, &groups))
		return;
	struct pattern_rule *r = add_rule(p, RULE_MATCH, line);
	r->code = code;
	r->negated = negated;
	r->result = slice_dup(rest);
	if (rest.len == 0)
		text_mistake(t, line, "no result; expected \"/PATTERN/FLAGS RESULT\"");
	parse_result(r, groups, t);
}

static void parse_if(struct patterns *p, struct slice rest, struct text *t, unsigned line)
{
	unsigned groups;
	if (!rule_ifs_begin(&p->ifs, t, line, p->count))
		return;
	struct pattern_rule *r = add_rule(p, RULE_IF, line);
	r->negated = rule_take_not(&rest);
	if (parse_pattern(p, &rest, t, line, &r->code, &groups) && rest.len > 0)
		text_mistake(t, line, "text behind the pattern of an if; expected none");
}

static void parse_rule(void *table, struct slice logical, struct text *t, unsigned line)
{
	struct patterns *p = table;
	struct slice rest;
	size_t opened;
	switch (rule_kind_of(logical, &rest)) {
	case RULE_MATCH: parse_match(p, rest, t, line); break;
	case RULE_IF: parse_if(p, rest, t, line); break;
	case RULE_ENDIF:
		add_rule(p, RULE_ENDIF, line);
		if (rule_ifs_end(&p->ifs, t, line, rest, &opened))
			p->rules[opened].skip = p->count;
		break;
	}
}

int pattern_open(const struct pattern_engine *e, const struct map_input *in, void **state)
{
	struct patterns *p = mem_alloc(sizeof(*p));
	p->engine = e;
	p->file = mem_str(in->file);
	int r = rules_read(in, &p->ifs, parse_rule, p);
	if (r == 0)
		*state = p;
	else
		pattern_close(p);
	return r;
}

/* 1 holds, 0 does not, ERR_TEMP. */
static int rule_holds(const struct patterns *p, const struct pattern_rule *r, struct slice key,
	struct pattern_span *spans)
{
	struct buf why = BUF_INIT(256);
	int found = p->engine->match(r->code, key, spans, &why);
	if (found < 0)
		log_warning("table %s, line %u: %s; this lookup fails", p->file, r->line,
			buf_str(&why));
	buf_clear(&why);
	return found < 0 ? ERR_TEMP : (found > 0) != r->negated;
}

static int add_result(const struct pattern_rule *r, struct slice key,
	const struct pattern_span *spans, struct buf *value)
{
	for (size_t i = 0; i < r->piece_count; i++) {
		const struct piece *part = &r->pieces[i];
		struct slice text = slice_of(r->result + part->start, part->len);
		if (part->group > 0) {
			struct pattern_span s = spans[part->group];
			text = SLICE_NONE;
			if (s.from >= 0 && s.from <= s.to && (size_t)s.to <= key.len)
				text = slice_of(key.p + s.from, (size_t)(s.to - s.from));
		}
		if (buf_add_slice(value, text) != 0)
			return ERR_LIMIT;
	}
	return 0;
}

int pattern_find(void *state, struct slice key, struct later *l, struct buf *value)
{
	(void)l;
	const struct patterns *p = state;
	struct pattern_span spans[PATTERN_GROUP_LIMIT + 1];
	for (size_t i = 0; i < p->count;) {
		const struct pattern_rule *r = &p->rules[i++];
		if (r->kind == RULE_ENDIF)
			continue;
		int holds = rule_holds(p, r, key, spans);
		if (holds < 0)
			return holds;
		if (holds && r->kind == RULE_MATCH)
			return add_result(r, key, spans, value);
		if (!holds && r->kind == RULE_IF)
			i = r->skip;
	}
	return ERR_NOT_FOUND;
}
