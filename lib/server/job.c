/* SPDX-License-Identifier: ISC */
#include "server/job.h"

#include <string.h>

#include "server/server.h"
#include "util/err.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/mem.h"

struct job_list jobs = TAILQ_HEAD_INITIALIZER(jobs);

static struct ipc *qmgr;    /* the present one, once it has been spoken to */
static struct ipc *waiting; /* connected while the old one is not drained */
static struct ipc *old;     /* to be drained first */
/* For jobs that were sent before qmgr knew that this worker leaves. */
enum { LEAVE_TIME = 100 * 1000 };

static const struct job_handler *handler;
static struct loop_timer leaving;
static unsigned limit;
static size_t working;
static bool is_withdrawing; /* no more jobs are worked on */

static void left(void *arg)
{
	(void)arg;
	if (working == 0) {
		(void)job_flush_dots();
		server_done();
	}
}

void job_init(const struct job_handler *how, unsigned at_once)
{
	handler = how;
	limit = at_once;
	loop_timer_init(&leaving, left, NULL);
}

size_t job_working(void)
{
	return working;
}

static void report_clear(struct job_report *r)
{
	mem_free(r->remote);
	mem_free(r->diagnostic);
	mem_free(r->text);
	mem_free(r->transport);
	mem_free(r->nexthop);
}

static void content_clear(struct job *j)
{
	buf_clear(&j->content);
	buf_clear(&j->body_sums);
	fd_close(&j->body_fd);
}

static void job_free(struct job *j)
{
	for (size_t i = 0; i < j->n; i++) {
		mem_free(j->rcpts[i].address);
		mem_free(j->rcpts[i].orig_to);
		mem_free(j->rcpts[i].orcpt);
		report_clear(&j->rcpts[i].report);
	}
	TAILQ_REMOVE(&jobs, j, link);
	content_clear(j);
	mem_free(j->rcpts);
	mem_free(j->id);
	mem_free(j->sender);
	mem_free(j->transport);
	mem_free(j->nexthop);
	mem_free(j->envid);
	mem_free(j->client_name);
	mem_free(j->client_addr);
	mem_free(j->client_helo);
	mem_free(j->client_protocol);
	mem_free(j->origin_ident);
	mem_free(j);
}

/* ---- Reports. ---- */

static void put_report(struct ipc *c, const struct job_rcpt *r)
{
	const struct job_report *p = &r->report;
	ipc_put_u64(c, FIELD_INDEX, r->index);
	ipc_put_u64(c, FIELD_RESULT, p->result);
	ipc_put_str(c, FIELD_STATUS, p->status);
	if (p->remote != NULL) {
		ipc_put_str(c, FIELD_REMOTE, p->remote);
	}
	if (p->diagnostic != NULL) {
		ipc_put_str(c, FIELD_DIAGNOSTIC, p->diagnostic);
	}
	if (p->text != NULL) {
		ipc_put_str(c, FIELD_TEXT, p->text);
	}
	if (p->transport != NULL) {
		ipc_put_str(c, FIELD_TRANSPORT, p->transport);
		ipc_put_str(c, FIELD_NEXTHOP, p->nexthop != NULL ? p->nexthop : "");
	}
	if (p->facts.code != 0)
		ipc_put_u64(c, FIELD_CODE, p->facts.code);
	if (p->facts.stage != STAGE_NONE)
		ipc_put_u64(c, FIELD_STAGE, p->facts.stage);
	if (p->facts.flags != 0)
		ipc_put_u64(c, FIELD_FLAGS, p->facts.flags);
}

static void send_held_report(const struct job *j, const struct job_rcpt *r)
{
	ipc_begin(qmgr, PROTO_HELD_REPORT, 0);
	ipc_put_u64(qmgr, FIELD_JOB, j->number);
	ipc_put_str(qmgr, FIELD_QUEUE_ID, j->id);
	put_report(qmgr, r);
	(void)ipc_end(qmgr);
}

static void send_held_end(const struct job *j)
{
	ipc_begin(qmgr, PROTO_HELD_END, 0);
	ipc_put_u64(qmgr, FIELD_JOB, j->number);
	ipc_put_str(qmgr, FIELD_QUEUE_ID, j->id);
	(void)ipc_end(qmgr);
}

static void tell(struct job *j, struct job_rcpt *r)
{
	r->state = RCPT_DONE;
	r->report.facts = j->facts;
	j->open--;
	if (j->qmgr != NULL) {
		ipc_begin(j->qmgr, PROTO_JOB_REPORT, j->request);
		put_report(j->qmgr, r);
		(void)ipc_end(j->qmgr);
	} else if (qmgr != NULL) {
		send_held_report(j, r);
	}
}

void job_report(struct job *j, struct job_rcpt *r, enum proto_result result, const char *status,
	const char *remote, const char *diagnostic, const char *text)
{
	struct job_report *p = &r->report;
	p->result = result;
	strlcpy(p->status, status, sizeof(p->status));
	p->remote = mem_str(remote);
	p->diagnostic = mem_str(diagnostic);
	p->text = mem_str(text);
	tell(j, r);
}

void job_reroute(struct job *j, struct job_rcpt *r, const char *transport, const char *nexthop)
{
	struct job_report *p = &r->report;
	p->result = RESULT_REROUTE;
	strlcpy(p->status, "4.3.0", sizeof(p->status));
	p->transport = mem_str(transport);
	p->nexthop = mem_str(nexthop);
	tell(j, r);
}

static void say_room(unsigned n)
{
	if (qmgr != NULL && n > 0 && !server_is_stopping()) {
		ipc_begin(qmgr, PROTO_WORKER_ROOM, 0);
		ipc_put_u64(qmgr, FIELD_COUNT, n);
		(void)ipc_end(qmgr);
	}
}

/* A connection that has ended holds no dot up: its reader is gone, a new one will be told. */
static bool is_flushed(struct ipc *c)
{
	return c == NULL || ipc_flush(c) == ERR_CLOSED || ipc_unsent(c) == 0;
}

bool job_flush_dots(void)
{
	return is_flushed(qmgr) && is_flushed(old);
}

void job_end(struct job *j, unsigned flags, const char *status, const char *text)
{
	j->work = NULL;
	working -= j->state == JOB_WORKING;
	j->state = JOB_ENDED;
	content_clear(j);
	if (j->qmgr != NULL) {
		ipc_begin(j->qmgr, PROTO_JOB_END, j->request);
		ipc_put_u64(j->qmgr, FIELD_FLAGS, flags);
		if (text != NULL) {
			ipc_put_str(j->qmgr, FIELD_STATUS, status);
			ipc_put_str(j->qmgr, FIELD_TEXT, text);
		}
		(void)ipc_end(j->qmgr);
		/* The end of a request takes its pointer away; JOB_NOTED is to find it. */
		ipc_set_arg(j->qmgr, j->request, false, j);
	} else if (qmgr != NULL) {
		send_held_end(j);
	}
	say_room(1);
	if (server_is_stopping() && working == 0) {
		loop_timer_set(&leaving, loop_now() + LEAVE_TIME);
	}
}

void job_dot(struct job *j)
{
	j->dot = true;
	if (j->qmgr != NULL) {
		(void)ipc_send(j->qmgr, PROTO_JOB_DOT, j->request);
	}
}

void job_relay(struct job *j)
{
	if (!j->relay && j->qmgr != NULL)
		(void)ipc_send(j->qmgr, PROTO_JOB_RELAY, j->request);
	j->relay = true;
}

void job_say_idle(const char *nexthop, unsigned sessions)
{
	struct slice rest = slice_str(server_service()), transport;

	if (qmgr != NULL && slice_part(&rest, '/', &transport)) {
		ipc_begin(qmgr, PROTO_SESSION_IDLE, 0);
		ipc_put_text(qmgr, FIELD_TRANSPORT, transport);
		ipc_put_str(qmgr, FIELD_NEXTHOP, nexthop);
		ipc_put_u64(qmgr, FIELD_COUNT, sessions);
		(void)ipc_end(qmgr);
	}
}

static void say_leaving(void)
{
	if (qmgr != NULL) {
		ipc_begin(qmgr, PROTO_WORKER_ROOM, 0);
		ipc_put_u64(qmgr, FIELD_COUNT, 0);
		(void)ipc_end(qmgr);
	}
}

void job_leave(void)
{
	say_leaving();
	if (working == 0) {
		loop_timer_set(&leaving, loop_now() + LEAVE_TIME);
	}
}

/* Withdraws what has not been delivered; harmless when nothing is open. */
static void report_untried(struct job *j)
{
	for (size_t i = 0; i < j->n; i++) {
		if (j->rcpts[i].state != RCPT_DONE) {
			job_report(j, &j->rcpts[i], RESULT_UNTRIED, "4.3.2", NULL, NULL, NULL);
		}
	}
}

static void withdraw(struct job *j)
{
	if (j->state == JOB_ENDED || j->dot) {
		return;
	}
	if (j->work != NULL) {
		handler->abandon(j);
	}
	report_untried(j);
	job_end(j, 0, NULL, NULL);
}

void job_withdraw_all(void)
{
	struct job *j, *next;

	is_withdrawing = true;
	say_leaving();
	TAILQ_FOREACH_SAFE(j, &jobs, link, next)
	{
		if (j->state == JOB_WORKING) {
			withdraw(j);
		}
	}
	left(NULL);
}

/* ---- A new qmgr. ---- */

static void tell_held(const struct job *j)
{
	ipc_begin(qmgr, PROTO_HELD_JOB, 0);
	ipc_put_u64(qmgr, FIELD_JOB, j->number);
	ipc_put_str(qmgr, FIELD_QUEUE_ID, j->id);
	ipc_put_u64(qmgr, FIELD_FLAGS, j->dot | (j->relay ? 2u : 0));
	for (size_t i = 0; i < j->n && ipc_frame_room(qmgr) > 16; i++) {
		/* More than fit into a frame are in doubt for the new one, which errs on that side.
		 */
		ipc_put_u64(qmgr, FIELD_INDEX, j->rcpts[i].index);
	}
	(void)ipc_end(qmgr);
	for (size_t i = 0; i < j->n; i++) {
		if (j->rcpts[i].state == RCPT_DONE) {
			send_held_report(j, &j->rcpts[i]);
		}
	}
	if (j->state == JOB_ENDED) {
		send_held_end(j);
	}
}

/* The old connection is drained: what is held is said, then work may come. */
static void speak(struct ipc *c)
{
	struct job *j;
	qmgr = c;
	waiting = NULL;
	TAILQ_FOREACH(j, &jobs, link)
	{
		if (j->qmgr == NULL) {
			tell_held(j);
		}
	}
	ipc_begin(qmgr, PROTO_HELD_ALL, 0);
	if (handler->falls_back)
		ipc_put_u64(qmgr, FIELD_FLAGS, 1);
	(void)ipc_end(qmgr);
	if (server_is_stopping()) {
		say_leaving();
	}
	say_room(limit > working ? limit - (unsigned)working : 1);
}

void job_qmgr_new(struct ipc *c)
{
	if (qmgr != NULL) {
		old = qmgr;
		qmgr = NULL;
	}
	waiting = c;
	if (old == NULL) {
		speak(c);
	}
}

void job_qmgr_gone(struct ipc *c)
{
	struct job *j, *next;
	TAILQ_FOREACH_SAFE(j, &jobs, link, next)
	{
		if (j->qmgr != c) {
			continue;
		}
		j->qmgr = NULL;
		if (j->state == JOB_COMING) {
			report_untried(j);
			j->state = JOB_ENDED;
			content_clear(j);
		}
	}
	qmgr = qmgr == c ? NULL : qmgr;
	waiting = waiting == c ? NULL : waiting;
	old = old == c ? NULL : old;
	if (old == NULL && waiting != NULL) {
		speak(waiting);
	}
}

/* ---- Frames. ---- */

static char *text_of(const struct ipc_msg *m, enum proto_field f)
{
	return ipc_has(m, f) ? slice_dup(ipc_bytes(m, f)) : NULL;
}

static void take_job(struct ipc *c, const struct ipc_msg *m)
{
	struct job *j = mem_alloc(sizeof(*j));
	j->qmgr = c;
	j->request = m->id;
	j->number = ipc_u64(m, FIELD_JOB);
	j->id = text_of(m, FIELD_QUEUE_ID);
	j->sender = text_of(m, FIELD_SENDER);
	j->transport = text_of(m, FIELD_TRANSPORT);
	j->nexthop = text_of(m, FIELD_NEXTHOP);
	j->envid = text_of(m, FIELD_ENVID);
	j->client_name = text_of(m, FIELD_CLIENT_NAME);
	j->client_addr = text_of(m, FIELD_CLIENT_ADDR);
	j->client_helo = text_of(m, FIELD_HELO);
	j->client_protocol = text_of(m, FIELD_PROTOCOL);
	j->client_port = (unsigned)ipc_u64(m, FIELD_CLIENT_PORT);
	j->origin_ident = text_of(m, FIELD_ORIGIN_IDENT);
	j->arrival = (int64_t)ipc_u64(m, FIELD_TIME);
	j->active = (int64_t)ipc_u64(m, FIELD_ACTIVE);
	j->deadline = (int64_t)ipc_u64(m, FIELD_DEADLINE);
	j->size = ipc_u64(m, FIELD_SIZE);
	j->header_len = ipc_u64(m, FIELD_HEADER_LEN);
	j->flags = (unsigned)ipc_u64(m, FIELD_FLAGS);
	j->ret = (unsigned)ipc_u64(m, FIELD_RET);
	j->body = (unsigned)ipc_u64(m, FIELD_BODY);
	j->content = BUF_INIT(JOB_CONTENT_MAX);
	j->body_sums = BUF_INIT(IPC_FRAME_LIMIT);
	j->body_fd = -1;
	TAILQ_INSERT_TAIL(&jobs, j, link);
	ipc_set_arg(c, m->id, false, j);
}

static void take_rcpt(struct job *j, const struct ipc_msg *m)
{
	if (j->n == JOB_RCPTS_MAX) {
		return; /* no report comes for it: qmgr finds that at the job's end */
	}
	if (j->n == j->cap) {
		j->cap = j->cap > 0 ? j->cap * 2 : 4;
		j->rcpts = mem_resize(j->rcpts, j->cap, sizeof(*j->rcpts));
	}
	j->rcpts[j->n++] = (struct job_rcpt){
		.index = ipc_u64(m, FIELD_INDEX),
		.address = text_of(m, FIELD_RECIPIENT),
		.orig_to = text_of(m, FIELD_ORIG_TO),
		.orcpt = text_of(m, FIELD_ORCPT),
		.notify = (unsigned)ipc_u64(m, FIELD_NOTIFY),
		.attempts = (unsigned)ipc_u64(m, FIELD_ATTEMPTS),
		.via = (unsigned)ipc_u64(m, FIELD_VIA),
	};
	j->open++;
}

/* Small content needs no grant: it fits into what a request begins with. */
static void take_data(struct job *j, const struct ipc_msg *m)
{
	if (buf_add_slice(&j->content, ipc_bytes(m, FIELD_BYTES)) != 0) {
		return;
	}
	if (j->content.len - j->granted_at >= IPC_CREDIT / 2) {
		ipc_begin(j->qmgr, PROTO_JOB_GRANT, j->request);
		ipc_put_u64(j->qmgr, FIELD_SIZE, j->content.len - j->granted_at);
		(void)ipc_end(j->qmgr);
		j->granted_at = j->content.len;
	}
}

static void take_body(struct job *j, struct ipc_msg *m)
{
	fd_close(&j->body_fd);
	j->body_fd = ipc_take_fd(m);
	j->body_size = ipc_u64(m, FIELD_SIZE);
	j->body_offset = ipc_u64(m, FIELD_OFFSET);
	(void)buf_add_slice(&j->body_sums, ipc_bytes(m, FIELD_BYTES));
}

static void take_go(struct job *j)
{
	j->state = JOB_WORKING;
	working++;
	if (is_withdrawing) {
		withdraw(j);
		return;
	}
	handler->start(j);
}

static void held_noted(uint64_t number)
{
	struct job *j, *next;
	TAILQ_FOREACH_SAFE(j, &jobs, link, next)
	{
		if (j->qmgr == NULL && j->number == number && j->state == JOB_ENDED) {
			job_free(j);
		}
	}
}

void job_qmgr_msg(struct ipc *c, struct ipc_msg *m)
{
	struct job *j = m->arg;
	if (m->type == PROTO_JOB) {
		take_job(c, m);
		return;
	}
	if (m->type == PROTO_HELD_NOTED) {
		held_noted(ipc_u64(m, FIELD_JOB));
		return;
	}
	if (j == NULL) {
		return;
	}
	switch (m->type) {
	case PROTO_JOB_RCPT: take_rcpt(j, m); break;
	case PROTO_JOB_DATA: take_data(j, m); break;
	case PROTO_JOB_BODY: take_body(j, m); break;
	case PROTO_JOB_GO: take_go(j); break;
	case PROTO_JOB_CANCEL: withdraw(j); break;
	case PROTO_JOB_NOTED: job_free(j); break;
	default: break;
	}
}
