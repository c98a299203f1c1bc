/* SPDX-License-Identifier: ISC */
#include <ctype.h>

#include "conf/expand.h"
#include "util/err.h"

static int expand_at(const struct expand *e, struct slice text, struct buf *out, int depth);

static int fail(const struct expand *e, const char *text)
{
	if (e->why != NULL && e->why->len == 0)
		buf_add_str(e->why, text);
	return ERR_SYNTAX;
}

static struct slice skip_blanks(struct slice s)
{
	while (s.len != 0 && (s.p[0] == ' ' || s.p[0] == '\t'))
		s = slice_from(s, 1);
	return s;
}

/* Length of the name at the front. */
static size_t name_length(struct slice s)
{
	size_t n = 0;

	while (n < s.len && (isalnum((unsigned char)s.p[n]) || s.p[n] == '_'))
		n++;
	return n;
}

/* What stands between the bracket at the front of *s and its partner; *s goes behind it. */
static bool bracketed(struct slice *s, char opening, char closing, struct slice *inside)
{
	int depth = 0;

	for (size_t i = 0; i < s->len; i++) {
		if (s->p[i] == opening)
			depth++;
		else if (s->p[i] == closing && --depth == 0) {
			*inside = slice_of(s->p + 1, i - 1);
			*s = slice_from(*s, i + 1);
			return true;
		}
	}
	return false;
}

static bool is_number(struct slice s)
{
	if (s.len == 0)
		return false;
	for (size_t i = 0; i < s.len; i++) {
		if (!isdigit((unsigned char)s.p[i]))
			return false;
	}
	return true;
}

static int compare_numbers(struct slice a, struct slice b)
{
	while (a.len > 1 && a.p[0] == '0')
		a = slice_from(a, 1);
	while (b.len > 1 && b.p[0] == '0')
		b = slice_from(b, 1);
	if (a.len != b.len)
		return a.len < b.len ? -1 : 1;
	return slice_cmp(a, b);
}

bool expand_compare_levels(struct slice a, struct slice b, int *order)
{
	*order = 0;
	while (a.p != NULL || b.p != NULL) {
		struct slice x = SLICE_LIT("0"), y = SLICE_LIT("0");

		if (a.p != NULL)
			slice_part(&a, '.', &x);
		if (b.p != NULL)
			slice_part(&b, '.', &y);
		if (!is_number(x) || !is_number(y))
			return false;
		if (*order == 0)
			*order = compare_numbers(x, y);
	}
	return true;
}

enum relation { EQUAL, UNEQUAL, BELOW, BELOW_OR_EQUAL, ABOVE, ABOVE_OR_EQUAL, RELATIONS };

/* Longer spellings stand before their prefixes. */
static const struct {
	const char *text;
	enum relation relation;
} relations[] = {{"==", EQUAL}, {"!=", UNEQUAL}, {"<=", BELOW_OR_EQUAL}, {">=", ABOVE_OR_EQUAL},
	{"<", BELOW}, {">", ABOVE}};

static bool holds(enum relation r, int order)
{
	switch (r) {
	case EQUAL: return order == 0;
	case UNEQUAL: return order != 0;
	case BELOW: return order < 0;
	case BELOW_OR_EQUAL: return order <= 0;
	case ABOVE: return order > 0;
	default: return order >= 0;
	}
}

/* {a} OP {b} at the front of *s. */
static int compare(const struct expand *e, struct slice *s, bool *result, int depth)
{
	struct slice left, right;
	struct buf a = BUF_INIT(EXPAND_LIMIT), b = BUF_INIT(EXPAND_LIMIT);
	size_t i = 0;
	int r = 0, order = 0;
	bool level = false;

	if (!bracketed(s, '{', '}', &left))
		return fail(e, "a \"{\" without its \"}\"; expected {text}");
	*s = skip_blanks(*s);
	while (i < sizeof(relations) / sizeof(*relations) && !slice_starts(*s, relations[i].text))
		i++;
	if (i == sizeof(relations) / sizeof(*relations))
		return fail(e, "no operator; expected == != < <= >= or >");
	*s = slice_from(*s, strlen(relations[i].text));
	level = slice_starts(*s, "level");
	if (level)
		*s = slice_from(*s, strlen("level"));
	*s = skip_blanks(*s);
	if (s->len == 0 || s->p[0] != '{' || !bracketed(s, '{', '}', &right))
		return fail(e, "no right side; expected {text} behind the operator");
	r = expand_at(e, slice_trim(left), &a, depth + 1);
	if (r == 0)
		r = expand_at(e, slice_trim(right), &b, depth + 1);
	if (r == 0 && level) {
		if (!expand_compare_levels(buf_slice(&a), buf_slice(&b), &order))
			r = fail(e, "no version to compare; expected one such as 3.6");
	} else if (r == 0) {
		order = is_number(buf_slice(&a)) && is_number(buf_slice(&b))
				? compare_numbers(buf_slice(&a), buf_slice(&b))
				: slice_cmp(buf_slice(&a), buf_slice(&b));
	}
	*result = holds(relations[i].relation, order);
	buf_clear(&a);
	buf_clear(&b);
	return r;
}

/* What follows a name or comparison: "?text", ":text", "?{text}:{text}" or nothing. */
static int choose(const struct expand *e, struct slice s, bool test, const char *value,
	struct buf *out, int depth)
{
	struct slice chosen = SLICE_NONE, yes = SLICE_NONE, no = SLICE_NONE;
	char op = 0;

	s = skip_blanks(s);
	if (s.len == 0) {
		if (value == NULL)
			return fail(e, "no text behind the comparison; expected ? {text}");
		return expand_at(e, slice_str(value), out, depth + 1);
	}
	op = s.p[0];
	if (op != '?' && op != ':')
		return fail(e, "a name that is no name; expected letters, digits and _");
	yes = slice_from(s, 1);
	if (skip_blanks(yes).len != 0 && skip_blanks(yes).p[0] == '{') {
		s = skip_blanks(yes);
		if (!bracketed(&s, '{', '}', &yes))
			return fail(e, "a \"{\" without its \"}\"; expected {text}");
		s = skip_blanks(s);
		if (s.len != 0 && op == '?' && s.p[0] == ':') {
			s = skip_blanks(slice_from(s, 1));
			if (s.len == 0 || s.p[0] != '{' || !bracketed(&s, '{', '}', &no))
				return fail(e, "no text behind \":\"; expected {text}");
			s = skip_blanks(s);
			no = slice_trim(no);
		}
		if (s.len != 0)
			return fail(e, "text behind the last \"}\"; expected none");
		yes = slice_trim(yes);
	}
	chosen = (op == '?') == test ? yes : no;
	return expand_at(e, chosen, out, depth + 1);
}

static const char *find(const struct expand *e, struct slice name)
{
	if (*e->left > 0)
		(*e->left)--;
	if (e->seen != NULL)
		e->seen(e->arg, name);
	return e->lookup(e->arg, name);
}

/* What stands in ${…}. */
static int braced(const struct expand *e, struct slice s, struct buf *out, int depth)
{
	const char *value = NULL;
	bool test = false;
	size_t n = 0;
	int r = 0;

	s = skip_blanks(s);
	if (s.len != 0 && s.p[0] == '{') {
		r = compare(e, &s, &test, depth);
		return r != 0 ? r : choose(e, s, test, NULL, out, depth);
	}
	n = name_length(s);
	if (n == 0)
		return fail(e, "no name behind \"${\"; expected letters, digits and _");
	value = find(e, slice_first(s, n));
	s = slice_from(s, n);
	test = value != NULL && *value != '\0';
	return choose(e, s, test, value != NULL ? value : "", out, depth);
}

static int reference(const struct expand *e, struct slice *s, struct buf *out, int depth)
{
	struct slice inside;
	const char *value = NULL;
	size_t n = 0;
	char c = s->len != 0 ? s->p[0] : '\0';

	if (c == '$') {
		*s = slice_from(*s, 1);
		return buf_add_char(out, '$');
	}
	if (c == '{' || c == '(') {
		if (!bracketed(s, c, c == '{' ? '}' : ')', &inside))
			return fail(e, c == '{' ? "a \"${\" without its \"}\"; expected ${name}"
						: "a \"$(\" without its \")\"; expected $(name)");
		return braced(e, inside, out, depth);
	}
	n = name_length(*s);
	if (n == 0)
		return fail(
			e, "no name behind \"$\"; expected a name, or \"$$\" for the sign itself");
	value = find(e, slice_first(*s, n));
	*s = slice_from(*s, n);
	return expand_at(e, slice_str(value), out, depth + 1);
}

static int expand_at(const struct expand *e, struct slice text, struct buf *out, int depth)
{
	int r = 0;

	if (depth > EXPAND_DEPTH || *e->left == 0) {
		fail(e, "a value that leads back to itself; expected one that ends");
		return ERR_LIMIT;
	}
	while (r == 0 && text.len != 0) {
		ptrdiff_t at = slice_find(text, '$');

		r = buf_add_slice(out, slice_first(text, at < 0 ? text.len : (size_t)at));
		if (at < 0)
			break;
		text = slice_from(text, (size_t)at + 1);
		if (r == 0)
			r = reference(e, &text, out, depth);
	}
	return r;
}

int expand(const struct expand *e, struct slice text, struct buf *out)
{
	unsigned left = EXPAND_NAMES;
	struct expand counted = *e;

	counted.left = &left;
	return expand_at(&counted, text, out, 0);
}
