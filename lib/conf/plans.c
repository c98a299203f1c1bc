/* SPDX-License-Identifier: ISC */
#include "conf/plans.h"

#include <string.h>

#include "conf/line.h"
#include "conf/rate.h"
#include "util/err.h"
#include "util/mem.h"

/* How exact a class is, least first. */
enum kind { PLAN_OWN, PLAN_STAGE, PLAN_CODE, PLAN_STATUS };

struct row {
	struct slice name, class; /* in text */
	enum kind kind;
	unsigned n;
	int64_t steps[PLANS_STEPS];
};

struct plans {
	char *text; /* owned */
	struct row **rows;
	size_t n;
	int64_t longest;
};

static const char *const stages[] = {
	"dns", "connect", "greeting", "tls", "auth", "helo", "mail", "rcpt", "data", "dot"};

#define COUNT(a) (sizeof(a) / sizeof(*(a)))

static bool is_digits(struct slice s, size_t min, size_t max)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.p[i] < '0' || s.p[i] > '9')
			return false;
	return s.len >= min && s.len <= max;
}

/* What is deferred begins with a 4; with a 5 it does by soft_bounce and its kin. */
static bool has_class_digit(struct slice s)
{
	return s.len > 0 && (s.p[0] == '4' || s.p[0] == '5');
}

static bool is_status(struct slice s)
{
	struct slice part;
	size_t n = 0;

	for (; slice_part(&s, '.', &part); n++)
		if (!is_digits(part, 1, n == 0 ? 1 : 3))
			return false;
	return n == 3;
}

static bool kind_of(struct slice class, enum kind *kind)
{
	*kind = PLAN_OWN;
	if (class.len == 0)
		return true;
	*kind = PLAN_STAGE;
	for (size_t i = 0; i < COUNT(stages); i++)
		if (slice_eq_str(class, stages[i]))
			return true;
	*kind = PLAN_CODE;
	if (has_class_digit(class) && is_digits(class, 3, 3))
		return true;
	*kind = PLAN_STATUS;
	return has_class_digit(class) && is_status(class);
}

static bool is_name(struct slice s)
{
	for (size_t i = 0; i < s.len; i++) {
		char c = s.p[i];

		if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') &&
			c != '.' && c != '-' && c != '_')
			return false;
	}
	return s.len > 0 && s.len <= PLANS_NAME;
}

static int bad_form(struct slice item, struct buf *why)
{
	buf_add_fmt(why,
		"\"%.*s\" is no plan; expected { NAME = TIME, … } or { NAME CLASS = TIME, … }",
		SLICE_FMT(item));
	return ERR_SYNTAX;
}

/* NAME or NAME CLASS */
static int parse_head(struct slice item, struct slice head, struct row *row, struct buf *why)
{
	struct slice rest = head, more;

	row->class = SLICE_NONE;
	if (!line_word(&rest, &row->name))
		return bad_form(item, why);
	if (!is_name(row->name)) {
		buf_add_fmt(why,
			"\"%.*s\" is no name of a plan; expected up to %d letters, digits, \".\", "
			"\"-\" and \"_\"",
			SLICE_FMT(row->name), PLANS_NAME);
		return ERR_SYNTAX;
	}
	if (line_word(&rest, &row->class) && line_word(&rest, &more))
		return bad_form(item, why);
	if (kind_of(row->class, &row->kind))
		return 0;
	buf_add_fmt(why, "\"%.*s\" is no class of plan \"%.*s\"; expected", SLICE_FMT(row->class),
		SLICE_FMT(row->name));
	for (size_t i = 0; i < COUNT(stages); i++)
		buf_add_fmt(why, " %s,", stages[i]);
	buf_add_str(why, " a reply code as 421 or an enhanced status code as 4.7.1");
	return ERR_SYNTAX;
}

static int parse_steps(struct slice list, struct row *row, struct buf *why, struct slice *at)
{
	struct slice item;
	int err = 0;

	row->n = 0;
	while (err == 0 && line_item(&list, &item)) {
		*at = item;
		if (row->n == PLANS_STEPS) {
			buf_add_fmt(why, "plan \"%.*s\" has too many times; expected up to %d",
				SLICE_FMT(row->name), PLANS_STEPS);
			return ERR_LIMIT;
		}
		err = rate_parse_time(item, why, &row->steps[row->n++]);
	}
	if (err == 0 && row->n == 0) {
		buf_add_fmt(why, "plan \"%.*s\" has no time; expected { NAME = TIME, … }",
			SLICE_FMT(row->name));
		return ERR_SYNTAX;
	}
	return err;
}

static int parse_row(struct slice item, struct row *row, struct buf *why, struct slice *at)
{
	struct slice inside;
	ptrdiff_t equal;
	int err;

	if (item.len < 2 || item.p[0] != '{' || item.p[item.len - 1] != '}')
		return bad_form(item, why);
	inside = slice_of(item.p + 1, item.len - 2);
	equal = slice_find(inside, '=');
	if (equal < 0)
		return bad_form(item, why);
	err = parse_head(item, slice_first(inside, (size_t)equal), row, why);
	return err != 0 ? err : parse_steps(slice_from(inside, (size_t)equal + 1), row, why, at);
}

static const struct row *find(const struct plans *p, struct slice name, struct slice class)
{
	for (size_t i = 0; i < p->n; i++)
		if (slice_eq(p->rows[i]->name, name) && slice_eq(p->rows[i]->class, class))
			return p->rows[i];
	return NULL;
}

static int add(struct plans *p, const struct row *row, struct buf *why)
{
	if (p->n == PLANS_MAX) {
		buf_add_fmt(why, "too many plans; expected up to %d rows", PLANS_MAX);
		return ERR_LIMIT;
	}
	if (find(p, row->name, row->class) != NULL) {
		buf_add_fmt(why, "plan \"%.*s%s%.*s\" stands there twice; expected it once",
			SLICE_FMT(row->name), row->class.len > 0 ? " " : "", SLICE_FMT(row->class));
		return ERR_SYNTAX;
	}
	p->rows[p->n++] = mem_dup(row, sizeof(*row));
	for (unsigned i = 0; i < row->n; i++)
		if (row->steps[i] > p->longest)
			p->longest = row->steps[i];
	return 0;
}

void plans_free(struct plans **pp)
{
	struct plans *p = *pp;

	if (p == NULL)
		return;
	for (size_t i = 0; i < p->n; i++)
		mem_free(p->rows[i]);
	mem_free(p->rows);
	mem_free(p->text);
	mem_free(p);
	*pp = NULL;
}

int plans_parse(struct slice text, struct buf *why, size_t *where, struct plans **out)
{
	struct plans *p = mem_alloc(sizeof(*p));
	struct slice rest, item, at;
	struct row row;
	int err = 0;

	*where = 0;
	p->text = slice_dup(text);
	p->rows = mem_array(PLANS_MAX, sizeof(struct row *));
	rest = slice_str(p->text);
	if (!line_is_balanced(rest)) {
		buf_add_str(why, "a brace without its partner; expected { … }");
		err = ERR_SYNTAX;
	}
	while (err == 0 && line_item(&rest, &item)) {
		at = item;
		err = parse_row(item, &row, why, &at);
		if (err == 0) {
			at = item;
			err = add(p, &row, why);
		}
		*where = (size_t)(at.p - p->text);
	}
	if (err == 0)
		*where = 0;
	if (err == 0 && out != NULL)
		*out = p;
	else
		plans_free(&p);
	return err;
}

bool plans_has(const struct plans *p, struct slice name)
{
	for (size_t i = 0; i < p->n; i++)
		if (slice_eq(p->rows[i]->name, name))
			return true;
	return false;
}

int64_t plans_longest(const struct plans *p)
{
	return p->longest;
}

static bool is_about(const struct row *row, const struct plans_query *q)
{
	uint64_t code;

	switch (row->kind) {
	case PLAN_OWN: return true;
	case PLAN_STAGE: return q->stage != NULL && slice_eq_str(row->class, q->stage);
	case PLAN_CODE: return slice_u64(row->class, 0, 999, &code) == 0 && code == q->code;
	default: return slice_eq(row->class, q->status);
	}
}

bool plans_find(
	const struct plans *p, const struct plans_query *q, const int64_t **steps, unsigned *n)
{
	const struct row *best = NULL;

	*steps = NULL;
	*n = 0;
	for (size_t i = 0; i < p->n; i++) {
		const struct row *row = p->rows[i];

		if (slice_eq(row->name, q->name) && is_about(row, q) &&
			(best == NULL || row->kind > best->kind))
			best = row;
	}
	if (best == NULL)
		return false;
	*steps = best->steps;
	*n = best->n;
	return true;
}
