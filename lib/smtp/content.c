/* SPDX-License-Identifier: ISC */
#include "smtp/content.h"

/*
 *   state      means                          next byte
 *   LINE       at the start of a line         '.' of DATA: DOT; else as TEXT
 *   DOT        a stuffed dot was dropped      CR: DOT_CR; LF: a bare LF ends the line; else TEXT
 *   DOT_CR     dot and CR at a line's start   LF: the end if the line before ended in CRLF, else a
 *                                             line end; else the CR was stray: TEXT
 *   TEXT       inside a line                  CR: TEXT_CR; LF: a bare LF ends the line
 *   TEXT_CR    a CR is held back              LF: line end; else the CR was stray: TEXT
 */
enum { LINE, DOT, DOT_CR, TEXT, TEXT_CR };

void content_init(struct content_decoder *d, int flags)
{
	*d = (struct content_decoder){.flags = flags, .state = LINE, .standard = true};
}

static bool is_data(const struct content_decoder *d)
{
	return (d->flags & CONTENT_SMTP_DATA) != 0;
}

static void skip(struct slice *in, size_t n)
{
	*in = slice_from(*in, n);
}

static void count_line(struct content_decoder *d, size_t len)
{
	if (d->line_len + len > CONTENT_LINE_LIMIT)
		d->seen |= CONTENT_LONG_LINE;
}

/* A line ends; standard says whether by CRLF. */
static void end_line(struct content_decoder *d, bool standard)
{
	d->pending = SLICE_LIT("\r\n");
	d->standard = standard;
	d->state = LINE;
	d->line_len = 0;
	if (!standard)
		d->seen |= CONTENT_BARE_LF;
}

static void stray_cr(struct content_decoder *d)
{
	d->pending = (d->flags & CONTENT_KEEP_CR) != 0 ? SLICE_LIT("\r") : SLICE_LIT(" ");
	d->seen |= CONTENT_STRAY_CR;
	d->state = TEXT;
	d->line_len++;
}

/*
 * The longest front of in that is kept as it is. It begins inside a line or at the start of one
 * that needs no change; in is not empty. What follows it is left for the next step, but for a
 * held-back CR and a bare LF, which are taken here.
 */
static struct slice plain_run(struct content_decoder *d, struct slice *in)
{
	const char *start = in->p, *p = in->p, *end = in->p + in->len;

	d->state = TEXT;
	for (;;) {
		const char *lf = memchr(p, '\n', (size_t)(end - p));
		const char *stop = lf != NULL ? lf : end;
		const char *cr = memchr(p, '\r', (size_t)(stop - p));

		count_line(d, (size_t)((cr != NULL ? cr : stop) - p));
		if (cr != NULL && cr + 1 != lf) {
			d->line_len += (size_t)(cr - p);
			d->state = TEXT_CR;
			skip(in, (size_t)(cr + 1 - start));
			return slice_of(start, (size_t)(cr - start));
		}
		if (lf == NULL) {
			d->line_len += (size_t)(end - p);
			skip(in, in->len);
			return slice_of(start, (size_t)(end - start));
		}
		if (cr == NULL) {
			end_line(d, false);
			skip(in, (size_t)(lf + 1 - start));
			return slice_of(start, (size_t)(lf - start));
		}
		p = lf + 1;
		d->line_len = 0;
		if (p == end || (*p == '.' && is_data(d))) {
			d->state = LINE;
			d->standard = true;
			skip(in, (size_t)(p - start));
			return slice_of(start, (size_t)(p - start));
		}
		if (*p == '.')
			d->seen |= CONTENT_DOT_LINE;
	}
}

/* One pass that compilers turn into wide instructions. */
static void look_at_bytes(struct content_decoder *d, struct slice s)
{
	unsigned char all = 0;

	d->size += s.len;
	if ((d->seen & CONTENT_8BIT) == 0) {
		for (size_t i = 0; i < s.len; i++)
			all |= (unsigned char)s.p[i];
		if (all > 127)
			d->seen |= CONTENT_8BIT;
	}
	if ((d->seen & CONTENT_NUL) == 0 && memchr(s.p, '\0', s.len) != NULL)
		d->seen |= CONTENT_NUL;
}

/* The byte behind a dot that begins a line of DATA; the dot itself is dropped. */
static enum content_event after_dot(struct content_decoder *d, struct slice *in)
{
	char c = in->p[0];

	if (d->state == DOT_CR) {
		if (c != '\n') {
			stray_cr(d);
			return CONTENT_MORE;
		}
		skip(in, 1);
		if (d->standard)
			return CONTENT_END;
		end_line(d, true);
		return CONTENT_MORE;
	}
	if (c == '\r') {
		skip(in, 1);
		d->state = DOT_CR;
	} else if (c == '\n') {
		skip(in, 1);
		end_line(d, false);
	} else {
		if (c == '.')
			d->seen |= CONTENT_DOT_LINE;
		d->state = TEXT;
	}
	return CONTENT_MORE;
}

/* One step: takes something off in, or gives something out, or changes the state. */
static enum content_event step(struct content_decoder *d, struct slice *in, struct slice *piece)
{
	switch (d->state) {
	case DOT:
	case DOT_CR: return after_dot(d, in);
	case TEXT_CR:
		if (in->p[0] == '\n') {
			skip(in, 1);
			end_line(d, true);
		} else {
			stray_cr(d);
		}
		return CONTENT_MORE;
	case LINE:
		if (in->p[0] == '.' && is_data(d)) {
			skip(in, 1);
			d->state = DOT;
			return CONTENT_MORE;
		}
		if (in->p[0] == '.')
			d->seen |= CONTENT_DOT_LINE;
		__attribute__((fallthrough));
	default: *piece = plain_run(d, in);
	}
	return piece->len > 0 ? CONTENT_PIECE : CONTENT_MORE;
}

enum content_event content_decode(struct content_decoder *d, struct slice *in, struct slice *piece)
{
	enum content_event event = CONTENT_MORE;

	*piece = SLICE_NONE;
	do {
		if (d->pending.len > 0) {
			*piece = d->pending;
			d->pending = SLICE_NONE;
			event = CONTENT_PIECE;
		} else if (in->len > 0) {
			event = step(d, in, piece);
		} else {
			return CONTENT_MORE;
		}
	} while (event == CONTENT_MORE);
	if (event == CONTENT_PIECE)
		look_at_bytes(d, *piece);
	return event;
}

struct slice content_finish(struct content_decoder *d)
{
	struct slice rest = SLICE_NONE;

	if (d->state == TEXT_CR) {
		d->seen |= CONTENT_STRAY_CR;
		rest = (d->flags & CONTENT_KEEP_CR) != 0 ? SLICE_LIT("\r\r\n") : SLICE_LIT(" \r\n");
	} else if (d->state == TEXT) {
		rest = SLICE_LIT("\r\n");
	}
	d->state = LINE;
	d->size += rest.len;
	return rest;
}
