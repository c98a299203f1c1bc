/* SPDX-License-Identifier: ISC */
#include "qmgr/intake.h"

#include <stdio.h>

#include "qmgr/ack.h"
#include "qmgr/active.h"
#include "qmgr/ask.h"
#include "qmgr/command.h"
#include "qmgr/pickup.h"
#include "qmgr/qmgr.h"
#include "qmgr/flush.h"
#include "util/log.h"
#include "util/mem.h"

#define READ_AT_ONCE 256
/* Read although there is no place: a notice or forward that a message waits for may be among them.
 */
#define READ_FOR_NOTICES 16
#define QUESTIONS 1000
#define QUESTION_TIME (10 * CLOCK_SEC)

struct question {
	TAILQ_ENTRY(question) link;
	uint64_t worker;
	int64_t until;
	char id[QUEUE_ID_MAX + 1];
};
static TAILQ_HEAD(, question) questions = TAILQ_HEAD_INITIALIZER(questions);
static size_t questions_count;
static bool was_full;

static struct server_peer *find(uint64_t worker)
{
	struct server_peer *peer;

	TAILQ_FOREACH(peer, server_peers(ROLE_CLEANUP), next)
	if (peer->worker == worker)
		return peer;
	return NULL;
}

/* ---- Q6: is it durable? ---- */

static bool answer(const struct question *q)
{
	struct server_peer *peer = find(q->worker);

	if (!queue_store_knows(qmgr.store, slice_str(q->id)))
		return false;
	if (peer != NULL) {
		ipc_begin(peer->ipc, PROTO_ID_DURABLE, 0);
		ipc_put_str(peer->ipc, FIELD_QUEUE_ID, q->id);
		ipc_end(peer->ipc);
	}
	return true;
}

void intake_answer(void)
{
	struct question *q = TAILQ_FIRST(&questions);

	while (q != NULL) {
		struct question *next = TAILQ_NEXT(q, link);

		if (answer(q) || q->until < qmgr_time()) {
			TAILQ_REMOVE(&questions, q, link);
			questions_count--;
			mem_free(q);
		}
		q = next;
	}
}

static void question(const struct server_peer *peer, struct slice id)
{
	struct question *q;

	if (!queue_id_is_valid(id) || questions_count >= QUESTIONS)
		return;
	q = mem_alloc(sizeof(*q));
	q->worker = peer->worker;
	q->until = qmgr_time() + QUESTION_TIME;
	snprintf(q->id, sizeof(q->id), "%.*s", SLICE_FMT(id));
	TAILQ_INSERT_TAIL(&questions, q, link);
	questions_count++;
	intake_answer();
}

/* ---- Segments. ---- */

struct cut {
	uint64_t worker, id;
};

static void noted(void *arg, uint64_t id)
{
	struct cut *cut = arg;
	struct server_peer *peer = find(cut->worker);

	if (peer != NULL) {
		ipc_begin(peer->ipc, PROTO_SEG_NOTED, id);
		ipc_put_u64(peer->ipc, FIELD_RESULT, 0);
		ipc_end(peer->ipc);
	}
	mem_free(cut);
}

static void segment_failed(struct server_peer *peer, struct ipc_msg *msg)
{
	struct queue_cut at = {.segment = (uint32_t)ipc_u64(msg, FIELD_SEGMENT)};
	struct slice generation = ipc_bytes(msg, FIELD_GENERATION);
	struct cut *cut;
	uint64_t ticket;
	int err = ERR_SYNTAX;

	at.offset = ipc_u64(msg, FIELD_OFFSET);
	if (generation.len == QUEUE_GENERATION) {
		memcpy(at.generation, generation.p, QUEUE_GENERATION);
		err = queue_store_worker_cut(qmgr.store, peer->worker, &at, &ticket);
	}
	if (err != 0) {
		log_error("the end of segment %u cannot be noted: %s", at.segment, err_str(err));
		ipc_begin(peer->ipc, PROTO_SEG_NOTED, msg->id);
		ipc_put_u64(peer->ipc, FIELD_RESULT, 2);
		ipc_end(peer->ipc);
		return;
	}
	cut = mem_alloc(sizeof(*cut));
	*cut = (struct cut){peer->worker, msg->id};
	ack_when(ticket, noted, cut, msg->id);
}

static void position(struct server_peer *peer, struct ipc_msg *msg)
{
	uint64_t segment = ipc_u64(msg, FIELD_SEGMENT), durable = ipc_u64(msg, FIELD_DURABLE);
	int err;

	if (segment > UINT32_MAX)
		return;
	if (msg->type == PROTO_SEG_DURABLE)
		err = queue_store_worker_position(
			qmgr.store, peer->worker, (uint32_t)segment, durable);
	else
		err = queue_store_worker_left(qmgr.store, peer->worker, (uint32_t)segment, durable);
	if (err != 0)
		log_warning(
			"segment %llu of cleanup: %s", (unsigned long long)segment, err_str(err));
	qmgr_work();
}

static void say_state(struct server_peer *peer)
{
	ipc_begin(peer->ipc, PROTO_QUEUE_STATE, 0);
	ipc_put_u64(peer->ipc, FIELD_FLAGS, was_full ? 1 : 0);
	ipc_put_u64(peer->ipc, FIELD_SIZE, 0);
	ipc_end(peer->ipc);
}

void intake_new(struct server_peer *peer)
{
	if (was_full)
		say_state(peer);
	ask_peer_new();
	pickup_peer_new(peer);
}

void intake_msg(struct server_peer *peer, struct ipc_msg *msg)
{
	switch (msg->type) {
	case PROTO_SEG_DURABLE:
	case PROTO_SEG_LEFT: position(peer, msg); break;
	case PROTO_SEG_FAIL: segment_failed(peer, msg); break;
	case PROTO_ID_QUERY: question(peer, ipc_bytes(msg, FIELD_QUEUE_ID)); break;
	case PROTO_FLUSH_DOMAIN:
		flush_site(ipc_bytes(msg, FIELD_NAME));
		qmgr_work();
		break;
	case PROTO_PICKUP_QUERY: pickup_query(peer, msg); break;
	case PROTO_PICKUP_SETTLED: pickup_settled(peer, msg); break;
	default: ask_msg(peer, msg); break;
	}
}

void intake_gone(struct server_peer *peer)
{
	ask_peer_gone(peer);
	pickup_peer_gone(peer);
	queue_store_worker_lost(qmgr.store, peer->worker);
	qmgr_work();
}

void intake_run(void)
{
	bool unread = queue_store_has_unread(qmgr.store);
	size_t room = schedule_room(qmgr.schedule, qmgr_time(), unread);
	bool wanted = command_wants_unread(), parks = unread && wanted && room == 0;
	struct server_peer *peer;
	int n = 0;

	if (parks)
		room = READ_AT_ONCE;
	if (unread) {
		if (room < READ_FOR_NOTICES && (ask_notices() > 0 || active_forwards() > 0))
			room = READ_FOR_NOTICES;
		if (room > READ_AT_ONCE)
			room = READ_AT_ONCE;
		active_park_new(parks);
		n = room > 0 ? queue_store_read(qmgr.store, (uint32_t)room, qmgr_now()) : 0;
		active_park_new(false);
		if (n < 0 && n != ERR_AGAIN)
			qmgr_dies("the journal", n);
		if (n > 0)
			intake_answer();
		/* The rest in the next iteration, so that frames are not kept waiting. */
		if (n == (int)room && n > 0)
			qmgr_work_again();
	}
	if (wanted && (!unread || (n >= 0 && n < (int)room)))
		command_has_read();
	pickup_run();
	if (queue_store_is_full(qmgr.store) != was_full) {
		was_full = !was_full;
		log_warning("the queue's file system is %s", was_full ? "full" : "usable again");
		TAILQ_FOREACH(peer, server_peers(ROLE_CLEANUP), next)
		say_state(peer);
	}
}
