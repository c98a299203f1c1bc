/* SPDX-License-Identifier: ISC */
#include <stdarg.h>
#include <stdio.h>

#include "map/text.h"
#include "util/err.h"

void text_init(struct text *t, const char *file, struct slice source, struct buf *why)
{
	*t = (struct text){.file = file, .rest = source, .why = why};
	buf_init(&t->logical, TEXT_LINE_LIMIT);
}

void text_clear(struct text *t)
{
	buf_clear(&t->logical);
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\f' || c == '\v';
}

/* A physical line without its end; *skip for comments and empty lines. */
static bool next_physical(struct text *t, struct slice *line, bool *skip)
{
	if (t->rest.len == 0)
		return false;
	ptrdiff_t end = slice_find(t->rest, '\n');
	*line = end < 0 ? t->rest : slice_first(t->rest, (size_t)end);
	t->rest = end < 0 ? SLICE_NONE : slice_from(t->rest, (size_t)end + 1);
	t->line++;
	struct slice body = slice_trim(*line);
	*skip = body.len == 0 || body.p[0] == '#';
	return true;
}

static bool begins_continuation(const struct text *t)
{
	return t->rest.len > 0 &&
	       (is_blank(t->rest.p[0]) || t->rest.p[0] == '\n' || t->rest.p[0] == '#');
}

/* Adds what continues the line that was begun; comments between the parts do not end it. */
static void gather(struct text *t)
{
	while (begins_continuation(t)) {
		struct slice line;
		bool skip;
		if (!next_physical(t, &line, &skip))
			return;
		if (!skip)
			buf_add_slice(&t->logical, line);
	}
}

static bool is_acceptable(struct text *t, struct slice logical, unsigned line)
{
	if (buf_failed(&t->logical)) {
		text_mistake(t, line, "line too long; expected at most %d bytes", TEXT_LINE_LIMIT);
		return false;
	}
	if (slice_find(logical, '\0') >= 0) {
		text_mistake(t, line, "NUL byte; expected text");
		return false;
	}
	if (is_blank(logical.p[0])) {
		text_mistake(
			t, line, "line begins with a blank, but continues nothing; expected a key");
		return false;
	}
	return true;
}

bool text_next(struct text *t, struct slice *logical, unsigned *line)
{
	struct slice first;
	bool skip;
	while (next_physical(t, &first, &skip)) {
		if (skip)
			continue;
		*line = t->line;
		buf_reset(&t->logical);
		buf_add_slice(&t->logical, first);
		gather(t);
		*logical = buf_slice(&t->logical);
		while (logical->len > 0 && is_blank(logical->p[logical->len - 1]))
			logical->len--;
		if (is_acceptable(t, *logical, *line))
			return true;
	}
	return false;
}

void text_mistake(struct text *t, unsigned line, const char *fmt, ...)
{
	if (++t->mistakes > TEXT_MISTAKE_LIMIT && t->report == NULL)
		return;
	char what[512];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	if (t->report != NULL) {
		t->report(t, line, what);
		return;
	}
	if (t->why->len > 0)
		buf_add_char(t->why, '\n');
	buf_add_fmt(t->why, "%s:%u: %s", t->file, line, what);
}

int text_result(const struct text *t)
{
	if (t->mistakes > TEXT_MISTAKE_LIMIT && t->report == NULL)
		buf_add_fmt(t->why, "\n%s: %u more mistakes", t->file,
			t->mistakes - TEXT_MISTAKE_LIMIT);
	return t->mistakes > 0 ? ERR_SYNTAX : 0;
}

void text_split(struct slice line, struct slice *word, struct slice *rest)
{
	size_t n = 0;
	while (n < line.len && !is_blank(line.p[n]))
		n++;
	*word = slice_first(line, n);
	*rest = slice_trim(slice_from(line, n));
}
