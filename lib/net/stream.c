/* SPDX-License-Identifier: ISC */
#include "net/stream.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "util/err.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/mem.h"

enum { SCRATCH = 65536 };
static const int64_t finish_time = 5 * CLOCK_SEC;

/*
 * New input is read into one scratch buffer of the process and shown from there, so that a stream
 * whose owner consumes everything needs no buffer. What is left over moves to s->in.
 */
static char scratch[SCRATCH];

struct stream {
	int fd;
	const struct stream_events *events;
	void *arg;
	struct loop_watch *watch;
	struct loop_timer timer;
	struct loop_task flush, again;
	struct buf in, out;
	struct slice fresh; /* unread bytes in scratch, during on_input only */
	const struct stream_filter *ops;
	void *filter;
	int read_wants, write_wants; /* what the filter waits for; else plain */
	bool reading, blocked, ended, eof, finishing;
	bool retry;  /* the filter asked to be called again */
	size_t most; /* bytes of one read; 0: any */
	bool *gone;  /* set when the stream is freed inside a callback */
};

static bool may_read(const struct stream *s)
{
	return s->reading && !s->ended && !s->eof && s->in.len < s->in.limit;
}

static void update_watch(struct stream *s)
{
	int what = 0;

	if (may_read(s)) {
		what |= s->read_wants;
		/* The socket does not tell of bytes that the filter holds. */
		if (s->ops != NULL && s->ops->pending(s->filter))
			loop_soon(&s->again);
	}
	if (s->blocked)
		what |= s->write_wants;
	loop_watch_set(s->watch, what);
}

static void end(struct stream *s, int err)
{
	if (err == ERR_CLOSED) {
		/* The peer may have closed its half alone: what is written still goes out. */
		s->eof = true;
		update_watch(s);
	} else if (err != ERR_TIMEOUT) {
		s->ended = true;
		s->blocked = false;
		buf_clear(&s->out);
		update_watch(s);
	}
	if (s->finishing) {
		stream_free(&s);
		return;
	}
	s->events->on_end(s, err, s->arg);
}

static int raw_read(struct stream *s, void *p, size_t len, size_t *done)
{
	ssize_t n;

	*done = 0;
	s->read_wants = LOOP_READ;
	if (s->ops != NULL)
		return s->ops->read(s->filter, s->fd, p, len, done, &s->read_wants);
	n = read(s->fd, p, len);
	if (n > 0) {
		*done = (size_t)n;
		return 0;
	}
	if (n == 0)
		return ERR_CLOSED;
	return errno == EAGAIN || errno == EINTR ? ERR_AGAIN : ERR_SYS;
}

static int raw_write(struct stream *s, const void *p, size_t len, size_t *done)
{
	ssize_t n;

	*done = 0;
	s->write_wants = LOOP_WRITE;
	if (s->ops != NULL)
		return s->ops->write(s->filter, s->fd, p, len, done, &s->write_wants);
	n = send(s->fd, p, len, MSG_NOSIGNAL);
	if (n >= 0) {
		*done = (size_t)n;
		return 0;
	}
	return errno == EAGAIN || errno == EINTR ? ERR_AGAIN : ERR_SYS;
}

/* Moves what the owner left in scratch to the stream's own buffer. */
static void keep_fresh(struct stream *s)
{
	struct slice rest = s->fresh;

	s->fresh = SLICE_NONE;
	if (rest.len > 0 && buf_add_slice(&s->in, rest) != 0)
		log_panic("stream: unread input over its limit");
}

static void show_input(struct stream *s)
{
	bool gone = false;

	s->gone = &gone;
	s->events->on_input(s, s->arg);
	if (gone)
		return;
	s->gone = NULL;
	keep_fresh(s);
	buf_release(&s->in);
	update_watch(s);
}

static void read_some(struct stream *s)
{
	size_t room = s->in.limit - s->in.len, done;
	int r;

	if (room > sizeof(scratch))
		room = sizeof(scratch);
	if (s->most > 0 && room > s->most)
		room = s->most;
	if (room == 0)
		return;
	r = raw_read(s, scratch, room, &done);
	if (r == ERR_AGAIN) {
		update_watch(s);
		return;
	}
	if (r != 0) {
		end(s, r);
		return;
	}
	s->fresh = slice_of(scratch, done);
	if (s->in.len > 0)
		keep_fresh(s);
	show_input(s);
}

static void write_some(struct stream *s)
{
	size_t done = 0;
	int r = 0;

	while (s->out.len > 0) {
		r = raw_write(s, buf_str(&s->out), s->out.len, &done);
		if (r != 0)
			break;
		buf_consume(&s->out, done);
	}
	if (r != 0 && r != ERR_AGAIN) {
		end(s, r);
		return;
	}
	if (s->out.len > 0) {
		s->blocked = true;
		update_watch(s);
		return;
	}
	buf_release(&s->out);
	if (s->finishing) {
		stream_free(&s);
		return;
	}
	if (s->blocked) {
		s->blocked = false;
		update_watch(s);
		if (s->events->on_drained != NULL)
			s->events->on_drained(s, s->arg);
	}
}

/* False: the stream is gone. */
static bool write_more(struct stream *s)
{
	bool gone = false;

	s->gone = &gone;
	write_some(s);
	if (gone)
		return false;
	s->gone = NULL;
	return true;
}

static void ready(int what, void *arg)
{
	struct stream *s = arg;

	if (s->blocked && (what & s->write_wants) && !write_more(s))
		return;
	if (s->reading && !s->ended && !s->eof && (what & s->read_wants))
		read_some(s);
}

static void run_flush(void *arg)
{
	stream_flush(arg);
}

static void run_again(void *arg)
{
	struct stream *s = arg;
	bool retry = s->retry;

	s->retry = false;
	if (retry && s->blocked && !write_more(s))
		return;
	if (s->ended || !s->reading)
		return;
	if (may_read(s) && (retry || (s->ops != NULL && s->ops->pending(s->filter))))
		read_some(s);
	else if (s->in.len > 0)
		show_input(s);
}

static void timed_out(void *arg)
{
	end(arg, ERR_TIMEOUT);
}

struct stream *stream_new(
	int fd, const struct stream_events *events, void *arg, size_t in_limit, size_t out_limit)
{
	struct stream *s = mem_alloc(sizeof(*s));

	s->fd = fd;
	s->events = events;
	s->arg = arg;
	buf_init(&s->in, in_limit);
	buf_init(&s->out, out_limit);
	s->read_wants = LOOP_READ;
	s->write_wants = LOOP_WRITE;
	fd_set_nonblock(fd, true);
	s->watch = loop_watch_new(fd, ready, s);
	loop_timer_init(&s->timer, timed_out, s);
	loop_task_init(&s->flush, run_flush, s);
	loop_task_init(&s->again, run_again, s);
	return s;
}

void stream_free(struct stream **sp)
{
	struct stream *s = *sp;

	if (s == NULL)
		return;
	*sp = NULL;
	if (s->gone != NULL)
		*s->gone = true;
	if (s->ops != NULL) {
		s->ops->shutdown(s->filter, s->fd);
		s->ops->free(s->filter);
	}
	loop_task_cancel(&s->flush);
	loop_task_cancel(&s->again);
	loop_timer_clear(&s->timer);
	loop_watch_free(&s->watch);
	fd_close(&s->fd);
	buf_clear(&s->in);
	buf_clear(&s->out);
	mem_free(s);
}

void stream_finish(struct stream **sp)
{
	struct stream *s = *sp;

	if (s == NULL)
		return;
	*sp = NULL;
	if (s->gone != NULL) {
		*s->gone = true;
		s->gone = NULL;
	}
	s->fresh = SLICE_NONE;
	if (s->ended || s->out.len == 0) {
		stream_free(&s);
		return;
	}
	s->finishing = true;
	s->reading = false;
	loop_task_cancel(&s->again);
	if (s->timer.due > loop_now() + finish_time)
		loop_timer_set(&s->timer, loop_now() + finish_time);
	update_watch(s);
	loop_soon(&s->flush);
}

int stream_fd(const struct stream *s)
{
	return s->fd;
}

void stream_set_arg(struct stream *s, const struct stream_events *events, void *arg)
{
	s->events = events;
	s->arg = arg;
}

void stream_set_secret(struct stream *s)
{
	s->in.secret = s->out.secret = true;
}

void stream_read(struct stream *s, bool on)
{
	s->reading = on;
	update_watch(s);
}

void stream_read_most(struct stream *s, size_t most)
{
	s->most = most;
}

struct slice stream_input(const struct stream *s)
{
	return s->fresh.len > 0 ? s->fresh : buf_slice(&s->in);
}

void stream_consume(struct stream *s, size_t n)
{
	if (s->fresh.len > 0) {
		s->fresh = slice_from(s->fresh, n);
		return;
	}
	buf_consume(&s->in, n);
	if (s->gone == NULL)
		update_watch(s);
}

void stream_wipe(struct stream *s, size_t n)
{
	struct slice in = slice_first(stream_input(s), n);

	if (in.len > 0)
		explicit_bzero((void *)(uintptr_t)in.p, in.len);
	stream_consume(s, n);
}

void stream_again(struct stream *s)
{
	loop_soon(&s->again);
}

bool stream_is_quiet(const struct stream *s)
{
	char byte;

	return stream_input(s).len == 0 && !s->ended && !s->eof &&
	       (s->ops == NULL || !s->ops->pending(s->filter)) &&
	       recv(s->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 &&
	       (errno == EAGAIN || errno == EINTR);
}

size_t stream_discard(struct stream *s)
{
	size_t n = stream_input(s).len;

	s->fresh = SLICE_NONE;
	buf_clear(&s->in);
	return n;
}

int stream_write(struct stream *s, const void *p, size_t len)
{
	bool failed = s->out.failed;
	int r;

	if (s->ended)
		return 0; /* on_end has been called or is on its way; the owner learns it there */
	r = buf_add(&s->out, p, len);
	s->out.failed = failed;
	if (r != 0)
		return r;
	if (!s->blocked)
		loop_soon(&s->flush);
	return 0;
}

int stream_write_slice(struct stream *s, struct slice b)
{
	return stream_write(s, b.p, b.len);
}

int stream_printf(struct stream *s, const char *fmt, ...)
{
	char text[2048];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= sizeof(text))
		return ERR_LIMIT;
	return stream_write(s, text, (size_t)n);
}

void stream_flush(struct stream *s)
{
	if (s->ended || s->blocked)
		return;
	if (s->out.len > 0 || s->finishing)
		write_some(s);
}

size_t stream_unsent(const struct stream *s)
{
	return s->out.len;
}

void stream_deadline(struct stream *s, int64_t due)
{
	loop_timer_set(&s->timer, due);
}

void stream_filter(struct stream *s, const struct stream_filter *ops, void *filter)
{
	s->ops = ops;
	s->filter = filter;
}

void stream_retry(struct stream *s)
{
	s->retry = true;
	loop_soon(&s->again);
}

const struct stream_events *stream_owner(const struct stream *s, void **arg)
{
	*arg = s->arg;
	return s->events;
}
