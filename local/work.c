/* SPDX-License-Identifier: ISC */
#include "local/work.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "conf/conf.h"
#include "local/content.h"
#include "local/forward.h"
#include "local/spawner.h"
#include "mail/attempt.h"
#include "mail/status_filter.h"
#include "queue/envelope.h"
#include "util/err.h"
#include "util/fd.h"
#include "util/later.h"
#include "util/log.h"
#include "util/mem.h"

enum {
	LOOKUPS_MAX = 4 * PLAN_ADDRESSES_MAX,
	DELIVERY_SECONDS = 1100, /* a little more than a child gives itself */
	RETRY_MSEC = 20,
};

struct work {
	struct job *j;
	size_t at; /* the recipient */
	struct later later;
	struct plan plan;
	struct forward *forward;
	int content; /* the job's content as a file in memory; -1: not made yet */
	int pipe;    /* where the child answers; -1: none is at work */
	struct loop_watch *answer;
	struct loop_timer timer; /* the child's end; what could not be sent */
	int64_t begun, opened;
	bool is_damaged;
};

static int spawner;
static struct loop_watch *spawner_end;
static struct status_filter filter;

static void run(struct work *w);
static bool forward(struct work *w);

static void forget_child(struct work *w)
{
	loop_watch_free(&w->answer);
	fd_close(&w->pipe);
	loop_timer_set(&w->timer, CLOCK_NEVER);
}

static void work_free(struct work *w)
{
	later_clear(&w->later);
	plan_clear(&w->plan);
	forward_drop(&w->forward);
	forget_child(w);
	loop_timer_clear(&w->timer);
	fd_close(&w->content);
	mem_free(w);
}

static bool is_probe(const struct work *w)
{
	return (w->j->flags & QUEUE_FLAG_PROBE) != 0;
}

static const char *status_of(const struct work *w, const struct outcome *o)
{
	bool is_done = o->result == RESULT_OK || o->result == RESULT_PASSED;
	if (is_probe(w))
		return is_done ? "deliverable" : "undeliverable";
	return is_done ? "sent" : o->result == RESULT_FAILED ? "bounced" : "deferred";
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
		.status = status_of(w, o),
		.digits = (unsigned)conf_int(P_delay_logging_resolution_limit)};
	mail_attempt_log(&a);
	/* Before qmgr's line about the message's end. */
	log_flush();
}

void work_open_filter(enum param p)
{
	status_filter_open(&filter, p);
}

/* What the filter makes of it. */
static void sift(struct outcome *o)
{
	struct buf text = BUF_INIT(sizeof(o->text));
	(void)buf_add_slice(&text, slice_first(slice_str(o->text), sizeof(o->text) - 1));
	if (status_filter_apply(&filter, o->status, &text)) {
		(void)snprintf(o->text, sizeof(o->text), "%s", buf_str(&text));
		o->result = o->status[0] == '2'   ? o->result
			    : o->status[0] == '5' ? RESULT_FAILED
						  : RESULT_DEFERRED;
	}
	buf_clear(&text);
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
	sift(&o);
	if (o.result == RESULT_FAILED && conf_bool(P_soft_bounce)) {
		o.result = RESULT_DEFERRED;
		o.status[0] = '4';
	}
	log_outcome(w, r, &o);
	w->j->facts.flags = o.result == RESULT_OK && !is_probe(w) ? JOB_FINAL : 0;
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
	plan_clear(&w->plan);
	w->at++;
}

/* Whether the mailbox has the message, nobody can say: the next attempt may give it another copy.
 */
static void in_doubt(const struct work *w, struct outcome *o, const char *reason)
{
	log_must("%s: to=<%s>: in doubt: %s; sending again", w->j->id,
		log_qs(w->j->rcpts[w->at].address), reason);
	outcome_set(o, RESULT_DEFERRED, "4.3.0", "%s", reason);
}

static void read_outcome(struct work *w, struct outcome *o)
{
	ssize_t n = read(w->pipe, o, sizeof(*o));
	o->status[sizeof(o->status) - 1] = o->text[sizeof(o->text) - 1] = '\0';
	if (n == (ssize_t)sizeof(*o) && o->result <= RESULT_UNTRIED && o->result != RESULT_REROUTE)
		return;
	in_doubt(w, o, "delivery process died");
}

/* A probe of it ends here: where it leads is not asked. */
static void alias_is_good(struct work *w)
{
	struct outcome o;
	outcome_set(&o, RESULT_OK, "2.0.0", "aliased to %s",
		w->plan.count > 0 ? w->plan.addresses[0] : "nobody");
	finish(w, &o);
}

static void answered(int what, void *arg)
{
	struct work *w = arg;
	struct outcome o = {0};
	(void)what;
	read_outcome(w, &o);
	forget_child(w);
	bool unknown = o.result == RESULT_FAILED && strcmp(o.status, "5.1.1") == 0;
	if (!unknown || w->plan.count > 0 || !plan_unknown(&w->j->rcpts[w->at], &w->plan)) {
		finish_and_run(&o, w);
	} else if (is_probe(w)) {
		alias_is_good(w);
		run(w);
	} else if (!forward(w)) {
		run(w);
	}
}

/* A child that takes too long is given up; what could not be sent is tried again. */
static void timed(void *arg)
{
	struct work *w = arg;
	struct outcome o;
	if (w->pipe < 0) {
		run(w);
		return;
	}
	in_doubt(w, &o, "delivery takes too long");
	forget_child(w);
	finish_and_run(&o, w);
}

static int make_content(struct work *w)
{
	struct slice s = buf_slice(&w->j->content);
	if (w->content >= 0)
		return lseek(w->content, 0, SEEK_SET) < 0 ? ERR_SYS : 0;
	int r = fd_memory("message", &w->content);
	if (r == 0)
		r = fd_write_full(w->content, s.p, s.len);
	if (r == 0 && lseek(w->content, 0, SEEK_SET) < 0)
		r = ERR_SYS;
	return r;
}

static void make_request(const struct work *w, struct request *q)
{
	const struct job *j = w->j;
	const struct job_rcpt *r = &j->rcpts[w->at];
	*q = (struct request){.index = r->index,
		.attempts = r->attempts,
		.size = j->size,
		.header_len = j->header_len,
		.body_size = j->body_size,
		.body_offset = j->body_offset,
		.arrival = j->arrival,
		.loops = w->plan.has_itself ? 1 : 0,
		.flags = j->flags};
	snprintf(q->id, sizeof(q->id), "%s", j->id);
	snprintf(q->address, sizeof(q->address), "%s", r->address);
	snprintf(q->orig_to, sizeof(q->orig_to), "%s", r->orig_to != NULL ? r->orig_to : "");
	snprintf(q->sender, sizeof(q->sender), "%s", j->sender);
	snprintf(q->user, sizeof(q->user), "%s", w->plan.user != NULL ? w->plan.user : "");
}

/* 0, ERR_AGAIN, ERR_SYS. */
static int send_request(const struct work *w, const struct request *q, int pipe)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(REQUEST_FDS * sizeof(int))];
	} control = {0};
	int fds[REQUEST_FDS] = {pipe, w->content, w->j->body_fd};
	size_t n = w->j->body_fd >= 0 ? REQUEST_FDS : REQUEST_FDS - 1;
	struct slice sums = buf_slice(&w->j->body_sums);
	struct iovec parts[2] = {
		{(void *)(uintptr_t)q, sizeof(*q)}, {(void *)(uintptr_t)sums.p, sums.len}};
	struct msghdr m = {.msg_iov = parts,
		.msg_iovlen = 2,
		.msg_control = control.room,
		.msg_controllen = CMSG_SPACE(n * sizeof(int))};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(n * sizeof(int));
	memcpy(CMSG_DATA(c), fds, n * sizeof(int));
	if (sendmsg(spawner, &m, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
		return 0;
	return errno == EAGAIN ? ERR_AGAIN : ERR_SYS;
}

/* True when the child is at work or the request is to be tried again; false: done, for the worse.
 */
static bool ask_spawner(struct work *w)
{
	struct request q;
	struct outcome o;
	int ends[2] = {-1, -1};
	w->opened = clock_real();
	int r = make_content(w);
	if (r == 0 && pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0)
		r = ERR_SYS;
	if (r == 0) {
		make_request(w, &q);
		r = send_request(w, &q, ends[1]);
	}
	fd_close(&ends[1]);
	if (r == 0) {
		w->pipe = ends[0];
		w->answer = loop_watch_new(w->pipe, answered, w);
		loop_watch_set(w->answer, LOOP_READ);
		loop_timer_set(&w->timer, loop_now() + DELIVERY_SECONDS * CLOCK_SEC);
		return true;
	}
	fd_close(&ends[0]);
	if (r == ERR_AGAIN) {
		loop_timer_set(&w->timer, loop_now() + RETRY_MSEC * CLOCK_MSEC);
		return true;
	}
	outcome_set(&o, RESULT_DEFERRED, "4.3.0", "cannot start a delivery: %s", err_str(r));
	finish(w, &o);
	return false;
}

/* False: done, it was a circle. */
static bool forward(struct work *w)
{
	const char *address = w->j->rcpts[w->at].address;
	struct outcome o;
	unsigned loops = content_count_delivered(w->j, address);
	if (loops > 0) {
		outcome_set(&o, RESULT_FAILED, "5.4.6", "mail forwarding loop for %s", address);
		finish(w, &o);
		return false;
	}
	w->forward = forward_new(w->j, &w->j->rcpts[w->at], &w->plan, finish_and_run, w);
	return true;
}

/* False: no plan yet. */
static bool plan(struct work *w)
{
	const struct job_rcpt *r = &w->j->rcpts[w->at];
	if (buf_failed(&w->j->content)) {
		plan_answer(&w->plan, RESULT_DEFERRED, "4.3.0", "header section too large");
		return true;
	}
	if (plan_make(r, &w->later, &w->plan) == ERR_LATER)
		return false;
	/* An alias that names itself: the second pass is for the mailbox. */
	if (w->plan.kind == PLAN_FORWARD && w->plan.has_itself &&
		content_count_delivered(w->j, r->address) == 1)
		w->plan.kind = PLAN_DELIVER;
	return true;
}

/* False: wait. */
static bool step(struct work *w)
{
	if (!plan(w))
		return false;
	if (w->plan.kind == PLAN_ANSWER) {
		finish(w, &w->plan.outcome);
		return true;
	}
	if (w->plan.kind == PLAN_REROUTE) {
		reroute(w);
		return true;
	}
	if (is_probe(w) && w->plan.kind == PLAN_FORWARD) {
		alias_is_good(w);
		return true;
	}
	if (!w->j->dot && !is_probe(w))
		job_dot(w->j);
	if (!is_probe(w) && !job_flush_dots()) {
		loop_timer_set(&w->timer, loop_now() + RETRY_MSEC * CLOCK_MSEC);
		return false;
	}
	return w->plan.kind == PLAN_FORWARD ? !forward(w) : !ask_spawner(w);
}

static void run(struct work *w)
{
	while (w->at < w->j->n && step(w))
		;
	if (w->at == w->j->n) {
		struct job *j = w->j;
		unsigned flags = w->is_damaged ? JOB_END_UNREADABLE : 0;
		work_free(w);
		job_end(j, flags, NULL, NULL);
	}
}

static void woken(void *arg)
{
	run(arg);
}

static void start(struct job *j)
{
	struct work *w = mem_alloc(sizeof(*w));
	*w = (struct work){
		.j = j, .content = -1, .pipe = -1, .begun = clock_real(), .opened = clock_real()};
	later_init(&w->later, LOOKUPS_MAX, woken, w);
	loop_timer_init(&w->timer, timed, w);
	j->work = w;
	run(w);
}

static void abandon(struct job *j)
{
	work_free(j->work);
	j->work = NULL;
}

static void spawner_gone(int what, void *arg)
{
	(void)what;
	(void)arg;
	log_fatal("the spawner has ended");
}

void work_init(int to_spawner, unsigned limit)
{
	static const struct job_handler handler = {start, abandon, false};
	spawner = to_spawner;
	spawner_end = loop_watch_new(spawner, spawner_gone, NULL);
	loop_watch_set(spawner_end, LOOP_READ);
	job_init(&handler, limit);
}

void work_log_new(bool is_file, int fd)
{
	char kind = is_file;
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct iovec part = {&kind, sizeof(kind)};
	struct msghdr m = {.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = control.room,
		.msg_controllen = sizeof(control.room)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	/* It comes before the spawner is there, too, which then inherits it. */
	if (spawner_end == NULL)
		return;
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	/* The spawner waits for nothing but this connection. */
	if (sendmsg(spawner, &m, MSG_NOSIGNAL) < 0)
		log_warning("the spawner keeps the old log: %s", err_str(ERR_SYS));
}
