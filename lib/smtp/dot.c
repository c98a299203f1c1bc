/* SPDX-License-Identifier: ISC */
#include "smtp/dot.h"

void dot_encoder_init(struct dot_encoder *e, size_t line_limit)
{
	*e = (struct dot_encoder){.line_start = true, .line_limit = line_limit};
}

/*
 * How many bytes of in (which begins behind any leading dot) go out as they are: up to the next dot
 * that begins a line.
 */
static size_t plain_run(struct slice in)
{
	const char *p = in.p, *end = in.p + in.len, *dot;

	while ((dot = memchr(p, '.', (size_t)(end - p))) != NULL) {
		if (dot > in.p && dot[-1] == '\n')
			return (size_t)(dot - in.p);
		p = dot + 1;
	}
	return in.len;
}

/* The same, ending also where a line comes to its limit. */
static size_t limited_run(struct dot_encoder *e, struct slice in)
{
	const char *lf = memchr(in.p, '\n', in.len);
	size_t line = lf != NULL ? (size_t)(lf - in.p) : in.len;
	size_t text = line > 0 && in.p[line - 1] == '\r' ? line - 1 : line;
	size_t room = e->line_limit - e->line_len;

	if (text > room) {
		e->pending_break = true;
		e->line_len = 1; /* the blank that begins the continuation */
		return room;
	}
	if (lf == NULL) {
		e->line_len += text;
		return line;
	}
	e->line_len = 0;
	return line + 1;
}

bool dot_encode(struct dot_encoder *e, struct slice *in, struct slice *piece)
{
	if (in->len == 0)
		return false;
	if (e->pending_break) {
		e->pending_break = false;
		*piece = SLICE_LIT("\r\n ");
		return true;
	}
	if (e->line_start && in->p[0] == '.' && !e->pending_dot && !e->no_dots) {
		e->pending_dot = true;
		*piece = SLICE_LIT(".");
		return true;
	}
	e->pending_dot = false;
	size_t n = e->line_limit > 0 ? limited_run(e, *in) : e->no_dots ? in->len : plain_run(*in);
	*piece = slice_first(*in, n);
	*in = slice_from(*in, n);
	if (n > 0)
		e->line_start = piece->p[n - 1] == '\n';
	return n > 0 || dot_encode(e, in, piece);
}

struct slice dot_encoder_end(const struct dot_encoder *e)
{
	return e->line_start ? SLICE_LIT(".\r\n") : SLICE_LIT("\r\n.\r\n");
}
