/* SPDX-License-Identifier: ISC */
#include "net/loop.h"

#include <event2/event.h>
#include <event2/event_struct.h>
#include <sys/queue.h>

#include "util/log.h"
#include "util/mem.h"

struct loop_watch {
	struct event ev;
	int fd, what, want; /* what the kernel watches, and what it is to */
	bool changed;
	TAILQ_ENTRY(loop_watch) next; /* of those whose wants are to be told */
	void (*ready)(int what, void *arg);
	void *arg;
};

struct deferred {
	struct loop_task task;
	void (*run)(void *arg);
	void *arg;
};

struct caught {
	struct event ev;
	void (*caught)(int signo, void *arg);
	void *arg;
};

static struct event_base *base;
static TAILQ_HEAD(, loop_watch) changes = TAILQ_HEAD_INITIALIZER(changes);
static struct loop_task *tasks, **tasks_end = &tasks;
static int64_t now;
static bool stopping;

void loop_reinit(void)
{
	if (event_reinit(base) != 0)
		log_fatal("event loop: cannot be made again after fork");
}

static void run_tasks(void)
{
	while (tasks != NULL) {
		struct loop_task *t = tasks;

		tasks = t->next;
		if (tasks == NULL)
			tasks_end = &tasks;
		t->next = NULL;
		t->queued = false;
		t->run(t->arg);
	}
}

static void watch_ready(evutil_socket_t fd, short what, void *arg)
{
	struct loop_watch *w = arg;
	int is = ((what & EV_READ) ? LOOP_READ : 0) | ((what & EV_WRITE) ? LOOP_WRITE : 0);

	(void)fd;
	is &= w->want;
	if (is != 0)
		w->ready(is, w->arg);
}

static void tell_kernel(struct loop_watch *w)
{
	short events = EV_PERSIST;

	if (w->what == w->want)
		return;
	if (w->what != 0)
		event_del(&w->ev);
	w->what = w->want;
	if (w->what == 0)
		return;
	if (w->what & LOOP_READ)
		events |= EV_READ;
	if (w->what & LOOP_WRITE)
		events |= EV_WRITE;
	if (event_assign(&w->ev, base, w->fd, events, watch_ready, w) != 0 ||
		event_add(&w->ev, NULL) != 0)
		log_panic("event loop: descriptor %d cannot be watched", w->fd);
}

static void forget_change(struct loop_watch *w)
{
	if (w->changed)
		TAILQ_REMOVE(&changes, w, next);
	w->changed = false;
}

void loop_init(void)
{
	struct event_config *config = event_config_new();

	if (config == NULL)
		log_fatal("event loop: out of memory");
	/* Without precise timers: those cost a timerfd_settime(2) for each wait. */
	event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_IGNORE_ENV);
	base = event_base_new_with_config(config);
	event_config_free(config);
	if (base == NULL)
		log_fatal("event loop: cannot be made");
	/* Those of the process that it was forked from. */
	while (!TAILQ_EMPTY(&changes))
		forget_change(TAILQ_FIRST(&changes));
	now = 0;
	stopping = false;
}

/* Once an iteration: much of it was there and back. */
static void tell_changes(void)
{
	struct loop_watch *w;

	while ((w = TAILQ_FIRST(&changes)) != NULL) {
		forget_change(w);
		tell_kernel(w);
	}
}

static void iterate(void)
{
	run_tasks();
	log_flush();
	if (stopping)
		return;
	now = 0;
	tell_changes();
	if (event_base_loop(base, EVLOOP_ONCE) == 1)
		log_fatal("event loop: nothing to wait for");
	/* Before frames leave: what others log because of them comes behind it. */
	log_flush();
	run_tasks();
}

void loop_run(void)
{
	while (!stopping)
		iterate();
	run_tasks();
	log_flush();
	stopping = false;
}

void loop_stop(void)
{
	stopping = true;
}

static void nothing(void *arg)
{
	(void)arg;
}

void loop_once(int64_t deadline)
{
	struct loop_timer t;

	loop_timer_init(&t, nothing, NULL);
	loop_timer_set(&t, deadline);
	iterate();
	loop_timer_clear(&t);
}

int64_t loop_now(void)
{
	if (now == 0)
		now = clock_mono();
	return now;
}

struct loop_watch *loop_watch_new(int fd, void (*ready)(int what, void *arg), void *arg)
{
	struct loop_watch *w = mem_alloc(sizeof(*w));

	w->fd = fd;
	w->ready = ready;
	w->arg = arg;
	return w;
}

void loop_watch_set(struct loop_watch *w, int what)
{
	w->want = what;
	if (w->want == w->what) {
		forget_change(w);
	} else if (!w->changed) {
		w->changed = true;
		TAILQ_INSERT_TAIL(&changes, w, next);
	}
}

void loop_watch_free(struct loop_watch **w)
{
	if (*w == NULL)
		return;
	forget_change(*w);
	(*w)->want = 0;
	tell_kernel(*w);
	mem_free(*w);
	*w = NULL;
}

static void timer_arm(struct loop_timer *t, int64_t due)
{
	int64_t wait = due - loop_now();
	struct timeval tv;

	if (wait < 0)
		wait = 0;
	tv = (struct timeval){(time_t)(wait / CLOCK_SEC), (suseconds_t)(wait % CLOCK_SEC)};
	t->armed = due;
	evtimer_add((struct event *)t->event, &tv);
}

/* The deadline may have moved on since the event was armed: then it is only armed again. */
static void timer_fire(evutil_socket_t fd, short what, void *arg)
{
	struct loop_timer *t = arg;

	(void)fd;
	(void)what;
	t->armed = CLOCK_NEVER;
	if (t->due == CLOCK_NEVER)
		return;
	if (t->due > loop_now()) {
		timer_arm(t, t->due);
		return;
	}
	t->due = CLOCK_NEVER;
	t->fire(t->arg);
}

void loop_timer_init(struct loop_timer *t, void (*fire)(void *arg), void *arg)
{
	*t = (struct loop_timer){fire, arg, CLOCK_NEVER, CLOCK_NEVER, NULL};
}

void loop_timer_set(struct loop_timer *t, int64_t due)
{
	t->due = due;
	if (due == CLOCK_NEVER || (t->armed != CLOCK_NEVER && t->armed <= due))
		return;
	if (t->event == NULL) {
		t->event = mem_alloc(sizeof(struct event));
		evtimer_assign((struct event *)t->event, base, timer_fire, t);
	}
	timer_arm(t, due);
}

void loop_timer_clear(struct loop_timer *t)
{
	if (t->event != NULL) {
		event_del((struct event *)t->event);
		mem_free(t->event);
		t->event = NULL;
	}
	t->due = t->armed = CLOCK_NEVER;
}

void loop_task_init(struct loop_task *t, void (*run)(void *arg), void *arg)
{
	*t = (struct loop_task){run, arg, NULL, false};
}

void loop_soon(struct loop_task *t)
{
	if (t->queued)
		return;
	t->queued = true;
	t->next = NULL;
	*tasks_end = t;
	tasks_end = &t->next;
}

void loop_task_cancel(struct loop_task *t)
{
	struct loop_task **at;

	if (!t->queued)
		return;
	for (at = &tasks; *at != t; at = &(*at)->next)
		;
	*at = t->next;
	if (tasks_end == &t->next)
		tasks_end = at;
	t->next = NULL;
	t->queued = false;
}

static void run_deferred(void *arg)
{
	struct deferred *d = arg;
	void (*run)(void *arg) = d->run;
	void *run_arg = d->arg;

	mem_free(d);
	run(run_arg);
}

void loop_defer(void (*run)(void *arg), void *arg)
{
	struct deferred *d = mem_alloc(sizeof(*d));

	d->run = run;
	d->arg = arg;
	loop_task_init(&d->task, run_deferred, d);
	loop_soon(&d->task);
}

static void signal_caught(evutil_socket_t signo, short what, void *arg)
{
	struct caught *c = arg;

	(void)what;
	c->caught((int)signo, c->arg);
}

void loop_signal(int signo, void (*caught)(int signo, void *arg), void *arg)
{
	struct caught *c = mem_alloc(sizeof(*c));

	c->caught = caught;
	c->arg = arg;
	evsignal_assign(&c->ev, base, signo, signal_caught, c);
	if (evsignal_add(&c->ev, NULL) != 0)
		log_fatal("event loop: signal %d cannot be caught", signo);
}
