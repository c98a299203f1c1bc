/* SPDX-License-Identifier: ISC */
#ifndef NET_LOOP_H
#define NET_LOOP_H

#include "util/clock.h"

/*
 * The event loop of a process: one, single-threaded, on libevent (its only user). Callbacks run one
 * after the other and may free anything, their own watch included. An iteration is: wait, callbacks
 * of what is ready, tasks given to loop_soon (also those that tasks give), log_flush, wait.
 */
enum { LOOP_READ = 1, LOOP_WRITE = 2 };

void loop_init(void); /* once; after fork without exec: loop_reinit */
void loop_reinit(void);
void loop_run(void); /* until loop_stop */
void loop_stop(void);
/* One iteration, waiting at most until the deadline. For programs that start step by step. */
void loop_once(int64_t deadline);
/* Monotonic time, read once an iteration. Deadlines are made from it. */
int64_t loop_now(void);

/* A descriptor. It stays the caller's; free the watch before closing it. */
struct loop_watch;
struct loop_watch *loop_watch_new(
	int fd, void (*ready)(int what, void *arg), void *arg); /* owned */
void loop_watch_set(struct loop_watch *w, int what); /* LOOP_READ | LOOP_WRITE; 0: none */
void loop_watch_free(struct loop_watch **w);

/*
 * A timer with an absolute deadline; embedded. Setting it later than before costs nothing. Zero
 * memory is a valid timer that is not set, once loop_timer_init gave it its callback.
 */
struct loop_timer {
	void (*fire)(void *arg);
	void *arg;
	int64_t due;   /* CLOCK_NEVER when not set */
	int64_t armed; /* private */
	void *event;   /* private */
};
void loop_timer_init(struct loop_timer *t, void (*fire)(void *arg), void *arg);
void loop_timer_set(struct loop_timer *t, int64_t due); /* CLOCK_NEVER: cancels */
void loop_timer_clear(struct loop_timer *t);            /* cancels, frees; usable again */

/* Something to do at the end of this iteration; embedded. Given twice, it runs once. */
struct loop_task {
	void (*run)(void *arg);
	void *arg;
	struct loop_task *next; /* private */
	bool queued;
};
void loop_task_init(struct loop_task *t, void (*run)(void *arg), void *arg);
void loop_soon(struct loop_task *t);
void loop_task_cancel(struct loop_task *t);
/* The same without a task of one's own (for map_set_deferrer): allocated here, cannot be cancelled.
 */
void loop_defer(void (*run)(void *arg), void *arg);

/* Signals arrive as callbacks. caught(signo, arg). */
void loop_signal(int signo, void (*caught)(int signo, void *arg), void *arg);

#endif
