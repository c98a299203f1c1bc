/* SPDX-License-Identifier: ISC */
#include "qmgr/worker.h"

#include "qmgr/held.h"
#include "qmgr/line.h"
#include "qmgr/qmgr.h"
#include "mail/address.h"
#include "util/dict.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/mem.h"

#define IDLE_LIMIT 10000 /* destinations with idle sessions that are remembered of a worker */
#define DATA_PIECE 64000
#define AHEAD_BYTES (16u << 20) /* content of jobs that may not start yet */
#define HEAD_SIZE 65536         /* room wanted beside the content for a job's other frames */

enum stage { STAGE_NOTING, STAGE_LINING, STAGE_READING, STAGE_READY, STAGE_SENT, STAGES };

struct job {
	TAILQ_ENTRY(job) link;    /* in the list of its stage */
	TAILQ_ENTRY(job) of_work; /* in its worker's */
	struct schedule_job *scheduled;
	struct active *a;
	struct transport *transport;
	struct worker *worker; /* NULL: made ahead, not started */
	uint64_t number, id;   /* id: the request on the worker's connection */
	uint64_t wait, line;   /* ticket; line that must be with the log */
	struct buf content;    /* what is not sent yet */
	enum stage stage;
	size_t ahead_bytes; /* counted in the sum below */
	bool has_doubt, has_dot, is_gone, is_over;
	bool lacks_body;            /* its file is missing */
	uint32_t count, left;       /* recipients; without report */
	struct active_rcpt **rcpts; /* NULL: reported */
	uint32_t *index;
	bool *was_doubt; /* each recipient, before the hand-out */
};
TAILQ_HEAD(jobs, job);

struct worker {
	TAILQ_ENTRY(worker) link;
	struct server_peer *peer;
	struct transport *transport;
	unsigned room;
	struct dict *idle; /* next hop → number of idle sessions (uint32_t) */
	struct jobs jobs;
	bool has_named;
	bool is_leaving; /* it takes no more jobs */
};

static TAILQ_HEAD(, worker) workers = TAILQ_HEAD_INITIALIZER(workers);
static struct jobs lists[STAGES] = {
	TAILQ_HEAD_INITIALIZER(lists[0]),
	TAILQ_HEAD_INITIALIZER(lists[1]),
	TAILQ_HEAD_INITIALIZER(lists[2]),
	TAILQ_HEAD_INITIALIZER(lists[3]),
	TAILQ_HEAD_INITIALIZER(lists[4]),
};
static size_t sent_jobs, ahead_bytes;

/* The content that was read last: the jobs of a message mostly come one after the other. */
static struct {
	char id[QUEUE_ID_MAX + 1];
	struct buf content;
} last = {.content = {.limit = QUEUE_RECORD_MAX}};

static void set_stage(struct job *j, enum stage stage)
{
	TAILQ_REMOVE(&lists[j->stage], j, link);
	sent_jobs -= j->stage == STAGE_SENT;
	j->stage = stage;
	sent_jobs += stage == STAGE_SENT;
	TAILQ_INSERT_TAIL(&lists[stage], j, link);
}

size_t worker_jobs(void)
{
	return sent_jobs;
}

/* ---- Making and ending a job. ---- */

static uint64_t next_number(void)
{
	static uint64_t number;

	/* Not used twice by two lives of qmgr: workers keep jobs over its death. */
	if (number == 0)
		number = (uint64_t)clock_real();
	return number++;
}

static struct job *job_new(struct schedule_job *sj)
{
	struct job *j = mem_alloc(sizeof(*j));
	struct schedule_rcpt *link;
	uint32_t n = 0;

	j->scheduled = sj;
	j->a = schedule_message_owner(sj->message);
	j->number = next_number();
	j->count = j->left = sj->count;
	j->rcpts = mem_array(j->count, sizeof(*j->rcpts));
	j->index = mem_array(j->count, sizeof(*j->index));
	j->was_doubt = mem_array(j->count, sizeof(*j->was_doubt));
	buf_init(&j->content, QUEUE_RECORD_MAX);
	while ((link = STAILQ_FIRST(&sj->rcpts)) != NULL) {
		struct active_rcpt *r = (struct active_rcpt *)(void *)link;

		STAILQ_REMOVE_HEAD(&sj->rcpts, next);
		r->state = ACTIVE_OUT;
		j->rcpts[n] = r;
		j->index[n] = r->index;
		j->was_doubt[n] = j->a->m->r[r->index].state == QUEUE_R_DOUBT;
		j->has_doubt |= j->was_doubt[n];
		n++;
	}
	j->transport = j->rcpts[0]->transport;
	TAILQ_INSERT_TAIL(&lists[STAGE_NOTING], j, link);
	return j;
}

static void not_ahead(struct job *j)
{
	ahead_bytes -= j->ahead_bytes;
	j->ahead_bytes = 0;
}

static void job_free(struct job *j, enum schedule_outcome outcome, struct slice reason)
{
	struct active *a = j->a;
	struct transport *t = j->transport;

	not_ahead(j);
	TAILQ_REMOVE(&lists[j->stage], j, link);
	sent_jobs -= j->stage == STAGE_SENT;
	if (j->worker != NULL)
		TAILQ_REMOVE(&j->worker->jobs, j, of_work);
	schedule_job_done(qmgr.schedule, &j->scheduled, qmgr_now(), outcome, reason);
	/* A job that has ended makes room only when its worker says so. */
	transport_room(t, 0);
	buf_clear(&j->content);
	mem_free(j->rcpts);
	mem_free(j->index);
	mem_free(j->was_doubt);
	mem_free(j);
	active_check(a);
	qmgr_work();
}

/* Those without report, in the order of the job. */
static uint32_t job_rest(const struct job *j, uint32_t *index)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < j->count; i++)
		if (j->rcpts[i] != NULL)
			index[n++] = j->index[i];
	return n;
}

/* Takes the job back: those without report were not delivered for certain. */
static void job_take_back(struct job *j)
{
	uint32_t *rest = mem_array(j->count, sizeof(*rest));
	uint32_t n = job_rest(j, rest);
	struct active *a = j->a;
	bool refused =
		n > 0 && a->m != NULL && queue_store_withdraw(a->m, rest, n, qmgr_now()) != 0;

	for (uint32_t i = 0; i < j->count; i++) {
		struct active_rcpt *r = j->rcpts[i];

		j->rcpts[i] = NULL;
		if (r == NULL)
			continue;
		if (refused)
			active_result(a, r, QUEUE_EV_DEFERRED, SLICE_LIT("4.3.0"), SLICE_NONE,
				SLICE_LIT("delivery agent ended"));
		else
			active_again(a, r);
	}
	j->left = 0;
	mem_free(rest);
}

/* The worker died behind its dot: noted, then sent again, which the log will say first (Q16). */
static void job_doubt(struct job *j, const char *reason)
{
	uint32_t *rest = mem_array(j->count, sizeof(*rest));
	uint32_t n = job_rest(j, rest);
	struct active *a = j->a;
	uint64_t ticket;

	if (n > 0 && a->m != NULL)
		queue_store_in_doubt(a->m, rest, n, reason, qmgr_now(), &ticket);
	for (uint32_t i = 0; i < j->count; i++)
		if (j->rcpts[i] != NULL) {
			active_again(a, j->rcpts[i]);
			j->rcpts[i] = NULL;
		}
	j->left = 0;
	mem_free(rest);
}

/* ---- Which worker. ---- */

static bool has_idle(const struct worker *w, struct slice nexthop)
{
	return w->idle != NULL && dict_get(w->idle, nexthop) != NULL;
}

static void use_idle(struct worker *w, struct slice nexthop)
{
	uint32_t *n = w->idle != NULL ? dict_get(w->idle, nexthop) : NULL;

	if (n != NULL && --*n == 0)
		dict_remove(w->idle, nexthop);
}

/* One that holds an idle session to the destination, else the one with the most room. */
static struct worker *choose(const struct transport *t, struct slice nexthop)
{
	struct worker *best = NULL, *w;

	TAILQ_FOREACH(w, &workers, link)
	{
		if (w->transport != t || w->room == 0)
			continue;
		if (has_idle(w, nexthop))
			return w;
		if (best == NULL || w->room > best->room)
			best = w;
	}
	return best;
}

static void set_room(struct worker *w, int n)
{
	if (w->is_leaving && n > 0)
		return;
	w->room = (unsigned)((int)w->room + n);
	transport_room(w->transport, n);
}

/* ---- Decided by the scheduler. ---- */

static void suspend_rcpt(struct active *a, struct active_rcpt *r, const struct schedule_job *sj)
{
	struct buf text = BUF_INIT(QUEUE_EVENT_TEXT_MAX);

	buf_add_str(&text, "delivery temporarily suspended: ");
	buf_add_slice(&text, slice_first(schedule_dest_reason(sj->dest), 900));
	line_result("error", a, r, "deferred", SLICE_LIT("4.4.1"), buf_slice(&text));
	active_result(a, r, QUEUE_EV_DEFERRED, SLICE_LIT("4.4.1"), SLICE_NONE, buf_slice(&text));
	buf_clear(&text);
}

static void suspended(struct schedule_job *sj)
{
	struct active *a = schedule_message_owner(sj->message);
	struct schedule_rcpt *link;

	while ((link = STAILQ_FIRST(&sj->rcpts)) != NULL) {
		STAILQ_REMOVE_HEAD(&sj->rcpts, next);
		suspend_rcpt(a, (struct active_rcpt *)(void *)link, sj);
	}
	schedule_job_done(qmgr.schedule, &sj, qmgr_now(), SCHEDULE_NEUTRAL, SLICE_NONE);
	active_check(a);
}

/* There is one with room: the scheduler knows how much there is. */
static void assign(struct job *j)
{
	struct slice nexthop = active_nexthop(j->a, j->rcpts[0]);

	j->worker = choose(j->transport, nexthop);
	if (j->worker == NULL)
		log_panic("no worker of %s has room", j->transport->name);
	TAILQ_INSERT_TAIL(&j->worker->jobs, j, of_work);
	use_idle(j->worker, nexthop);
	set_room(j->worker, -1);
}

/* A job that was not sent leaves room. */
static void unassign(struct job *j)
{
	if (j->worker != NULL)
		set_room(j->worker, 1);
}

void worker_job(struct schedule_job *sj)
{
	struct job *j;
	int err;

	if (sj->suspended) {
		suspended(sj);
		return;
	}
	j = job_new(sj);
	err = queue_store_handout(j->a->m, j->index, j->count, qmgr_now(), &j->wait);
	if (err == 0) {
		if (!sj->ahead)
			assign(j);
		return;
	}
	if (err != ERR_STATE && err != ERR_FULL)
		qmgr_dies("a hand-out", err);
	/* Held or deleted in this very moment; or the log is full, which the next decision sees. */
	for (uint32_t i = 0; i < j->count; i++)
		active_again(j->a, j->rcpts[i]);
	job_free(j, SCHEDULE_NEUTRAL, SLICE_NONE);
}

/* ---- Sending. ---- */

static void put_message(struct ipc *c, const struct job *j)
{
	const struct queue_envelope *env = &j->a->m->env;
	struct buf envid = BUF_INIT(4096);

	ipc_begin(c, PROTO_JOB, j->id);
	ipc_put_u64(c, FIELD_JOB, j->number);
	ipc_put_str(c, FIELD_QUEUE_ID, j->a->m->id);
	ipc_put_text(c, FIELD_SENDER, env->sender);
	ipc_put_str(c, FIELD_TRANSPORT, j->worker->transport->name);
	ipc_put_text(c, FIELD_NEXTHOP, active_nexthop(j->a, j->rcpts[0]));
	ipc_put_u64(c, FIELD_TIME, (uint64_t)env->arrival);
	ipc_put_u64(c, FIELD_ACTIVE, (uint64_t)j->a->since);
	ipc_put_u64(c, FIELD_SIZE, env->size);
	ipc_put_u64(c, FIELD_HEADER_LEN, env->header_len);
	ipc_put_u64(c, FIELD_FLAGS, env->flags);
	if (env->envid.len > 0) {
		address_xtext_encode(&envid, env->envid);
		ipc_put_text(c, FIELD_ENVID, buf_slice(&envid));
	}
	if (env->ret != QUEUE_RET_NONE)
		ipc_put_u64(c, FIELD_RET, env->ret);
	if (env->body != QUEUE_BODY_NONE)
		ipc_put_u64(c, FIELD_BODY, env->body);
	if (env->client_name.len > 0)
		ipc_put_text(c, FIELD_CLIENT_NAME, env->client_name);
	if (env->client_addr.len > 0)
		ipc_put_text(c, FIELD_CLIENT_ADDR, env->client_addr);
	if (env->helo.len > 0)
		ipc_put_text(c, FIELD_HELO, env->helo);
	if (env->protocol.len > 0)
		ipc_put_text(c, FIELD_PROTOCOL, env->protocol);
	ipc_end(c);
	buf_clear(&envid);
}

/* The address of ORCPT goes as xtext on the wire, and so between processes. */
static void put_orcpt(struct ipc *c, struct slice orcpt)
{
	struct buf out = BUF_INIT(4 * QUEUE_STRING_MAX);
	ptrdiff_t at = slice_find(orcpt, ';');

	if (at < 0)
		return;
	buf_add_slice(&out, slice_first(orcpt, (size_t)at + 1));
	if (slice_case_starts(orcpt, "utf-8;"))
		buf_add_slice(&out, slice_from(orcpt, (size_t)at + 1));
	else
		address_xtext_encode(&out, slice_from(orcpt, (size_t)at + 1));
	if (buf_slice(&out).len <= proto_field_max(FIELD_ORCPT))
		ipc_put_text(c, FIELD_ORCPT, buf_slice(&out));
	buf_clear(&out);
}

static void put_rcpts(struct ipc *c, const struct job *j)
{
	for (uint32_t i = 0; i < j->count; i++) {
		struct queue_recipient to = active_recipient(j->a, j->rcpts[i]);

		ipc_begin(c, PROTO_JOB_RCPT, j->id);
		ipc_put_u64(c, FIELD_INDEX, to.index);
		ipc_put_text(c, FIELD_RECIPIENT, to.address);
		if (to.orig_to.len > 0)
			ipc_put_text(c, FIELD_ORIG_TO, to.orig_to);
		put_orcpt(c, to.orcpt);
		if (to.notify != 0)
			ipc_put_u64(c, FIELD_NOTIFY, to.notify);
		ipc_put_u64(c, FIELD_ATTEMPTS, j->a->m->r[to.index].attempts);
		ipc_end(c);
	}
}

static int put_body(struct ipc *c, const struct job *j)
{
	int fd = -1, err;

	if (!(j->a->m->env.flags & QUEUE_FLAG_BODY_FILE))
		return 0;
	err = queue_store_body(j->a->m, &fd);
	if (err != 0)
		return err;
	ipc_begin(c, PROTO_JOB_BODY, j->id);
	ipc_put_u64(c, FIELD_SIZE, j->a->m->env.body_len);
	return ipc_end_fd(c, &fd);
}

/* What credit and room allow; JOB_GO behind the last byte. */
static void send_content(struct job *j)
{
	struct ipc *c = j->worker->peer->ipc;

	while (buf_slice(&j->content).len > 0) {
		size_t credit = ipc_credit(c, j->id), room = ipc_room(c);
		struct slice piece = slice_first(buf_slice(&j->content), DATA_PIECE);

		if (room < HEAD_SIZE)
			return;
		piece = slice_first(piece, credit);
		if (piece.len == 0)
			return;
		ipc_begin(c, PROTO_JOB_DATA, j->id);
		ipc_put_bytes(c, FIELD_BYTES, piece);
		if (ipc_end(c) != 0)
			return;
		buf_consume(&j->content, piece.len);
	}
	buf_clear(&j->content);
	if (!j->is_gone && !j->is_over) {
		j->is_gone = true;
		ipc_send(c, PROTO_JOB_GO, j->id);
	}
}

static void unreadable(struct job *j, const char *reason)
{
	struct active *a = j->a;
	struct queue_message *m = a->m;
	uint64_t ticket;

	job_take_back(j);
	if (j->stage != STAGE_SENT)
		unassign(j);
	if (m != NULL) {
		log_warning("%s: %s: moved to corrupt", m->id, reason);
		queue_store_corrupt(m, reason, qmgr_now(), &ticket);
	}
	a->is_passing = true;
	job_free(j, SCHEDULE_NEUTRAL, SLICE_NONE);
	a->is_passing = false;
	active_withdraw(a);
}

/* Made ahead: false when it cannot go now; then it may be gone. */
static bool start_job(struct job *j)
{
	int err = schedule_job_start(qmgr.schedule, j->scheduled, qmgr_now());

	if (err == 0) {
		not_ahead(j);
		assign(j);
		return true;
	}
	if (err == ERR_AGAIN)
		return false;
	for (uint32_t i = 0; i < j->count; i++)
		suspend_rcpt(j->a, j->rcpts[i], j->scheduled);
	job_free(j, SCHEDULE_NEUTRAL, SLICE_NONE);
	return false;
}

static void send_job(struct job *j)
{
	struct ipc *c;
	int err;

	if (j->worker == NULL && !start_job(j))
		return;
	c = j->worker->peer->ipc;
	if (ipc_room(c) < buf_slice(&j->content).len / 8 + HEAD_SIZE)
		return;
	err = queue_store_send(j->a->m, j->index, j->count);
	if (err == ERR_AGAIN) {
		set_stage(j, STAGE_NOTING);
		return;
	}
	if (err != 0) {
		job_take_back(j);
		unassign(j);
		job_free(j, SCHEDULE_NEUTRAL, SLICE_NONE);
		return;
	}
	set_stage(j, STAGE_SENT);
	j->id = ipc_ask(c);
	put_message(c, j);
	ipc_set_arg(c, j->id, true, j);
	put_rcpts(c, j);
	err = put_body(c, j);
	if (err != 0 && err != ERR_CLOSED) {
		j->is_over = true;
		j->lacks_body = err == ERR_NOT_FOUND;
		ipc_send(c, PROTO_JOB_CANCEL, j->id);
		log_warning("%s: its body cannot be opened: %s", j->a->m->id, err_str(err));
		return;
	}
	send_content(j);
}

static void got_content(struct job *j, int result, struct slice content)
{
	if (result == 0 && buf_add_slice(&j->content, content) == 0) {
		set_stage(j, STAGE_READY);
	} else if (result == ERR_CORRUPT) {
		unreadable(j, "content is damaged");
	} else {
		job_take_back(j);
		unassign(j);
		job_free(j, SCHEDULE_NEUTRAL, SLICE_NONE);
	}
}

static void read_content(struct job *j)
{
	struct queue_message *m = j->a->m;
	int err = 0;

	if (strcmp(last.id, m->id) != 0) {
		buf_reset(&last.content);
		strlcpy(last.id, m->id, sizeof(last.id));
		err = queue_store_content(m, &last.content);
		if (err != 0)
			last.id[0] = '\0';
	}
	if (err == ERR_LATER)
		set_stage(j, STAGE_READING);
	else
		got_content(j, err, buf_slice(&last.content));
}

void worker_content(struct queue_message *m, int result, struct slice content)
{
	struct job *j = TAILQ_FIRST(&lists[STAGE_READING]);

	while (j != NULL) {
		struct job *next = TAILQ_NEXT(j, link);

		if (j->a->m == m)
			got_content(j, result, content);
		j = next;
	}
	qmgr_work();
}

/* The state alone decides: the event with the reason may have left the log with a clean stop. */
static void say_doubt(struct job *j)
{
	const struct queue_message *m = j->a->m;

	for (uint32_t i = 0; i < j->count; i++) {
		struct queue_event ev = {0};
		struct slice reason = SLICE_LIT("no result before the last stop");

		if (!j->was_doubt[i])
			continue;
		if (queue_store_last(m, j->index[i], &ev) && ev.type == QUEUE_EV_IN_DOUBT)
			reason = ev.text;
		j->line = line_in_doubt(m, j->index[i], reason);
	}
}

static bool is_void(struct job *j)
{
	if (j->a->m != NULL)
		return false;
	job_take_back(j);
	unassign(j);
	job_free(j, SCHEDULE_NEUTRAL, SLICE_NONE);
	return true;
}

/* What is not needed yet may fill only so much memory. */
static bool may_read(struct job *j)
{
	size_t size = (size_t)j->a->m->env.size;

	if (j->worker != NULL)
		return true;
	if (ahead_bytes > 0 && ahead_bytes + size > AHEAD_BYTES)
		return false;
	ahead_bytes += size;
	j->ahead_bytes = size;
	return true;
}

void worker_run(void)
{
	struct job *j, *next;

	for (j = TAILQ_FIRST(&lists[STAGE_NOTING]); j != NULL; j = next) {
		next = TAILQ_NEXT(j, link);
		if (is_void(j) || j->wait > queue_store_durable(qmgr.store) || !may_read(j))
			continue;
		if (j->has_doubt && j->line == 0)
			say_doubt(j);
		if (j->line != 0)
			set_stage(j, STAGE_LINING);
		else
			read_content(j);
	}
	if (!TAILQ_EMPTY(&lists[STAGE_LINING]))
		log_flush();
	for (j = TAILQ_FIRST(&lists[STAGE_LINING]); j != NULL; j = next) {
		next = TAILQ_NEXT(j, link);
		if (!is_void(j) && log_is_written(j->line))
			read_content(j);
	}
	for (j = TAILQ_FIRST(&lists[STAGE_READY]); j != NULL; j = next) {
		next = TAILQ_NEXT(j, link);
		if (!is_void(j))
			send_job(j);
	}
}

bool worker_has_lines(void)
{
	return !TAILQ_EMPTY(&lists[STAGE_LINING]);
}

/* ---- What workers say. ---- */

static enum queue_event_type type_of(uint64_t result)
{
	switch (result) {
	case RESULT_OK: return QUEUE_EV_DELIVERED;
	case RESULT_FAILED:
	case RESULT_NOT_FOUND: return QUEUE_EV_FAILED;
	case RESULT_EXPIRED: return QUEUE_EV_EXPIRED;
	default: return QUEUE_EV_DEFERRED;
	}
}

void worker_result(struct active *a, struct active_rcpt *r, const struct worker_result *result)
{
	bool is_reroute = result->result == RESULT_REROUTE;

	if (result->result == RESULT_PASSED) {
		active_passed(a, r);
		return;
	}
	if (result->result != RESULT_UNTRIED && !is_reroute) {
		active_result(a, r, type_of(result->result), result->status, result->remote,
			result->text);
		return;
	}
	if (a->m != NULL && queue_store_give_back(a->m, r->index, qmgr_now()) != 0) {
		active_result(a, r, QUEUE_EV_DEFERRED, SLICE_LIT("4.3.0"), SLICE_NONE,
			SLICE_LIT("delivery agent gave it back"));
		return;
	}
	if (is_reroute && result->transport.len > 0) {
		mem_free(r->nexthop);
		r->nexthop = slice_dup(result->nexthop);
		r->transport = transport_get(result->transport);
	}
	active_again(a, r);
}

static void report(struct job *j, struct ipc_msg *msg)
{
	uint64_t index = ipc_u64(msg, FIELD_INDEX);
	struct worker_result result = {
		.result = ipc_u64(msg, FIELD_RESULT),
		.status = ipc_bytes(msg, FIELD_STATUS),
		.remote = ipc_bytes(msg, FIELD_REMOTE),
		.text = ipc_bytes(msg, ipc_has(msg, FIELD_TEXT) ? FIELD_TEXT : FIELD_DIAGNOSTIC),
		.transport = ipc_bytes(msg, FIELD_TRANSPORT),
		.nexthop = ipc_bytes(msg, FIELD_NEXTHOP),
	};

	for (uint32_t i = 0; i < j->count; i++)
		if (j->index[i] == index && j->rcpts[i] != NULL) {
			struct active_rcpt *r = j->rcpts[i];

			j->rcpts[i] = NULL;
			j->left--;
			worker_result(j->a, r, &result);
			return;
		}
}

static void job_end(struct worker *w, struct job *j, struct ipc_msg *msg)
{
	uint64_t flags = ipc_u64(msg, FIELD_FLAGS), id = j->id;
	enum schedule_outcome outcome = flags & 2            ? SCHEDULE_FAILED
					: j->left < j->count ? SCHEDULE_REACHED
							     : SCHEDULE_NEUTRAL;
	struct buf reason = BUF_INIT(1024);

	if (flags & 4) {
		unreadable(j, "a delivery agent found damage");
	} else if (j->lacks_body) {
		unreadable(j, "its body is missing");
	} else {
		buf_add_slice(&reason, slice_first(ipc_bytes(msg, FIELD_TEXT), 1000));
		if (j->left > 0)
			job_take_back(j);
		job_free(j, outcome, buf_slice(&reason));
	}
	/* The worker forgets the reports with this: notes go to the page cache first. */
	queue_store_flush(qmgr.store);
	ipc_send(w->peer->ipc, PROTO_JOB_NOTED, id);
	buf_clear(&reason);
}

static void set_idle(struct worker *w, struct ipc_msg *msg)
{
	struct slice nexthop = ipc_bytes(msg, FIELD_NEXTHOP);
	uint64_t count = ipc_u64(msg, FIELD_COUNT);
	uint32_t *n;

	if (w->idle == NULL)
		w->idle = dict_new(IDLE_LIMIT, mem_free);
	if (count == 0) {
		dict_remove(w->idle, nexthop);
		return;
	}
	n = mem_alloc(sizeof(*n));
	*n = count > UINT32_MAX ? UINT32_MAX : (uint32_t)count;
	if (dict_set(w->idle, nexthop, n) != 0)
		mem_free(n);
}

void worker_msg(struct server_peer *peer, struct ipc_msg *msg)
{
	struct worker *w = peer->arg;
	struct job *j = msg->arg;
	uint64_t n;

	switch (msg->type) {
	case PROTO_JOB_GRANT:
		if (j != NULL)
			send_content(j);
		break;
	case PROTO_JOB_DOT:
		if (j != NULL)
			j->has_dot = true;
		break;
	case PROTO_JOB_REPORT:
		if (j != NULL)
			report(j, msg);
		break;
	case PROTO_JOB_END:
		if (j != NULL)
			job_end(w, j, msg);
		break;
	case PROTO_WORKER_ROOM:
		n = ipc_u64(msg, FIELD_COUNT);
		w->is_leaving = w->is_leaving || n == 0;
		set_room(w, n == 0 ? -(int)w->room : n > 100000 ? 100000 : (int)n);
		break;
	case PROTO_SESSION_IDLE: set_idle(w, msg); break;
	case PROTO_HELD_ALL:
		w->has_named = true;
		qmgr_work();
		break;
	default: held_msg(peer, msg); break;
	}
}

void worker_new(struct server_peer *peer)
{
	struct worker *w = mem_alloc(sizeof(*w));
	struct slice service = slice_str(peer->service), name = SLICE_NONE;

	slice_part(&service, '/', &name);
	w->peer = peer;
	w->transport = transport_get(name);
	TAILQ_INIT(&w->jobs);
	TAILQ_INSERT_TAIL(&workers, w, link);
	peer->arg = w;
	transport_workers(w->transport, 1);
}

void worker_gone(struct server_peer *peer)
{
	struct worker *w = peer->arg;
	struct job *j;

	TAILQ_REMOVE(&workers, w, link);
	transport_room(w->transport, -(int)w->room);
	w->room = 0;
	while ((j = TAILQ_FIRST(&w->jobs)) != NULL) {
		if (j->has_dot)
			job_doubt(j, "delivery agent died");
		else
			job_take_back(j);
		job_free(j, SCHEDULE_NEUTRAL, SLICE_NONE);
	}
	held_gone(peer);
	transport_workers(w->transport, -1);
	dict_free(&w->idle);
	mem_free(w);
	peer->arg = NULL;
	qmgr_work();
}

void worker_room(struct server_peer *peer)
{
	struct worker *w = peer->arg;
	struct job *j;

	TAILQ_FOREACH(j, &w->jobs, of_work)
	if (j->stage == STAGE_SENT && !j->is_gone)
		send_content(j);
	qmgr_work();
}

bool worker_all_named(void)
{
	struct worker *w;

	TAILQ_FOREACH(w, &workers, link)
	if (!w->has_named)
		return false;
	return true;
}

void worker_withdraw(struct active *a)
{
	for (enum stage s = STAGE_NOTING; s < STAGE_SENT; s++) {
		struct job *j = TAILQ_FIRST(&lists[s]);

		while (j != NULL) {
			struct job *next = TAILQ_NEXT(j, link);

			if (a == NULL || j->a == a) {
				job_take_back(j);
				unassign(j);
				job_free(j, SCHEDULE_NEUTRAL, SLICE_NONE);
			}
			j = next;
		}
	}
}

void worker_withdraw_ahead(void)
{
	for (enum stage s = STAGE_NOTING; s < STAGE_SENT; s++) {
		struct job *j = TAILQ_FIRST(&lists[s]);

		while (j != NULL) {
			struct job *next = TAILQ_NEXT(j, link);

			if (j->worker == NULL) {
				job_take_back(j);
				job_free(j, SCHEDULE_NEUTRAL, SLICE_NONE);
			}
			j = next;
		}
	}
}

void worker_cancel_all(void)
{
	struct job *j;

	worker_withdraw(NULL);
	TAILQ_FOREACH(j, &lists[STAGE_SENT], link)
	if (!j->has_dot && j->worker != NULL)
		ipc_send(j->worker->peer->ipc, PROTO_JOB_CANCEL, j->id);
}
