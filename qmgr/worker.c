/* SPDX-License-Identifier: ISC */
#include "qmgr/worker.h"

#include "qmgr/ask.h"
#include "qmgr/frames.h"
#include "qmgr/handout.h"
#include "qmgr/held.h"
#include "qmgr/qmgr.h"
#include "qmgr/report.h"
#include "util/dict.h"
#include "util/log.h"
#include "util/mem.h"

#define IDLE_LIMIT 10000 /* destinations with idle sessions that are remembered of a worker */

static TAILQ_HEAD(, worker) workers = TAILQ_HEAD_INITIALIZER(workers);

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
	enum { MOST = 1000000 };

	if (n > 0 && (w->is_leaving || w->room > MOST))
		return;
	w->room = (unsigned)((int)w->room + n);
	transport_room(w->transport, n);
}

void worker_assign(struct job *j)
{
	struct slice nexthop = active_nexthop(j->a, j->rcpts[0]);

	j->worker = choose(j->transport, nexthop);
	if (j->worker == NULL)
		log_panic("no worker of %s has room", j->transport->name);
	TAILQ_INSERT_TAIL(&j->worker->jobs, j, of_work);
	use_idle(j->worker, nexthop);
	set_room(j->worker, -1);
}

void worker_release(struct job *j)
{
	if (j->worker != NULL)
		set_room(j->worker, 1);
}

/* ---- What workers say. ---- */

static void report(struct job *j, struct ipc_msg *msg)
{
	uint64_t index = ipc_u64(msg, FIELD_INDEX);
	struct report said;

	report_read(msg, &said);
	for (uint32_t i = 0; i < j->count; i++)
		if (j->index[i] == index && j->rcpts[i] != NULL) {
			struct active_rcpt *r = j->rcpts[i];

			j->rcpts[i] = NULL;
			j->left--;
			report_give(j->a, r, &said);
			return;
		}
}

/*
 * What is said of mail that leaves without an attempt while the destination rests: as in Postfix
 * with the status of the failure.
 */
static void why_it_rests(struct buf *out, const struct ipc_msg *msg)
{
	struct slice status = ipc_bytes(msg, FIELD_STATUS);

	buf_add_fmt(out, "4%.*s delivery temporarily suspended: %.*s",
		SLICE_FMT(status.len > 0 ? slice_from(status, 1) : SLICE_LIT(".0.0")),
		SLICE_FMT(slice_first(ipc_bytes(msg, FIELD_TEXT), 900)));
}

static void job_end(struct worker *w, struct job *j, struct ipc_msg *msg)
{
	uint64_t flags = ipc_u64(msg, FIELD_FLAGS), id = j->id;
	enum schedule_outcome outcome = flags & 2            ? SCHEDULE_FAILED
					: j->left < j->count ? SCHEDULE_REACHED
							     : SCHEDULE_NEUTRAL;
	struct buf reason = BUF_INIT(1024);

	if (flags & 4) {
		handout_unreadable(j, "a delivery agent found damage");
	} else if (j->lacks_body) {
		handout_unreadable(j, "its body is missing");
	} else {
		if (flags & 2)
			why_it_rests(&reason, msg);
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
			frames_send_content(j);
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
	case PROTO_TRANSCRIPT: ask_transcript(msg); break;
	case PROTO_JOB_RELAY:
		if (j != NULL)
			job_by_relay(j);
		break;
	case PROTO_HELD_ALL:
		w->has_named = true;
		w->transport->falls_back = ipc_u64(msg, FIELD_FLAGS) & 1;
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
	if (j->stage == JOB_SENT && !j->is_gone)
		frames_send_content(j);
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
