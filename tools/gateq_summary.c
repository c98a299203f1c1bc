/* SPDX-License-Identifier: ISC */
#include "tools/gateq_summary.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include "tools/json.h"
#include "util/dict.h"
#include "util/log.h"
#include "util/mem.h"

enum { REASON_MAX = 300, AGES = 10, FIRST_AGE = 5 };

struct row {
	char *name; /* owned */
	uint64_t order;
	uint64_t messages, recipients, bytes, active, deferred, hold;
	int64_t oldest, newest, next;
	uint64_t last; /* number of the last message that counted */
};

struct gateq_summary {
	enum gateq_by by;
	const struct gateq_filter *filter;
	int64_t now;
	struct dict *rows; /* name → row, owned */
	struct row total, others;
	uint64_t messages;
};

static const char *const names[] = {"destination", "site", "reason", "age", "sender"};

int gateq_summary_by(const char *name)
{
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(names[i], name) == 0)
			return (int)i;
	return -1;
}

static void row_free(void *p)
{
	struct row *r = p;

	mem_free(r->name);
	mem_free(r);
}

struct gateq_summary *gateq_summary_new(
	enum gateq_by by, const struct gateq_filter *filter, int64_t now)
{
	struct gateq_summary *s = mem_alloc(sizeof(*s));

	s->by = by;
	s->filter = filter;
	s->now = now;
	s->rows = dict_new(GATEQ_ROWS, row_free);
	s->total.name = mem_str("TOTAL");
	s->others.name = mem_str("(others)");
	return s;
}

void gateq_summary_free(struct gateq_summary **sp)
{
	struct gateq_summary *s = *sp;

	*sp = NULL;
	if (s == NULL)
		return;
	dict_free(&s->rows);
	mem_free(s->total.name);
	mem_free(s->others.name);
	mem_free(s);
}

/* ---- Reasons. ---- */

/* "450", "4.2.1", "25" stay. */
static bool is_code(struct slice w)
{
	if (w.len > 8)
		return false;
	for (size_t i = 0; i < w.len; i++)
		if (!isdigit((unsigned char)w.p[i]) && w.p[i] != '.')
			return false;
	return slice_find(w, '.') >= 0 || w.len <= 3;
}

static bool has_digit(struct slice w)
{
	for (size_t i = 0; i < w.len; i++)
		if (isdigit((unsigned char)w.p[i]))
			return true;
	return false;
}

static void add_word(struct buf *out, struct slice w)
{
	if (slice_find(w, '@') >= 0 || (has_digit(w) && !is_code(w)))
		(void)buf_add_char(out, '*');
	else
		(void)buf_add_slice(out, w);
}

/* Words and what stands between them; what brackets hold is one word. */
static void add_text(struct buf *out, struct slice text)
{
	static const char between[] = " \t,;:()\"'=";

	while (text.len > 0 && out->len < REASON_MAX) {
		size_t n = 0;

		if (text.p[0] == '<' || text.p[0] == '[') {
			ptrdiff_t end = slice_find(text, text.p[0] == '<' ? '>' : ']');

			if (end > 0) {
				(void)buf_add_fmt(out, "%c*%c", text.p[0], text.p[end]);
				text = slice_from(text, (size_t)end + 1);
				continue;
			}
		}
		while (n < text.len && strchr(between, text.p[n]) == NULL && text.p[n] != '\0' &&
			(n == 0 || (text.p[n] != '<' && text.p[n] != '[')))
			n++;
		if (n > 0)
			add_word(out, slice_first(text, n));
		else
			(void)buf_add_char(out, text.p[n++]);
		text = slice_from(text, n);
	}
}

/* The text behind the host that it begins with, when it begins so: "connect to H[A]:25: X". */
static struct slice behind_host(struct slice text, const char *begin)
{
	struct slice rest = slice_from(text, strlen(begin));
	ptrdiff_t end;

	if (!slice_starts(text, begin))
		return SLICE_NONE;
	end = slice_find(rest, ']');
	if (end < 0)
		return SLICE_NONE;
	rest = slice_from(rest, (size_t)end + 1);
	if (rest.len > 1 && rest.p[0] == ':' && isdigit((unsigned char)rest.p[1])) {
		rest = slice_from(rest, 1);
		while (rest.len > 0 && isdigit((unsigned char)rest.p[0]))
			rest = slice_from(rest, 1);
	}
	return rest;
}

void gateq_reason(struct buf *out, struct slice reason)
{
	static const struct {
		const char *begin, *kept;
	} forms[] = {{"connect to ", "connect"}, {"host ", ""},
		{"lost connection with ", "lost connection"},
		{"conversation with ", "conversation"},
		{"Cannot start TLS: handshake failure with ",
			"Cannot start TLS: handshake failure"}};

	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		struct slice rest = behind_host(reason, forms[i].begin);

		if (rest.p == NULL)
			continue;
		(void)buf_add_str(out, forms[i].kept);
		add_text(out, forms[i].kept[0] == '\0' ? slice_trim(rest) : rest);
		return;
	}
	add_text(out, reason);
}

/* ---- Counting. ---- */

static void count(struct row *r, const struct gateq_message *m, uint64_t number)
{
	r->recipients++;
	if (r->last == number)
		return;
	r->last = number;
	r->messages++;
	r->bytes += m->size;
	r->active += strcmp(m->queue, "active") == 0;
	r->deferred += strcmp(m->queue, "deferred") == 0;
	r->hold += strcmp(m->queue, "hold") == 0;
	if (r->oldest == 0 || m->arrival < r->oldest)
		r->oldest = m->arrival;
	if (m->arrival > r->newest)
		r->newest = m->arrival;
	if (m->next != 0 && (r->next == 0 || m->next < r->next))
		r->next = m->next;
}

static struct row *find_row(struct gateq_summary *s, struct slice name, uint64_t order)
{
	struct row *r = dict_get(s->rows, name);

	if (r != NULL)
		return r;
	r = mem_alloc(sizeof(*r));
	r->name = slice_dup(name);
	r->order = order;
	if (dict_set(s->rows, name, r) == 0)
		return r;
	row_free(r);
	return &s->others;
}

/* Ages double from five minutes on, as qshape's. */
static uint64_t name_age(struct buf *name, int64_t age)
{
	int64_t minutes = age / (60 * CLOCK_SEC), limit = FIRST_AGE;
	uint64_t n = 1;

	for (; n < AGES && minutes >= limit; n++)
		limit *= 2;
	if (n == AGES && minutes >= limit / 2)
		(void)buf_add_fmt(name, ">= %lldm", (long long)limit / 2);
	else
		(void)buf_add_fmt(name, "< %lldm", (long long)limit);
	return n;
}

static uint64_t name_row(const struct gateq_summary *s, const struct gateq_message *m,
	const struct gateq_rcpt *to, struct buf *name)
{
	const char *hop = to->nexthop[0] != '\0' ? to->nexthop : gateq_domain(to->address);

	switch (s->by) {
	case GATEQ_DESTINATION: (void)buf_add_fmt(name, "%s:%s", to->transport, hop); return 0;
	case GATEQ_SITE: (void)buf_add_str(name, to->site[0] != '\0' ? to->site : hop); return 0;
	case GATEQ_REASON:
		gateq_reason(name, slice_str(to->reason));
		if (name->len == 0)
			(void)buf_add_str(name, "(not tried yet)");
		return 0;
	case GATEQ_AGE: return name_age(name, s->now - m->arrival);
	default: (void)buf_add_str(name, m->sender[0] != '\0' ? m->sender : "<>"); return 0;
	}
}

void gateq_summary_add(struct gateq_summary *s, const struct gateq_message *m)
{
	struct buf name = BUF_INIT(8192), lower = BUF_INIT(8192);
	const struct gateq_filter *f = s->filter;

	if (!gateq_filter_message(f, m))
		return;
	s->messages++;
	for (size_t i = 0; i < m->count; i++) {
		uint64_t order;

		if (!gateq_filter_rcpt(f, &m->rcpts[i]))
			continue;
		buf_reset(&name);
		order = name_row(s, m, &m->rcpts[i], &name);
		buf_reset(&lower);
		if (s->by == GATEQ_REASON)
			(void)buf_add_slice(&lower, buf_slice(&name));
		else
			(void)buf_add_lower(&lower, buf_slice(&name));
		count(find_row(s, buf_slice(&lower), order), m, s->messages);
		count(&s->total, m, s->messages);
	}
	buf_clear(&name);
	buf_clear(&lower);
}

/* ---- Printing. ---- */

static void print_json(const struct gateq_summary *s, const struct row *r)
{
	printf("{");
	json_member(names[s->by], slice_str(r->name), true);
	json_number("messages", r->messages, false);
	json_number("recipients", r->recipients, false);
	json_number("bytes", r->bytes, false);
	json_number("active", r->active, false);
	json_number("deferred", r->deferred, false);
	json_number("hold", r->hold, false);
	json_number("oldest", (uint64_t)(r->oldest / CLOCK_SEC), false);
	json_number("newest", (uint64_t)(r->newest / CLOCK_SEC), false);
	if (r->next != 0)
		json_number("next_attempt", (uint64_t)(r->next / CLOCK_SEC), false);
	printf("}\n");
}

/* "4d03h", "3h20m", "17m", "12s". */
static void add_span(struct buf *out, int64_t span)
{
	long long s = span > 0 ? span / CLOCK_SEC : 0;

	if (s >= 86400)
		(void)buf_add_fmt(out, "%lldd%02lldh", s / 86400, s / 3600 % 24);
	else if (s >= 3600)
		(void)buf_add_fmt(out, "%lldh%02lldm", s / 3600, s / 60 % 60);
	else if (s >= 60)
		(void)buf_add_fmt(out, "%lldm", s / 60);
	else
		(void)buf_add_fmt(out, "%llds", s);
}

static void print_row(const struct gateq_summary *s, const struct row *r)
{
	struct buf age = BUF_INIT(64), next = BUF_INIT(64), name = BUF_INIT(8192);

	if (r->oldest != 0)
		add_span(&age, s->now - r->oldest);
	if (r->next != 0)
		add_span(&next, r->next - s->now);
	log_quote(&name, slice_str(r->name), 1000);
	printf("%8llu %10llu %8llu %8llu %6llu %7s %7s  %s\n", (unsigned long long)r->messages,
		(unsigned long long)r->recipients, (unsigned long long)r->active,
		(unsigned long long)r->deferred, (unsigned long long)r->hold,
		r->oldest != 0 ? buf_str(&age) : "-", r->next != 0 ? buf_str(&next) : "-",
		buf_str(&name));
	buf_clear(&age);
	buf_clear(&next);
	buf_clear(&name);
}

struct list {
	struct row **rows;
	size_t n;
};

static bool add_row(struct slice key, void *value, void *arg)
{
	struct list *l = arg;

	(void)key;
	l->rows[l->n++] = value;
	return true;
}

static int compare(const void *a, const void *b)
{
	const struct row *x = *(struct row *const *)a, *y = *(struct row *const *)b;

	if (x->order != y->order)
		return x->order < y->order ? -1 : 1;
	if (x->order == 0 && x->recipients != y->recipients)
		return x->recipients > y->recipients ? -1 : 1;
	return strcmp(x->name, y->name);
}

void gateq_summary_print(struct gateq_summary *s, bool json, size_t rows)
{
	struct list all = {0};

	all.rows = mem_array(dict_count(s->rows) + 1, sizeof(*all.rows));
	dict_walk(s->rows, add_row, &all);
	qsort(all.rows, all.n, sizeof(*all.rows), compare);
	if (s->others.messages > 0)
		all.rows[all.n++] = &s->others;
	if (!json) {
		printf("%8s %10s %8s %8s %6s %7s %7s  %s\n", "messages", "recipients", "active",
			"deferred", "hold", "oldest", "next", names[s->by]);
		print_row(s, &s->total);
	}
	for (size_t i = 0; i < all.n && (rows == 0 || i < rows); i++) {
		if (json)
			print_json(s, all.rows[i]);
		else
			print_row(s, all.rows[i]);
	}
	mem_free(all.rows);
}
