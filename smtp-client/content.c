/* SPDX-License-Identifier: ISC */
#include "smtp-client/content.h"

#include <string.h>

#include "conf/conf.h"
#include "queue/envelope.h"
#include "server/server.h"
#include "smtp-client/convert.h"
#include "smtp-client/setting.h"
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

bool content_is_converted(const struct session *s)
{
	return (s->delivery->job->flags & QUEUE_FLAG_8BIT) != 0 &&
	       (s->ehlo.features & EHLO_8BITMIME) == 0 &&
	       !conf_bool(P_disable_mime_output_conversion);
}

void content_init(
	struct content *c, const struct session *s, bool dots, void (*wake)(void *arg), void *arg)
{
	const struct job *j = s->delivery->job;
	int64_t limit = conf_int(setting_of(P_smtp_line_length_limit));
	size_t max = limit > 0 ? (size_t)limit : 0;
	bool to_7bit = content_is_converted(s);
	*c = (struct content){.job = j, .dots = dots, .rest = buf_slice(&j->content)};
	if (to_7bit || convert_has_tables()) {
		c->convert = convert_new(j->id, to_7bit, wake, arg);
	}
	c->encode = c->convert != NULL || (dots && (j->flags & QUEUE_FLAG_DOT_LINE) != 0) ||
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
	convert_free(&c->convert);
	if (c->job != NULL && c->job->body_fd >= 0) {
		queue_body_reader_clear(&c->body);
	}
	c->job = NULL;
}

bool content_is_small(const struct content *c, size_t limit)
{
	return c->convert == NULL && c->job->body_fd < 0 && c->rest.len <= limit;
}

const char *content_why(const struct content *c, const char **status)
{
	return convert_why(c->convert, status);
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

/* One step: the next piece of what is ready. */
static struct slice take_piece(struct content *c, size_t room)
{
	struct slice piece = slice_first(c->ready, room), window = piece;
	if (c->encode) {
		if (!dot_encode(&c->encoder, &window, &piece)) {
			return SLICE_NONE;
		}
		c->ready = slice_from(c->ready, slice_first(c->ready, room).len - window.len);
	} else {
		c->ready = slice_from(c->ready, room);
	}
	note_last(c, piece);
	return piece;
}

/* More that is ready: what was kept, or what becomes of it. ERR_CLOSED: nothing is left. */
static int get_ready(struct content *c)
{
	int r = 0;
	if (c->convert == NULL) {
		r = c->rest.len > 0 || c->at_end ? 0 : refill(c);
		c->ready = c->rest;
		c->rest = SLICE_NONE;
		return r == 0 && c->ready.len == 0 ? ERR_CLOSED : r;
	}
	/* It may still hold on to a chunk that it has taken whole: another only when it asks. */
	while ((r = convert_next(c->convert, &c->rest, c->at_end, &c->ready)) == ERR_AGAIN) {
		r = refill(c);
		if (r != 0) {
			break;
		}
	}
	return r;
}

/* The next piece; ERR_CLOSED: there is none. */
static int next_piece(struct content *c, size_t room, struct slice *piece)
{
	int r = c->ready.len == 0 ? get_ready(c) : 0;
	*piece = r == 0 ? take_piece(c, room) : SLICE_NONE;
	return r;
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
