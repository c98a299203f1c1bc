/* SPDX-License-Identifier: ISC */
#include "qmgr/pickup.h"

#include <stdio.h>

#include "qmgr/qmgr.h"
#include "util/mem.h"

/* More wait for the answer of others at their cleanup, which asks again when it is connected anew.
 */
#define QUERIES 10000
#define LOOK_AGAIN (CLOCK_SEC / 10) /* all of them are looked at no more often */

struct query {
	TAILQ_ENTRY(query) link;
	struct server_peer *peer;
	uint64_t request;
	int64_t not_before; /* monotonic: of a no */
	char id[QUEUE_ID_MAX + 1];
};
static TAILQ_HEAD(, query) queries = TAILQ_HEAD_INITIALIZER(queries);
static size_t queries_n;
static struct loop_timer timer;
static int64_t looked;            /* monotonic: when all queries were looked at */
static struct server_peer *asked; /* of what is left; NULL: nobody */
static uint64_t asked_request;

static void answer(struct server_peer *peer, uint64_t request, enum proto_result result)
{
	ipc_begin(peer->ipc, PROTO_PICKUP_ANSWER, request);
	ipc_put_u64(peer->ipc, FIELD_RESULT, result);
	(void)ipc_end(peer->ipc);
}

static void query_free(struct query *q)
{
	TAILQ_REMOVE(&queries, q, link);
	queries_n--;
	mem_free(q);
}

/* In order of time. */
static void answer_all(void)
{
	bool has_read = queue_store_has_read_lost(qmgr.store);
	struct query *q, *next;

	if (queries_n > 0 && loop_now() < looked + LOOK_AGAIN)
		loop_timer_set(&timer, looked + LOOK_AGAIN);
	if (queries_n == 0 || loop_now() < looked + LOOK_AGAIN)
		return;
	looked = loop_now();
	for (q = TAILQ_FIRST(&queries); q != NULL; q = next) {
		bool known = queue_store_knows(qmgr.store, slice_str(q->id));

		next = TAILQ_NEXT(q, link);
		if (!known && (!has_read || q->not_before > loop_now()))
			continue;
		answer(q->peer, q->request, known ? RESULT_OK : RESULT_NOT_FOUND);
		query_free(q);
	}
	if (queries_n > 0)
		loop_timer_set(&timer, loop_now() + LOOK_AGAIN);
}

static void fire(void *arg)
{
	(void)arg;
	qmgr_work();
}

void pickup_query(struct server_peer *peer, struct ipc_msg *msg)
{
	struct slice id = ipc_bytes(msg, FIELD_QUEUE_ID);
	struct query *q;

	if (!queue_id_is_valid(id))
		return;
	if (queue_store_knows(qmgr.store, id)) {
		answer(peer, msg->id, RESULT_OK);
		return;
	}
	if (queries_n == QUERIES)
		return;
	q = mem_alloc(sizeof(*q));
	q->peer = peer;
	q->request = msg->id;
	q->not_before = loop_now() + CLOCK_SEC;
	(void)snprintf(q->id, sizeof(q->id), "%.*s", SLICE_FMT(id));
	TAILQ_INSERT_TAIL(&queries, q, link);
	queries_n++;
	qmgr_work();
}

void pickup_settled(struct server_peer *peer, struct ipc_msg *msg)
{
	if (peer != asked || msg->id != asked_request)
		return;
	asked = NULL;
	queue_store_settled(qmgr.store, true);
	qmgr_work();
}

/* The newest: an older one may be ending. */
void pickup_peer_new(struct server_peer *peer)
{
	(void)peer;
	if (asked == NULL)
		return;
	asked = NULL;
	queue_store_settled(qmgr.store, false);
	qmgr_work();
}

void pickup_peer_gone(struct server_peer *peer)
{
	struct query *q, *next;

	for (q = TAILQ_FIRST(&queries); q != NULL; q = next) {
		next = TAILQ_NEXT(q, link);
		if (q->peer == peer)
			query_free(q);
	}
	if (asked != peer)
		return;
	asked = NULL;
	queue_store_settled(qmgr.store, false);
}

static struct server_peer *newest(void)
{
	struct server_peer *peer, *found = NULL;

	TAILQ_FOREACH(peer, server_peers(ROLE_CLEANUP), next)
	if (found == NULL || peer->worker > found->worker)
		found = peer;
	return found;
}

void pickup_run(void)
{
	struct server_peer *peer = newest();

	if (timer.fire == NULL)
		loop_timer_init(&timer, fire, NULL);
	answer_all();
	/* One question at a time: an answer is about what was there when it was asked. */
	if (asked != NULL || peer == NULL || !queue_store_settle(qmgr.store))
		return;
	asked = peer;
	asked_request = ipc_ask(peer->ipc);
	ipc_begin(peer->ipc, PROTO_PICKUP_SETTLE, asked_request);
	(void)ipc_end(peer->ipc);
}
