/* SPDX-License-Identifier: ISC */
#include "local/work.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "conf/conf.h"
#include "local/child.h"
#include "local/forward.h"
#include "mail/attempt.h"
#include "util/err.h"
#include "util/fd.h"
#include "util/later.h"
#include "util/log.h"
#include "util/mem.h"

enum { LOOKUPS_MAX = 4 * PLAN_ADDRESSES_MAX, CHILD_SECONDS = 1000, RETRY_MSEC = 20 };

struct work {
	TAILQ_ENTRY(work) link;
	struct job *j;
	size_t at; /* the recipient */
	struct later later;
	struct plan plan;
	struct forward *forward;
	pid_t pid; /* 0: no child */
	int pipe;
	struct loop_timer timer; /* a child's end; dots to be sent */
	int64_t begun, opened;
	bool is_damaged;
};

static TAILQ_HEAD(, work) works = TAILQ_HEAD_INITIALIZER(works);

static void run(struct work *w);

static void work_free(struct work *w)
{
	later_clear(&w->later);
	plan_clear(&w->plan);
	forward_drop(&w->forward);
	loop_timer_clear(&w->timer);
	if (w->pid > 0)
		kill(w->pid, SIGKILL);
	fd_close(&w->pipe);
	TAILQ_REMOVE(&works, w, link);
	mem_free(w);
}

static void log_outcome(const struct work *w, const struct job_rcpt *r, const struct outcome *o)
{
	struct mail_attempt a = {.id = slice_str(w->j->id),
		.recipient = slice_str(r->address),
		.orig_to = slice_str(r->orig_to),
		.relay = server_program(),
		.arrival = w->j->arrival,
		.active = w->j->active,
		.begun = w->begun,
		.connected = w->opened,
		.ended = clock_real(),
		.dsn = o->status,
		.text = slice_str(o->text),
		.status = o->result == RESULT_OK       ? "sent"
			  : o->result == RESULT_FAILED ? "bounced"
						       : "deferred",
		.digits = (unsigned)conf_int(P_delay_logging_resolution_limit)};
	mail_attempt_log(&a);
	/* Before qmgr's line about the message's end. */
	log_flush();
}

/* The present recipient is done. */
static void finish(struct work *w, const struct outcome *outcome)
{
	struct job_rcpt *r = &w->j->rcpts[w->at];
	struct outcome o = *outcome;
	if (o.result == RESULT_UNTRIED) {
		/* qmgr sets the message aside; nothing of it is reported. */
		w->is_damaged = true;
		w->at = w->j->n;
		return;
	}
	if (o.result == RESULT_NOT_FOUND)
		o.result = RESULT_FAILED;
	if (o.result == RESULT_FAILED && conf_bool(P_soft_bounce)) {
		o.result = RESULT_DEFERRED;
		o.status[0] = '4';
	}
	log_outcome(w, r, &o);
	job_report(w->j, r, (enum proto_result)o.result, o.status, NULL, NULL, o.text);
	later_clear(&w->later);
	plan_clear(&w->plan);
	w->at++;
}

static void finish_and_run(const struct outcome *o, void *arg)
{
	struct work *w = arg;
	w->forward = NULL;
	finish(w, o);
	run(w);
}

static void reroute(struct work *w)
{
	struct job_rcpt *r = &w->j->rcpts[w->at];
	log_info("%s: passing <%s> to transport=%s", w->j->id, log_qs(r->address),
		w->plan.transport);
	job_reroute(w->j, r, w->plan.transport, w->plan.nexthop);
	later_clear(&w->later);
	w->at++;
}

static void forward(struct work *w)
{
	w->forward = forward_new(w->j, &w->j->rcpts[w->at], &w->plan, finish_and_run, w);
}

/* After a child has looked: an alias that names itself is for the mailbox the second time. */
static void looked(struct work *w, const struct outcome *found)
{
	struct outcome o = *found;
	if (o.result == RESULT_OK && w->plan.has_itself && o.loops == 1) {
		w->plan.kind = PLAN_USER;
		run(w);
	} else if (o.result == RESULT_OK && o.loops > 0) {
		outcome_set(&o, RESULT_FAILED, "5.4.6", "mail forwarding loop for %s",
			w->j->rcpts[w->at].address);
		finish_and_run(&o, w);
	} else if (o.result == RESULT_OK) {
		forward(w);
	} else {
		finish_and_run(&o, w);
	}
}

static void read_outcome(struct work *w, int status, struct outcome *o)
{
	ssize_t n = read(w->pipe, o, sizeof(*o));
	o->status[sizeof(o->status) - 1] = o->text[sizeof(o->text) - 1] = '\0';
	if (n == (ssize_t)sizeof(*o) && o->result <= RESULT_UNTRIED)
		return;
	log_warning("%s: delivery process %ld ended by %s %d", w->j->id, (long)w->pid,
		WIFSIGNALED(status) ? "signal" : "exit status",
		WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	outcome_set(o, RESULT_DEFERRED, "4.3.0", "delivery process died");
}

static void child_ended(struct work *w, int status)
{
	struct outcome o = {0};
	read_outcome(w, status, &o);
	fd_close(&w->pipe);
	loop_timer_set(&w->timer, CLOCK_NEVER);
	w->pid = 0;
	if (w->plan.kind == PLAN_FORWARD)
		looked(w, &o);
	else
		finish_and_run(&o, w);
}

static void reap(int signo, void *arg)
{
	struct work *w;
	pid_t pid;
	int status;
	(void)signo;
	(void)arg;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		TAILQ_FOREACH(w, &works, link)
		if (w->pid == pid) {
			child_ended(w, status);
			break;
		}
	}
}

static void start_child(struct work *w)
{
	int ends[2];
	w->opened = clock_real();
	pid_t pid = -1;
	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0) {
		pid = fork();
		if (pid == 0)
			child_run(w->j, &w->j->rcpts[w->at], &w->plan, ends[1]);
		fd_close(&ends[1]);
		w->pipe = ends[0];
	}
	if (pid < 0) {
		struct outcome o;
		outcome_set(&o, RESULT_DEFERRED, "4.3.0", "cannot start a delivery: %s",
			err_str(ERR_SYS));
		fd_close(&w->pipe);
		finish(w, &o);
		return;
	}
	w->pid = pid;
	loop_timer_set(&w->timer, loop_now() + CHILD_SECONDS * CLOCK_SEC);
}

/* A child that takes too long is stopped; dots that could not be sent are tried again. */
static void timed(void *arg)
{
	struct work *w = arg;
	if (w->pid > 0)
		kill(w->pid, SIGKILL);
	else
		run(w);
}

/* False: wait. */
static bool step(struct work *w)
{
	struct job_rcpt *r = &w->j->rcpts[w->at];
	if (buf_failed(&w->j->content)) {
		plan_answer(&w->plan, RESULT_DEFERRED, "4.3.0", "header section too large");
	} else if (w->plan.kind == PLAN_ANSWER && plan_make(r, &w->later, &w->plan) == ERR_LATER) {
		plan_clear(&w->plan);
		return false;
	}
	if (w->plan.kind == PLAN_ANSWER) {
		finish(w, &w->plan.outcome);
		return true;
	}
	if (w->plan.kind == PLAN_REROUTE) {
		reroute(w);
		plan_clear(&w->plan);
		return true;
	}
	if (!w->j->dot)
		job_dot(w->j);
	if (!job_flush_dots()) {
		loop_timer_set(&w->timer, loop_now() + RETRY_MSEC * CLOCK_MSEC);
		return false;
	}
	start_child(w);
	return w->pid == 0;
}

static void run(struct work *w)
{
	while (w->at < w->j->n && step(w))
		;
	if (w->at == w->j->n) {
		struct job *j = w->j;
		unsigned flags = w->is_damaged ? JOB_END_UNREADABLE : 0;
		work_free(w);
		job_end(j, flags, NULL);
	}
}

static void woken(void *arg)
{
	run(arg);
}

static void start(struct job *j)
{
	struct work *w = mem_alloc(sizeof(*w));
	*w = (struct work){.j = j, .pipe = -1, .begun = clock_real(), .opened = clock_real()};
	later_init(&w->later, LOOKUPS_MAX, woken, w);
	loop_timer_init(&w->timer, timed, w);
	TAILQ_INSERT_TAIL(&works, w, link);
	j->work = w;
	run(w);
}

static void abandon(struct job *j)
{
	work_free(j->work);
	j->work = NULL;
}

void work_init(unsigned limit)
{
	static const struct job_handler handler = {start, abandon};
	loop_signal(SIGCHLD, reap, NULL);
	job_init(&handler, limit);
}
