/* SPDX-License-Identifier: ISC */
#include "net/pool.h"

#include <sys/queue.h>

#include "util/err.h"
#include "util/fd.h"
#include "util/mem.h"

enum { OUT_LIMIT = 128 * 1024 };

/*
 * A connection is CONNECTING, IDLE or BUSY. One whose request has been withdrawn stays BUSY until
 * the answer that nobody wants has come, or its deadline.
 */
struct link {
	TAILQ_ENTRY(link) next;
	struct pool *pool;
	struct stream *stream; /* NULL while connecting */
	uint64_t handle;       /* of the connector */
	struct pool_request *request;
	int64_t born, deadline;
	unsigned requests;   /* answered ones */
	bool busy, answered; /* answered: at least one reply came over it */
	struct loop_task reap;
};

struct pool_request {
	TAILQ_ENTRY(pool_request) next; /* in waiting */
	struct pool *pool;
	struct link *link; /* NULL: waiting */
	pool_done_fn *done;
	void *arg;
	char *bytes; /* owned */
	size_t len;
	int64_t deadline;
	unsigned lost;
	bool queued;
	int err; /* an end that is told by the task */
	struct loop_timer timer;
	struct loop_task tell;
};

TAILQ_HEAD(link_list, link);
TAILQ_HEAD(request_list, pool_request);

struct pool {
	struct pool_spec spec;
	char *name; /* owned */
	struct link_list links;
	struct request_list waiting;
	unsigned links_n, waiting_n;
	struct loop_task serve;
};

static pool_connect_fn *make;
static void (*unmake)(uint64_t handle);

void pool_set_connector(pool_connect_fn *connect, void (*cancel)(uint64_t handle))
{
	make = connect;
	unmake = cancel;
}

/* Requests. */

static void request_free(struct pool_request *r)
{
	loop_timer_clear(&r->timer);
	loop_task_cancel(&r->tell);
	if (r->queued) {
		TAILQ_REMOVE(&r->pool->waiting, r, next);
		r->pool->waiting_n--;
	}
	if (r->link != NULL)
		r->link->request = NULL;
	mem_free(r->bytes);
	mem_free(r);
}

static void request_end(struct pool_request *r, int err, struct slice reply)
{
	pool_done_fn *done = r->done;
	void *arg = r->arg;

	request_free(r);
	done(arg, err, reply);
}

static void tell(void *arg)
{
	struct pool_request *r = arg;

	request_end(r, r->err, SLICE_NONE);
}

static void link_drop(struct link *l);

static void timed_out(void *arg)
{
	struct pool_request *r = arg;
	struct link *l = r->link;

	/* A service that is late once is late for the next one too: a new connection. */
	if (l != NULL) {
		l->request = NULL;
		r->link = NULL;
		link_drop(l);
	}
	request_end(r, ERR_TIMEOUT, SLICE_NONE);
}

static void wait_in_line(struct pool_request *r, bool first)
{
	struct pool *p = r->pool;

	if (first)
		TAILQ_INSERT_HEAD(&p->waiting, r, next);
	else
		TAILQ_INSERT_TAIL(&p->waiting, r, next);
	p->waiting_n++;
	r->queued = true;
	loop_soon(&p->serve);
}

/* Connections. */

static void reap(void *arg)
{
	struct link *l = arg;

	mem_free(l);
}

/* The link's memory goes at the end of the iteration: this may be one of its own callbacks. */
static void link_drop(struct link *l)
{
	struct pool *p = l->pool;

	if (l->handle != 0 && unmake != NULL)
		unmake(l->handle);
	stream_free(&l->stream);
	TAILQ_REMOVE(&p->links, l, next);
	p->links_n--;
	l->pool = NULL;
	loop_soon(&l->reap);
	if (p->waiting_n > 0)
		loop_soon(&p->serve);
}

/* Its request tries again, unless it has lost enough or the reply cannot be understood. */
static void link_lost(struct link *l, int err)
{
	struct pool_request *r = l->request;
	/* An old connection that is closed says nothing about the service. */
	bool stale = l->answered && err == ERR_CLOSED;

	if (r != NULL) {
		l->request = NULL;
		r->link = NULL;
		if (!stale)
			r->lost++;
		if (err != ERR_CLOSED || r->lost >= r->pool->spec.tries) {
			r->err = err;
			loop_soon(&r->tell);
		} else {
			wait_in_line(r, true);
		}
	}
	link_drop(l);
}

static void on_input(struct stream *s, void *arg)
{
	struct link *l = arg;
	struct pool_request *r = l->request;
	struct slice in = stream_input(s);
	ptrdiff_t n = l->busy ? l->pool->spec.frame(in) : ERR_SYNTAX;

	if (n == 0 && in.len < l->pool->spec.reply_limit)
		return;
	if (n <= 0 || (size_t)n > l->pool->spec.reply_limit || (size_t)n > in.len) {
		link_lost(l, n < 0 ? ERR_SYNTAX : ERR_LIMIT);
		return;
	}
	/* The reply is copied: whoever is told may free the pool. */
	struct slice reply = {mem_dup(in.p, (size_t)n), (size_t)n};
	char *copy = (char *)(uintptr_t)reply.p;

	stream_consume(s, (size_t)n);
	l->busy = false;
	l->answered = true;
	l->request = NULL;
	l->deadline = loop_now() + l->pool->spec.idle;
	stream_deadline(s, l->deadline);
	loop_soon(&l->pool->serve);
	l->requests++;
	if (stream_input(s).len > 0 || loop_now() - l->born > l->pool->spec.ttl ||
		l->requests == l->pool->spec.requests)
		link_drop(l);
	if (r != NULL) {
		r->link = NULL;
		request_end(r, 0, reply);
	}
	mem_free(copy);
}

static void on_end(struct stream *s, int err, void *arg)
{
	struct link *l = arg;

	(void)s;
	link_lost(l, err == ERR_LIMIT ? ERR_LIMIT : ERR_CLOSED);
}

static const struct stream_events events = {.on_input = on_input, .on_end = on_end};

static void send_request(struct link *l, struct pool_request *r)
{
	l->request = r;
	l->busy = true;
	r->link = l;
	/* The request's own timer ends it; this is for an answer that nobody waits for any more. */
	stream_deadline(l->stream, r->deadline + CLOCK_SEC);
	if (stream_write(l->stream, r->bytes, r->len) != 0)
		link_lost(l, ERR_LIMIT);
}

static void connected(int err, int fd, void *arg)
{
	struct link *l = arg;

	l->handle = 0;
	if (err != 0) {
		link_lost(l, ERR_CLOSED);
		return;
	}
	l->stream = stream_new(fd, &events, l, l->pool->spec.reply_limit + 1, OUT_LIMIT);
	stream_read(l->stream, true);
	if (l->request != NULL) {
		send_request(l, l->request);
		return;
	}
	/* Its request was withdrawn meanwhile; the next one is welcome. */
	stream_deadline(l->stream, loop_now() + l->pool->spec.idle);
	loop_soon(&l->pool->serve);
}

static void link_new(struct pool *p, struct pool_request *r)
{
	struct link *l = mem_alloc(sizeof(*l));

	l->pool = p;
	l->born = loop_now();
	l->request = r;
	r->link = l;
	loop_task_init(&l->reap, reap, l);
	TAILQ_INSERT_TAIL(&p->links, l, next);
	p->links_n++;
	l->handle = make != NULL ? make(p->name, connected, l) : 0;
	if (l->handle == 0)
		link_lost(l, ERR_CLOSED);
}

/* The most recently used connections first, so that the others can end. */
static struct link *idle_link(struct pool *p)
{
	struct link *l, *best = NULL;

	TAILQ_FOREACH(l, &p->links, next)
	{
		if (l->stream != NULL && !l->busy && l->request == NULL &&
			(best == NULL || l->deadline > best->deadline))
			best = l;
	}
	return best;
}

static void serve(void *arg)
{
	struct pool *p = arg;

	while (p->waiting_n > 0) {
		struct pool_request *r = TAILQ_FIRST(&p->waiting);
		struct link *l = idle_link(p);

		if (l == NULL && p->links_n >= p->spec.limit)
			return;
		TAILQ_REMOVE(&p->waiting, r, next);
		p->waiting_n--;
		r->queued = false;
		if (l != NULL)
			send_request(l, r);
		else
			link_new(p, r);
	}
}

struct pool *pool_new(const struct pool_spec *spec)
{
	struct pool *p = mem_alloc(sizeof(*p));

	p->spec = *spec;
	p->name = mem_str(spec->name);
	p->spec.name = p->name;
	TAILQ_INIT(&p->links);
	TAILQ_INIT(&p->waiting);
	loop_task_init(&p->serve, serve, p);
	return p;
}

void pool_free(struct pool **pp)
{
	struct pool *p = *pp;
	struct pool_request *r;
	struct link *l;

	*pp = NULL;
	if (p == NULL)
		return;
	while ((r = TAILQ_FIRST(&p->waiting)) != NULL)
		request_free(r);
	while ((l = TAILQ_FIRST(&p->links)) != NULL) {
		if (l->request != NULL)
			request_free(l->request);
		link_drop(l);
	}
	loop_task_cancel(&p->serve);
	mem_free(p->name);
	mem_free(p);
}

const char *pool_name(const struct pool *p)
{
	return p->name;
}

struct pool_request *pool_ask(struct pool *p, struct slice request, pool_done_fn *done, void *arg)
{
	struct pool_request *r = mem_alloc(sizeof(*r));

	r->pool = p;
	r->done = done;
	r->arg = arg;
	r->bytes = mem_dup(request.p != NULL ? request.p : "", request.len);
	r->len = request.len;
	r->deadline = loop_now() + p->spec.timeout;
	loop_timer_init(&r->timer, timed_out, r);
	loop_task_init(&r->tell, tell, r);
	if (p->waiting_n >= p->spec.waiting) {
		r->err = ERR_LIMIT;
		loop_soon(&r->tell);
	} else {
		loop_timer_set(&r->timer, r->deadline);
		wait_in_line(r, false);
	}
	return r;
}

void pool_cancel(struct pool_request **rp)
{
	struct pool_request *r = *rp;

	*rp = NULL;
	if (r != NULL)
		request_free(r);
}
