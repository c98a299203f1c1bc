/* SPDX-License-Identifier: ISC */
#include "util/err.h"
#include "util/slice.h"

#include "smtp/reply.h"

#include <stdio.h>

void reply_init(struct reply *r)
{
	*r = (struct reply){0};
	buf_init(&r->line, REPLY_LINE_LIMIT);
	/* Behind the kept text there is always room for the last line. */
	buf_init(&r->text, REPLY_TEXT_LIMIT + REPLY_LINE_LIMIT + 1);
}

void reply_clear(struct reply *r)
{
	buf_clear(&r->line);
	buf_clear(&r->text);
}

void reply_reset(struct reply *r)
{
	r->code = 0;
	r->status[0] = '\0';
	r->has_status = r->truncated = r->is_pending = false;
	r->total = 0;
	buf_reset(&r->line);
	buf_reset(&r->text);
}

void reply_release(struct reply *r)
{
	reply_reset(r);
	buf_release(&r->line);
	buf_release(&r->text);
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Digits at p, at most three; moves p behind them. */
static bool status_number(const char **p, const char *end)
{
	const char *start = *p;

	while (*p < end && is_digit(**p))
		(*p)++;
	return *p - start >= 1 && *p - start <= 3;
}

size_t reply_status_len(struct slice text)
{
	const char *p = text.p, *end = p + text.len;

	if (text.len < 5 || (*p != '2' && *p != '4' && *p != '5') || p[1] != '.')
		return 0;
	p += 2;
	if (!status_number(&p, end) || p == end || *p++ != '.' || !status_number(&p, end))
		return 0;
	if (p < end && *p != ' ' && *p != '\t')
		return 0;
	return (size_t)(p - text.p);
}

static void keep_text(struct reply *r, struct slice line, bool last)
{
	if (!last && r->text.len + line.len > REPLY_TEXT_LIMIT) {
		r->truncated = true;
		return;
	}
	if (r->text.len > 0)
		(void)buf_add_char(&r->text, '\n');
	size_t from = r->text.len;
	(void)buf_add_slice(&r->text, line);

	char *p = r->text.data + r->text.start;
	for (size_t i = from; i < r->text.len; i++)
		if ((unsigned char)p[i] < ' ' || p[i] == 127)
			p[i] = '?';
}

static void keep_status(struct reply *r, struct slice text)
{
	size_t len = reply_status_len(text);

	if (len == 0 || text.p[0] - '0' != r->code / 100)
		return;
	(void)snprintf(r->status, sizeof(r->status), "%.*s", (int)len, text.p);
	r->has_status = true;
}

/* One line without its end. 0: that was the last. */
static int read_line(struct reply *r, struct slice line)
{
	bool good = line.len >= 3 && line.p[0] >= '2' && line.p[0] <= '5' && is_digit(line.p[1]) &&
		    is_digit(line.p[2]) && (line.len == 3 || line.p[3] == ' ' || line.p[3] == '-');
	bool last = !good || line.len == 3 || line.p[3] == ' ';

	keep_text(r, line, last);
	if (!good)
		return ERR_SYNTAX;
	int code = (line.p[0] - '0') * 100 + (line.p[1] - '0') * 10 + (line.p[2] - '0');
	if (code / 100 != r->code / 100)
		r->has_status = false;
	r->code = code;
	keep_status(r, slice_from(line, 4));
	if (!last)
		return ERR_AGAIN;
	if (!r->has_status)
		(void)snprintf(r->status, sizeof(r->status), "%d.0.0", code / 100);
	return 0;
}

/* The same of a line as it came. */
static int take_line(struct reply *r, struct slice line)
{
	struct buf out = BUF_INIT(REPLY_LINE_LIMIT);
	int err = ERR_NOT_FOUND;

	while (line.len > 0 && line.p[line.len - 1] == '\r')
		line.len--;
	if (r->filter != NULL)
		err = r->filter(line, &out, r->filter_arg);
	if (err == 0 || err == ERR_NOT_FOUND)
		err = read_line(r, err == 0 ? buf_slice(&out) : line);
	buf_clear(&out);
	return err;
}

/* The line that waited for the filter. */
static int take_pending(struct reply *r)
{
	int err = take_line(r, buf_slice(&r->line));

	if (err != ERR_LATER) {
		r->is_pending = false;
		buf_reset(&r->line);
	}
	return err;
}

int reply_feed(struct reply *r, struct slice in, size_t *used)
{
	*used = 0;
	if (r->is_pending) {
		int err = take_pending(r);
		if (err != ERR_AGAIN)
			return err;
	}
	while (*used < in.len) {
		struct slice rest = slice_from(in, *used);
		ptrdiff_t lf = slice_find(rest, '\n');
		struct slice line = slice_first(rest, lf < 0 ? rest.len : (size_t)lf);

		*used += line.len + (lf >= 0);
		r->total += line.len + (lf >= 0);
		if (r->total > REPLY_TOTAL_LIMIT || line.len > REPLY_LINE_LIMIT)
			return ERR_LIMIT;
		if ((lf < 0 || r->line.len > 0) && buf_add_slice(&r->line, line) != 0)
			return ERR_LIMIT;
		if (lf < 0)
			return ERR_AGAIN;
		int err = take_line(r, r->line.len > 0 ? buf_slice(&r->line) : line);
		if (err == ERR_LATER) {
			if (r->line.len == 0)
				(void)buf_add_slice(&r->line, line);
			r->is_pending = true;
			return err;
		}
		buf_reset(&r->line);
		if (err != ERR_AGAIN)
			return err;
	}
	return ERR_AGAIN;
}

bool reply_next_line(struct slice *rest, struct slice *line)
{
	if (!slice_part(rest, '\n', line))
		return false;
	*line = slice_from(*line, 4);
	return true;
}

void reply_add_text(struct buf *out, const struct reply *r)
{
	struct slice rest = buf_slice(&r->text), line;

	for (bool first = true; slice_part(&rest, '\n', &line); first = false) {
		if (!first)
			(void)buf_add_char(out, ' ');
		(void)buf_add_slice(out, line);
	}
}
