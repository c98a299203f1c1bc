/* SPDX-License-Identifier: ISC */
#include "cleanup/link.h"

#include "cleanup/cleanup.h"
#include "cleanup/commit.h"
#include "cleanup/notice.h"
#include "cleanup/pickup.h"
#include "cleanup/resolve.h"
#include "cleanup/space.h"
#include "cleanup/transcript.h"
#include "queue/id.h"
#include "util/log.h"
#include "util/mem.h"

/* Kept free on the connection, for answers and what must not be left out. */
enum { ROOM = 1 << 20 };

/* Who wants to know of an id. smtpd waits 5 s for the answer, so what is older is forgotten. */
enum { QUERIES = 10000, QUERY_SECONDS = 10 };
struct query {
	TAILQ_ENTRY(query) next;
	struct server_peer *author;
	int64_t until;
	char id[QUEUE_ID_MAX + 1];
};

static struct server_peer *qmgr;
static uint32_t present;
static uint64_t told; /* durable offset that qmgr knows */
static bool cut_is_asked, has_failed;
static TAILQ_HEAD(, query) queries = TAILQ_HEAD_INITIALIZER(queries);
static size_t queries_n;

static void say(enum proto_msg type, uint32_t segment, uint64_t durable)
{
	ipc_begin(qmgr->ipc, type, 0);
	ipc_put_u64(qmgr->ipc, FIELD_SEGMENT, segment);
	ipc_put_u64(qmgr->ipc, FIELD_DURABLE, durable);
	(void)ipc_end(qmgr->ipc);
}

void link_durable(void)
{
	uint32_t segment;
	uint64_t durable;

	if (!queue_journal_position(cleanup.journal, &segment, &durable) || qmgr == NULL ||
		durable == told)
		return;
	/* A qmgr that is busy elsewhere is told when it reads again. */
	if (ipc_room(qmgr->ipc) < ROOM)
		return;
	say(PROTO_SEG_DURABLE, segment, durable);
	told = durable;
}

/* Q19: a segment that is left may be forgotten, and so may the ids of files that come back. */
static void keep_files(void)
{
	if (!pickup_sync())
		log_fatal("what was removed from maildrop cannot be synced: ending, so that it is "
			  "not taken twice");
}

void link_new_segment(void)
{
	uint32_t segment;
	uint64_t durable;

	if (!queue_journal_position(cleanup.journal, &segment, &durable))
		return;
	keep_files();
	if (qmgr != NULL && present != 0 && !has_failed)
		say(PROTO_SEG_LEFT, present, told);
	present = segment;
	has_failed = false;
	told = 0;
	link_durable();
}

void link_segment_failed(void)
{
	has_failed = true;
}

uint32_t link_segment(void)
{
	return present;
}

void link_ask_cut(const struct queue_cut *cut)
{
	uint64_t id;

	if (qmgr == NULL || cut_is_asked)
		return;
	keep_files();
	id = ipc_ask(qmgr->ipc);
	ipc_begin(qmgr->ipc, PROTO_SEG_FAIL, id);
	ipc_put_u64(qmgr->ipc, FIELD_SEGMENT, cut->segment);
	ipc_put_bytes(
		qmgr->ipc, FIELD_GENERATION, slice_of(cut->generation, sizeof(cut->generation)));
	ipc_put_u64(qmgr->ipc, FIELD_OFFSET, cut->offset);
	cut_is_asked = ipc_end(qmgr->ipc) == 0;
}

void link_flush(struct slice domain)
{
	if (qmgr == NULL || ipc_room(qmgr->ipc) < ROOM)
		return;
	ipc_begin(qmgr->ipc, PROTO_FLUSH_DOMAIN, 0);
	ipc_put_text(qmgr->ipc, FIELD_NAME, domain);
	(void)ipc_end(qmgr->ipc);
}

/* Ids. */

static void query_free(struct query *q)
{
	TAILQ_REMOVE(&queries, q, next);
	queries_n--;
	mem_free(q);
}

void link_query(struct server_peer *author, struct slice id)
{
	struct query *q = NULL;

	while ((q = TAILQ_FIRST(&queries)) != NULL && q->until < loop_now())
		query_free(q);
	if (qmgr == NULL || queries_n == QUERIES)
		return;
	q = mem_alloc(sizeof(*q));
	q->author = author;
	q->until = loop_now() + QUERY_SECONDS * CLOCK_SEC;
	memcpy(q->id, id.p, id.len);
	TAILQ_INSERT_TAIL(&queries, q, next);
	queries_n++;
	ipc_begin(qmgr->ipc, PROTO_ID_QUERY, 0);
	ipc_put_text(qmgr->ipc, FIELD_QUEUE_ID, id);
	(void)ipc_end(qmgr->ipc);
}

static void pass_on(struct slice id)
{
	struct query *next = NULL;

	for (struct query *q = TAILQ_FIRST(&queries); q != NULL; q = next) {
		next = TAILQ_NEXT(q, next);
		if (!slice_eq_str(id, q->id))
			continue;
		ipc_begin(q->author->ipc, PROTO_ID_DURABLE, 0);
		ipc_put_text(q->author->ipc, FIELD_QUEUE_ID, id);
		(void)ipc_end(q->author->ipc);
		query_free(q);
	}
}

void link_author_gone(struct server_peer *author)
{
	struct query *next = NULL;

	for (struct query *q = TAILQ_FIRST(&queries); q != NULL; q = next) {
		next = TAILQ_NEXT(q, next);
		if (q->author == author)
			query_free(q);
	}
}

/* The peer. */

void link_peer_new(struct server_peer *peer)
{
	qmgr = peer;
	cut_is_asked = false;
	told = 0;
	link_durable();
	commit_qmgr_new();
	pickup_peer_new(peer);
}

void link_peer_room(struct server_peer *peer)
{
	if (peer == qmgr)
		link_durable();
}

void link_peer_gone(struct server_peer *peer)
{
	notice_peer_gone(peer);
	resolve_peer_gone(peer);
	pickup_peer_gone(peer);
	if (qmgr == peer)
		qmgr = NULL;
}

void link_peer_msg(struct server_peer *peer, struct ipc_msg *msg)
{
	switch (msg->type) {
	case PROTO_SEG_NOTED:
		cut_is_asked = false;
		commit_noted(ipc_u64(msg, FIELD_RESULT) == RESULT_OK);
		break;
	case PROTO_ID_DURABLE: pass_on(ipc_bytes(msg, FIELD_QUEUE_ID)); break;
	case PROTO_QUEUE_STATE: space_qmgr(ipc_u64(msg, FIELD_FLAGS) & 1); break;
	case PROTO_PICKUP_ANSWER:
	case PROTO_PICKUP_SETTLE: pickup_peer_msg(peer, msg); break;
	case PROTO_RESOLVE: resolve_msg(peer, msg); break;
	case PROTO_TRANSCRIPT: transcript_msg(msg); break;
	default: notice_msg(peer, msg); break;
	}
}
