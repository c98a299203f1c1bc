/* SPDX-License-Identifier: ISC */
#include "mail/address.h"
#include "mail/header.h"

enum { TEXT_LIMIT = 2048 };

/* One element of the list on its way. Texts over the limit make the element malformed. */
struct element {
	struct buf plain, angle; /* outside and inside of < > */
	bool has_angle, in_angle;
};

struct list {
	size_t limit, n;
	bool is_odd;
	void (*add)(struct slice address, void *arg);
	void *arg;
};

static void clear(struct element *e)
{
	buf_reset(&e->plain);
	buf_reset(&e->angle);
	e->has_angle = e->in_angle = false;
}

/* The element is complete: "user@example.com" or "name <user@example.com>". */
static void take(struct element *e, struct list *l)
{
	struct buf *from = e->has_angle ? &e->angle : &e->plain, internal;
	struct slice text = slice_trim(buf_slice(from));

	buf_init(&internal, ADDRESS_LIMIT);
	if (text.len > 0 && !buf_failed(from) && l->n < l->limit &&
		address_parse(text, ADDRESS_UTF8, &internal) == 0 && internal.len > 0) {
		l->n++;
		l->add(buf_slice(&internal), l->arg);
	} else if (text.len > 0 || e->has_angle) {
		l->is_odd = true;
	}
	buf_clear(&internal);
	clear(e);
}

/* Bytes of the quoted string at the front, quotes included. */
static size_t quoted_len(struct slice s)
{
	size_t i = 1;

	while (i < s.len && s.p[i] != '"')
		i += s.p[i] == '\\' ? 2 : 1;
	return i < s.len ? i + 1 : s.len;
}

/* Bytes of the comment at the front; comments nest. */
static size_t comment_len(struct slice s)
{
	size_t depth = 0, i = 0;

	for (; i < s.len; i++) {
		if (s.p[i] == '\\')
			i++;
		else if (s.p[i] == '(')
			depth++;
		else if (s.p[i] == ')' && --depth == 0)
			return i + 1;
	}
	return s.len;
}

static void mark(struct element *e, struct list *l, char c)
{
	switch (c) {
	case '<':
		l->is_odd = l->is_odd || e->has_angle;
		e->has_angle = e->in_angle = true;
		buf_reset(&e->angle);
		break;
	case '>': e->in_angle = false; break;
	case ',': take(e, l); break;
	case ';': take(e, l); break;
	default: /* ':' behind the name of a group */
		l->is_odd = true;
		clear(e);
		break;
	}
}

/* "@a,@b:user@c" inside of < >: the route is not wanted, its commas end nothing. */
static bool is_mark(const struct element *e, char c)
{
	if (e->in_angle)
		return c == '>' || (c == ':' && e->angle.len > 0 && buf_str(&e->angle)[0] == '@');
	return c == '<' || c == ',' || c == ';' || c == ':';
}

size_t header_addresses(
	struct slice value, size_t limit, void (*add)(struct slice address, void *arg), void *arg)
{
	bool is_odd;

	return header_addresses_all(value, limit, add, arg, &is_odd);
}

size_t header_addresses_all(struct slice value, size_t limit,
	void (*add)(struct slice address, void *arg), void *arg, bool *is_odd)
{
	struct element e = {.plain = BUF_INIT(TEXT_LIMIT), .angle = BUF_INIT(TEXT_LIMIT)};
	struct list l = {.limit = limit, .add = add, .arg = arg};

	while (value.len > 0 && l.n < limit) {
		struct buf *to = e.in_angle ? &e.angle : &e.plain;
		size_t used = 1;
		char c = value.p[0];

		if (c == '"') {
			used = quoted_len(value);
			buf_add_slice(to, slice_first(value, used));
		} else if (c == '(')
			used = comment_len(value);
		else if (c == ':' && e.in_angle && is_mark(&e, c))
			buf_reset(&e.angle);
		else if (is_mark(&e, c))
			mark(&e, &l, c);
		else if (c != ' ' && c != '\t' && c != '\r' && c != '\n')
			buf_add_char(to, c);
		value = slice_from(value, used);
	}
	take(&e, &l);
	*is_odd = l.is_odd || slice_trim(value).len > 0 || e.in_angle;
	buf_clear(&e.plain);
	buf_clear(&e.angle);
	return l.n;
}
