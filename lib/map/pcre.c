/* SPDX-License-Identifier: ISC */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "map/driver.h"
#include "map/rules.h"
#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"

/*
 * pcre: rules "[!]/PATTERN/FLAGS RESULT", "if [!]/PATTERN/FLAGS", "endif"; the first that matches
 * decides; $1, ${1}, $(1) in a result stand for what a group matched, $$ for a dollar. Patterns are
 * interpreted, never compiled to machine code (workers have no executable memory to spare), and
 * a match has limits: a pattern that needs more is a failed lookup, not "not found".
 */
enum { MATCH_STEPS = 1000000, MATCH_DEPTH = 5000, MATCH_HEAP_KB = 20480, GROUP_LIMIT = 99 };

/* A piece of a result: text, or (group > 0) what a group matched. */
struct piece {
	size_t start, len;
	unsigned group;
};

struct pcre_rule {
	pcre2_code *code; /* owned; NULL for RULE_ENDIF */
	enum rule_kind kind;
	bool negated;
	unsigned line;
	size_t skip;  /* RULE_IF: the rule to go on with when it does not hold */
	char *result; /* owned */
	struct piece *pieces;
	size_t piece_count;
};

struct pcre {
	struct pcre_rule *rules;
	size_t count, cap;
	struct rule_ifs ifs;
	pcre2_match_context *limits;
	pcre2_match_data *found;
	char *file; /* owned */
};

static void pcre_close(void *state)
{
	struct pcre *p = state;
	for (size_t i = 0; i < p->count; i++) {
		pcre2_code_free(p->rules[i].code);
		mem_free(p->rules[i].result);
		mem_free(p->rules[i].pieces);
	}
	mem_free(p->rules);
	pcre2_match_context_free(p->limits);
	pcre2_match_data_free(p->found);
	mem_free(p->file);
	mem_free(p);
}

static struct pcre_rule *add_rule(struct pcre *p, enum rule_kind kind, unsigned line)
{
	if (p->count == p->cap) {
		p->cap = p->cap == 0 ? 16 : p->cap * 2;
		p->rules = mem_resize(p->rules, p->cap, sizeof(*p->rules));
	}
	struct pcre_rule *r = &p->rules[p->count++];
	*r = (struct pcre_rule){.kind = kind, .line = line};
	return r;
}

/* Flags switch what stands in Postfix's documentation; all but X change the default. */
static bool parse_flags(struct slice flags, struct text *t, unsigned line, uint32_t *options)
{
	*options = PCRE2_CASELESS | PCRE2_DOTALL | PCRE2_UTF | PCRE2_MATCH_INVALID_UTF |
		   PCRE2_NEVER_BACKSLASH_C;
	for (size_t i = 0; i < flags.len; i++) {
		switch (flags.p[i]) {
		case 'i': *options ^= PCRE2_CASELESS; break;
		case 'm': *options ^= PCRE2_MULTILINE; break;
		case 's': *options ^= PCRE2_DOTALL; break;
		case 'x': *options ^= PCRE2_EXTENDED; break;
		case 'A': *options ^= PCRE2_ANCHORED; break;
		case 'E': *options ^= PCRE2_DOLLAR_ENDONLY; break;
		case 'U': *options ^= PCRE2_UNGREEDY; break;
		case 'X': break;
		default:
			text_mistake(t, line,
				"unknown flag \"%.*s\"; expected i, m, s, x, A, E, U or X",
				SLICE_FMT(slice_first(flags, 20)));
			return false;
		}
	}
	return true;
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

static bool parse_pattern(
	struct slice *rest, struct text *t, unsigned line, pcre2_code **code, uint32_t *groups)
{
	struct slice pattern, flags;
	uint32_t options;
	int error;
	PCRE2_SIZE at;
	*code = NULL;
	*groups = 0;
	if (!take_pattern(rest, t, line, &pattern, &flags) ||
		!parse_flags(flags, t, line, &options))
		return false;
	*code = pcre2_compile((PCRE2_SPTR)pattern.p, pattern.len, options, &error, &at, NULL);
	if (*code == NULL) {
		PCRE2_UCHAR text[128] = "";
		pcre2_get_error_message(error, text, sizeof(text));
		text_mistake(t, line, "error in the pattern at offset %zu: %s", (size_t)at,
			(char *)text);
		return false;
	}
	pcre2_pattern_info(*code, PCRE2_INFO_CAPTURECOUNT, groups);
	return true;
}

static void add_piece(struct pcre_rule *r, size_t start, size_t len, unsigned group)
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
static size_t parse_dollar(struct pcre_rule *r, size_t at, uint32_t groups, struct text *t)
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
	else if (group < 1 || group > groups || group > GROUP_LIMIT)
		text_mistake(t, r->line, "no group $%u in the pattern; it has %u", (unsigned)group,
			groups);
	else
		add_piece(r, 0, 0, (unsigned)group);
	return used;
}

static void parse_result(struct pcre_rule *r, uint32_t groups, struct text *t)
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

static void parse_match(struct pcre *p, struct slice rest, struct text *t, unsigned line)
{
	uint32_t groups;
	pcre2_code *code;
	bool negated = rule_take_not(&rest);
	if (!parse_pattern(&rest, t, line, &code, &groups))
		return;
	struct pcre_rule *r = add_rule(p, RULE_MATCH, line);
	r->code = code;
	r->negated = negated;
	r->result = slice_dup(rest);
	if (rest.len == 0)
		text_mistake(t, line, "no result; expected \"/PATTERN/FLAGS RESULT\"");
	parse_result(r, groups, t);
}

static void parse_if(struct pcre *p, struct slice rest, struct text *t, unsigned line)
{
	uint32_t groups;
	if (!rule_ifs_begin(&p->ifs, t, line, p->count))
		return;
	struct pcre_rule *r = add_rule(p, RULE_IF, line);
	r->negated = rule_take_not(&rest);
	if (parse_pattern(&rest, t, line, &r->code, &groups) && rest.len > 0)
		text_mistake(t, line, "text behind the pattern of an if; expected none");
}

static void parse_rule(void *table, struct slice logical, struct text *t, unsigned line)
{
	struct pcre *p = table;
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

static struct pcre *pcre_new(const char *file)
{
	struct pcre *p = mem_alloc(sizeof(*p));
	p->file = mem_str(file);
	p->limits = pcre2_match_context_create(NULL);
	p->found = pcre2_match_data_create(GROUP_LIMIT + 1, NULL);
	if (p->limits == NULL || p->found == NULL)
		log_fatal("out of memory");
	pcre2_set_match_limit(p->limits, MATCH_STEPS);
	pcre2_set_depth_limit(p->limits, MATCH_DEPTH);
	pcre2_set_heap_limit(p->limits, MATCH_HEAP_KB);
	return p;
}

static int pcre_open(const struct map_input *in, void **state)
{
	struct pcre *p = pcre_new(in->file);
	int r = rules_read(in, &p->ifs, parse_rule, p);
	if (r == 0)
		*state = p;
	else
		pcre_close(p);
	return r;
}

/* 1 holds, 0 does not, ERR_TEMP. */
static int rule_holds(const struct pcre *p, const struct pcre_rule *r, struct slice key)
{
	const char *subject = key.len > 0 ? key.p : "";
	int n = pcre2_match(r->code, (PCRE2_SPTR)subject, key.len, 0, 0, p->found, p->limits);
	if (n >= 0)
		return !r->negated;
	if (n == PCRE2_ERROR_NOMATCH)
		return r->negated;
	PCRE2_UCHAR text[128] = "";
	pcre2_get_error_message(n, text, sizeof(text));
	log_warning(
		"pcre table %s, line %u: %s; this lookup fails", p->file, r->line, (char *)text);
	return ERR_TEMP;
}

static int add_result(
	const struct pcre *p, const struct pcre_rule *r, struct slice key, struct buf *value)
{
	const PCRE2_SIZE *ovector = pcre2_get_ovector_pointer(p->found);
	for (size_t i = 0; i < r->piece_count; i++) {
		const struct piece *part = &r->pieces[i];
		struct slice text = slice_of(r->result + part->start, part->len);
		if (part->group > 0) {
			PCRE2_SIZE from = ovector[2 * part->group],
				   to = ovector[2 * part->group + 1];
			text = SLICE_NONE;
			if (from != PCRE2_UNSET && from <= to && to <= key.len)
				text = slice_of(key.p + from, to - from);
		}
		if (buf_add_slice(value, text) != 0)
			return ERR_LIMIT;
	}
	return 0;
}

static int pcre_find(void *state, struct slice key, struct later *l, struct buf *value)
{
	(void)l;
	const struct pcre *p = state;
	for (size_t i = 0; i < p->count;) {
		const struct pcre_rule *r = &p->rules[i++];
		if (r->kind == RULE_ENDIF)
			continue;
		int holds = rule_holds(p, r, key);
		if (holds < 0)
			return holds;
		if (holds && r->kind == RULE_MATCH)
			return add_result(p, r, key, value);
		if (!holds && r->kind == RULE_IF)
			i = r->skip;
	}
	return ERR_NOT_FOUND;
}

const struct map_driver map_pcre = {
	"pcre", MAP_SOURCE_TEXT, pcre_open, pcre_find, pcre_close, NULL, true};
