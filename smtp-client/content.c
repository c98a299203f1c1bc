/* SPDX-License-Identifier: ISC */
#include "smtp-client/content.h"

#include <string.h>

#include "conf/conf.h"
#include "queue/envelope.h"
#include "util/err.h"

/* Whether any line is longer than max; lines end with CRLF. */
static bool has_long_line(struct slice in, size_t max)
{
	while (in.len > max) {
		const char *lf = memrchr(in.p, '\n', max + 2 < in.len ? max + 2 : in.len);
		if (lf == NULL) {
			return true;
		}
		in = slice_from(in, (size_t)(lf - in.p) + 1);
	}
	return false;
}

void content_init(struct content *c, const struct job *j, bool dots)
{
	int64_t limit = conf_int(P_smtp_line_length_limit);
	size_t max = limit > 0 ? (size_t)limit : 0;
	*c = (struct content){.job = j, .dots = dots, .rest = buf_slice(&j->content)};
	c->encode = (dots && (j->flags & QUEUE_FLAG_DOT_LINE) != 0) ||
		    (max > 0 && (j->body_fd >= 0 || has_long_line(c->rest, max)));
	dot_encoder_init(&c->encoder, max);
	c->encoder.no_dots = !dots;
	memcpy(c->last, "\r\n", 2);
	if (j->body_fd >= 0) {
		queue_body_reader_init(&c->body, &queue_io_posix, j->body_fd, j->body_size);
	}
}

void content_clear(struct content *c)
{
	if (c->job != NULL && c->job->body_fd >= 0) {
		queue_body_reader_clear(&c->body);
	}
	c->job = NULL;
}

bool content_is_small(const struct content *c, size_t limit)
{
	return c->job->body_fd < 0 && c->rest.len <= limit;
}

/* The next chunk of the body; empty at the end. */
static int refill(struct content *c)
{
	if (c->job->body_fd < 0) {
		c->at_end = true;
		return 0;
	}
	int r = queue_body_reader_next(&c->body, &c->rest);
	c->at_end = r == 0 && c->rest.len == 0;
	return r;
}

static void note_last(struct content *c, struct slice s)
{
	if (s.len >= 2) {
		memcpy(c->last, s.p + s.len - 2, 2);
	} else if (s.len == 1) {
		c->last[0] = c->last[1];
		c->last[1] = s.p[0];
	}
}

/* One step: the next piece of rest. */
static struct slice take_piece(struct content *c, size_t room)
{
	struct slice piece = slice_first(c->rest, room), window = piece;
	if (c->encode) {
		if (!dot_encode(&c->encoder, &window, &piece)) {
			return SLICE_NONE;
		}
		c->rest = slice_from(c->rest, slice_first(c->rest, room).len - window.len);
	} else {
		c->rest = slice_from(c->rest, room);
	}
	note_last(c, piece);
	return piece;
}

/* The next piece; ERR_CLOSED: there is none. */
static int next_piece(struct content *c, size_t room, struct slice *piece)
{
	*piece = SLICE_NONE;
	if (c->rest.len == 0) {
		int r = c->at_end ? 0 : refill(c);
		if (r != 0) {
			return r;
		}
		if (c->at_end) {
			return ERR_CLOSED;
		}
	}
	*piece = take_piece(c, room);
	return 0;
}

int content_write(struct content *c, struct stream *s, size_t limit)
{
	struct slice piece;
	int r = 0;
	while (r == 0 && stream_unsent(s) < limit) {
		r = next_piece(c, limit, &piece);
		if (r == 0) {
			r = stream_write_slice(s, piece);
		}
	}
	return r;
}

int content_fill(struct content *c, struct buf *out, size_t limit)
{
	struct slice piece;
	int r = 0;
	while (r == 0 && out->len < limit) {
		r = next_piece(c, limit - out->len, &piece);
		if (r == 0) {
			r = buf_add_slice(out, piece);
		}
	}
	return r;
}

struct slice content_end(const struct content *c)
{
	bool has_end = memcmp(c->last, "\r\n", 2) == 0;
	if (!c->dots) {
		return has_end ? SLICE_NONE : SLICE_LIT("\r\n");
	}
	return has_end ? SLICE_LIT(".\r\n") : SLICE_LIT("\r\n.\r\n");
}
