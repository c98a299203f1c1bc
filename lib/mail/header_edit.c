/* SPDX-License-Identifier: ISC */
#include "mail/address.h"
#include "mail/header.h"

enum { TEXT_LIMIT = 2048 };

/* A walk over a value; [0, copied) has gone to out. */
struct edit {
	struct slice value;
	size_t copied, n;
	header_edit_fn change;
	void *arg;
	struct buf *out;
};

/* One element of the list: behind it stands a mark that ends it. */
struct extent {
	size_t start, end;
	size_t open, close; /* of what is inside of < >; 0: nothing */
};

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Stands between two words of one address. */
static bool is_joint(char c)
{
	return c == '.' || c == '@' || c == '%' || c == '!';
}

/* Bytes of what is taken whole at the front: a quoted string, a comment, a literal, a byte. */
static size_t unit_len(struct slice s)
{
	char ends = s.p[0] == '"' ? '"' : s.p[0] == '(' ? ')' : s.p[0] == '[' ? ']' : '\0';
	size_t depth = 0, i;

	if (ends == '\0')
		return s.p[0] == '\\' && s.len > 1 ? 2 : 1;
	for (i = 0; i < s.len; i++) {
		if (s.p[i] == '\\')
			i++;
		else if (i > 0 && s.p[i] == ends && (ends != ')' || --depth == 0))
			return i + 1;
		else if (ends == ')' && s.p[i] == '(')
			depth++;
	}
	return s.len;
}

/* From at to the next ',' or ';' that is no part of something else; the name of a group is left
 * behind. */
static struct extent next_extent(struct slice value, size_t at)
{
	struct extent e = {.start = at};
	bool inside = false;

	while (at < value.len) {
		char c = value.p[at];

		if (!inside && (c == ',' || c == ';'))
			break;
		if (!inside && c == ':')
			e = (struct extent){.start = at + 1};
		else if (c == '<') {
			inside = true;
			e.open = at + 1;
		} else if (inside && c == '>') {
			inside = false;
			e.close = at;
		}
		at += unit_len(slice_from(value, at));
	}
	e.end = at < value.len ? at : value.len;
	return e;
}

/* The address in [start, end), comments and blanks left out: whether it is another now. */
static bool change(struct edit *e, size_t start, size_t end, struct buf *to)
{
	struct buf text = BUF_INIT(TEXT_LIMIT), from = BUF_INIT(ADDRESS_LIMIT);
	bool is_changed = false;

	for (size_t i = start, used; i < end; i += used) {
		struct slice rest = slice_first(slice_from(e->value, i), end - i);

		used = unit_len(rest);
		if (rest.p[0] != '(' && !is_space(rest.p[0]))
			(void)buf_add_slice(&text, slice_first(rest, used));
	}
	if (!buf_failed(&text) && text.len > 0 && buf_str(&text)[0] != '@' &&
		address_parse(buf_slice(&text), ADDRESS_UTF8, &from) == 0 && from.len > 0)
		is_changed = e->change(buf_slice(&from), to, e->arg) ||
			     slice_ends(buf_slice(&text), ".");
	buf_clear(&text);
	buf_clear(&from);
	return is_changed;
}

static void replace(struct edit *e, size_t start, size_t end, struct buf *by)
{
	(void)buf_add_slice(
		e->out, slice_first(slice_from(e->value, e->copied), start - e->copied));
	address_add_external(e->out, buf_slice(by));
	e->copied = end;
	e->n++;
}

/* Where the words of one address end: before a word that nothing joins to the one before it. */
static size_t words_end(struct slice value, size_t at, size_t end)
{
	size_t last = at;
	bool joined = true, blank = false;

	while (at < end) {
		size_t used = unit_len(slice_from(value, at));
		char c = value.p[at];

		if (is_space(c) || c == '(') {
			blank = true;
		} else {
			if (blank && !joined && !is_joint(c))
				break;
			joined = is_joint(c);
			blank = false;
			last = at + used;
		}
		at += used;
	}
	return last < end ? last : end;
}

static size_t skip_blanks(struct slice value, size_t at, size_t end)
{
	while (at < end && (is_space(value.p[at]) || value.p[at] == '('))
		at += unit_len(slice_from(value, at));
	return at < end ? at : end;
}

/* Words without < >: one address, or several where somebody forgot the commas. */
static void edit_words(struct edit *e, struct extent x)
{
	struct buf to = BUF_INIT(ADDRESS_LIMIT);
	size_t at = skip_blanks(e->value, x.start, x.end);

	while (at < x.end) {
		size_t end = words_end(e->value, at, x.end);
		size_t next = skip_blanks(e->value, end, x.end);

		if (change(e, at, end, &to)) {
			replace(e, at, end, &to);
			if (next < x.end)
				(void)buf_add_char(e->out, ',');
		}
		at = next > at ? next : x.end;
	}
	buf_clear(&to);
}

static void edit_angle(struct edit *e, struct extent x)
{
	struct buf to = BUF_INIT(ADDRESS_LIMIT);

	if (change(e, x.open, x.close, &to))
		replace(e, x.open, x.close, &to);
	buf_clear(&to);
}

size_t header_edit_addresses(struct slice value, header_edit_fn fn, void *arg, struct buf *out)
{
	struct edit e = {.value = value, .change = fn, .arg = arg, .out = out};

	for (size_t at = 0; at < value.len;) {
		struct extent x = next_extent(value, at);

		if (x.close > x.open)
			edit_angle(&e, x);
		else if (x.open == 0)
			edit_words(&e, x);
		at = x.end + 1;
	}
	if (e.n > 0)
		(void)buf_add_slice(out, slice_from(value, e.copied));
	return e.n;
}
