/* SPDX-License-Identifier: ISC */
#include "smtp-client/body.h"

#include "conf/conf.h"
#include "smtp-client/setting.h"
#include "util/err.h"
#include "util/log.h"

enum {
	CHUNK = 64 * 1024,    /* of content, gathered before it goes to the kernel */
	CHUNK_SLACK = 4096,   /* a piece more, and the line end that content may lack */
	TURN = 4,             /* chunks of one message, then others have their turn */
	OPEN_CHUNKS_MAX = 64, /* without a reply */
	DOT_RETRY = 2000      /* microseconds */
};

TAILQ_HEAD(xact_list, xact);
static struct xact_list dots = TAILQ_HEAD_INITIALIZER(dots);
static struct loop_task dot_task;
static struct loop_timer dot_timer;

static void send_dots(void *arg);
static void pump(void *arg);
static void pump_chunks(struct xact *x);

void body_clear(struct xact *x)
{
	if (x->dotting) {
		TAILQ_REMOVE(&dots, x, dots);
	}
	content_clear(&x->content);
	buf_clear(&x->chunk);
	loop_timer_clear(&x->again);
}

int64_t body_deadline(struct session *s)
{
	struct xact *x = s->xact;
	int64_t part = session_deadline(P_smtp_data_xfer_timeout);
	if (!conf_bool(setting_of(P_smtp_per_request_deadline))) {
		return part;
	}
	/* All of it, moved on as parts leave, never farther than the time for a part. */
	int64_t rate = conf_int(setting_of(P_smtp_min_data_rate));
	if (x->content_until == 0) {
		x->content_until = part;
	} else if (stream_unsent(s->stream) == 0) {
		x->content_until += (int64_t)x->part * CLOCK_SEC / rate;
		x->part = 0;
	}
	x->content_until = x->content_until < part ? x->content_until : part;
	return x->content_until;
}

/* Puts gathered output into the kernel; false: the session is gone by that. */
static bool flush(struct session *s)
{
	bool gone = false;
	bool *outer = s->gone;
	s->gone = &gone;
	stream_flush(s->stream);
	if (gone) {
		if (outer != NULL) {
			*outer = true;
		}
		return false;
	}
	s->gone = outer;
	return true;
}

/* A part of content. False: body_drained goes on, or the session is gone. */
static bool push(struct session *s)
{
	s->xact->part = stream_unsent(s->stream);
	if (!flush(s)) {
		return false;
	}
	xact_set_deadline(s);
	return stream_unsent(s->stream) == 0;
}

/* ---- The dot, or the last chunk. ---- */

/* The dot frame first; when it is with the kernel, content's last part and the dot follow. */
static void want_dot(struct xact *x)
{
	job_dot(x->session->delivery->job);
	x->sending = false;
	x->dotting = true;
	TAILQ_INSERT_TAIL(&dots, x, dots);
	if (dot_task.run == NULL) {
		loop_task_init(&dot_task, send_dots, NULL);
		loop_timer_init(&dot_timer, send_dots, NULL);
	}
	loop_soon(&dot_task);
}

static void write_chunk(struct xact *x, bool last)
{
	struct stream *out = x->session->stream;
	log_debug("> %s: BDAT %zu%s", x->session->relay, x->chunk.len, last ? " LAST" : "");
	(void)stream_printf(out, "BDAT %zu%s\r\n", x->chunk.len, last ? " LAST" : "");
	(void)stream_write_slice(out, buf_slice(&x->chunk));
	buf_reset(&x->chunk);
}

static int write_end(struct xact *x)
{
	struct session *s = x->session;
	if (x->chunking) {
		write_chunk(x, true);
		return 0;
	}
	if (x->with_content && content_write(&x->content, s->stream, CHUNK * 2) != ERR_CLOSED) {
		return ERR_LIMIT;
	}
	return stream_write_slice(s->stream, content_end(&x->content));
}

static void send_dot(struct xact *x)
{
	struct session *s = x->session;
	x->dotting = false;
	int r = write_end(x);
	if (r != 0) {
		xact_break_off(s, r);
		return;
	}
	x->dot_sent = true;
	x->sent++;
	xact_set_deadline(s);
}

static void send_dots(void *arg)
{
	struct xact *x;
	if (!job_flush_dots()) {
		/* qmgr does not read now; nobody may get a dot that it does not know of. */
		loop_timer_set(&dot_timer, loop_now() + DOT_RETRY);
		return;
	}
	while ((x = TAILQ_FIRST(&dots)) != NULL) {
		TAILQ_REMOVE(&dots, x, dots);
		send_dot(x);
	}
}

/* ---- DATA. ---- */

/* A PIX that takes the dot for a part of the text lets it pass alone, some time later. */
static void rest_before_dot(struct xact *x)
{
	struct session *s = x->session;
	x->sending = false;
	x->rested = true;
	if (flush(s)) {
		loop_timer_set(&x->again, session_deadline(P_smtp_pix_workaround_delay_time));
	}
}

static void pump(void *arg)
{
	struct xact *x = arg;
	struct session *s = x->session;
	if (x->aborted || x->dotting || x->dot_sent) {
		return;
	}
	if (x->chunking) {
		pump_chunks(x);
		return;
	}
	for (int turn = 0; turn < TURN; turn++) {
		int r = content_write(&x->content, s->stream, CHUNK);
		if (r == ERR_CLOSED && s->slow_dot && !x->rested) {
			rest_before_dot(x);
			return;
		}
		if (r == ERR_CLOSED) {
			want_dot(x);
			return;
		}
		if (r == ERR_LATER) {
			xact_set_deadline(s);
			return; /* content wakes pump */
		}
		if (r != 0) {
			xact_break_off(s, r);
			return;
		}
		if (!push(s)) {
			return;
		}
	}
	loop_timer_set(&x->again, loop_now());
}

/* ---- BDAT. ---- */

static int read_chunk(struct xact *x)
{
	int r = x->all_read ? ERR_CLOSED : content_fill(&x->content, &x->chunk, CHUNK);
	if (r == ERR_CLOSED && !x->all_read) {
		x->all_read = true;
		(void)buf_add_slice(&x->chunk, content_end(&x->content));
	}
	return r == ERR_CLOSED ? 0 : r;
}

static bool may_send_chunk(const struct xact *x)
{
	return x->open_chunks == 0 || (x->pipelining && x->open_chunks < OPEN_CHUNKS_MAX);
}

static void pump_chunks(struct xact *x)
{
	struct session *s = x->session;
	for (int turn = 0; turn < TURN; turn++) {
		int r = read_chunk(x);
		if (r == ERR_LATER) {
			xact_set_deadline(s);
			return; /* content wakes pump */
		}
		if (r != 0) {
			xact_break_off(s, r);
			return;
		}
		if (x->all_read) {
			if (x->open_chunks == 0) {
				want_dot(x);
			}
			return; /* body_chunk_taken goes on */
		}
		if (!may_send_chunk(x)) {
			return;
		}
		write_chunk(x, false);
		x->open_chunks++;
		if (!push(s)) {
			return;
		}
	}
	loop_timer_set(&x->again, loop_now());
}

void body_chunk_taken(struct session *s)
{
	struct xact *x = s->xact;
	xact_set_deadline(s);
	if (x->sending && stream_unsent(s->stream) == 0) {
		pump(x);
	}
}

/* ---- Both. ---- */

void body_drained(struct session *s)
{
	if (s->xact->sending) {
		xact_set_deadline(s);
		pump(s->xact);
	}
}

void body_begin(struct session *s)
{
	struct xact *x = s->xact;
	content_init(&x->content, s, !x->chunking, pump, x);
	loop_timer_init(&x->again, pump, x);
	x->chunk = BUF_INIT(CHUNK + CHUNK_SLACK);
	if (!x->chunking && !s->slow_dot && content_is_small(&x->content, CHUNK)) {
		x->with_content = true;
		want_dot(x);
		return;
	}
	x->sending = true;
	pump(x);
}
