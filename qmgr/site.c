/* SPDX-License-Identifier: ISC */
#include "qmgr/site.h"

#include "qmgr/active_private.h"
#include "qmgr/memory.h"
#include "qmgr/qmgr.h"
#include "util/mem.h"

#define ASKED_LIMIT 1000 /* questions at once; about more destinations nothing is said */

struct waiter {
	struct active *a; /* NULL: it waits no longer */
	struct active_rcpt *r;
};

struct question {
	TAILQ_ENTRY(question) link;
	struct transport *transport;
	char *key, *nexthop;      /* owned */
	struct server_peer *peer; /* NULL: not asked yet */
	uint64_t id;              /* of the request */
	int64_t until;            /* monotonic */
	struct waiter *waiters;   /* owned */
	size_t n, cap;
};
static TAILQ_HEAD(, question) questions = TAILQ_HEAD_INITIALIZER(questions);
static size_t asked;
static struct loop_timer timer;

static void set_timer(void)
{
	const struct question *q = TAILQ_FIRST(&questions);

	loop_timer_set(&timer, q != NULL ? q->until : CLOCK_NEVER);
}

static void question_free(struct question *q)
{
	if (q->peer != NULL)
		ipc_set_arg(q->peer->ipc, q->id, true, NULL);
	TAILQ_REMOVE(&questions, q, link);
	asked--;
	mem_free(q->waiters);
	mem_free(q->nexthop);
	mem_free(q->key);
	mem_free(q);
	set_timer();
}

static void ask(struct question *q)
{
	struct server_peer *peer = TAILQ_FIRST(server_peers(ROLE_RESOLVER));

	if (peer == NULL)
		return;
	q->peer = peer;
	q->id = ipc_ask(peer->ipc);
	ipc_begin(peer->ipc, PROTO_DNS_SITE, q->id);
	ipc_put_str(peer->ipc, FIELD_NEXTHOP, q->nexthop);
	if (ipc_end(peer->ipc) == 0)
		ipc_set_arg(peer->ipc, q->id, true, q);
	else
		q->peer = NULL;
}

static struct question *find(const struct transport *t, struct slice key)
{
	struct question *q;

	TAILQ_FOREACH(q, &questions, link)
	if (q->transport == t && slice_eq_str(key, q->key))
		return q;
	return NULL;
}

static struct question *question_new(struct transport *t, struct slice key, struct slice nexthop)
{
	struct question *q = mem_alloc(sizeof(*q));

	q->transport = t;
	q->key = slice_dup(key);
	q->nexthop = slice_dup(nexthop);
	q->until = loop_now() + SITE_WAIT;
	TAILQ_INSERT_TAIL(&questions, q, link);
	asked++;
	set_timer();
	ask(q);
	return q;
}

bool site_wait(struct active *a, struct active_rcpt *r, struct slice key)
{
	struct transport *t = r->transport;
	struct question *q;

	if (!schedule_dest_wants_site(qmgr.schedule, qmgr_time(), t->scheduled, key))
		return false;
	q = find(t, key);
	if (q == NULL && asked < ASKED_LIMIT)
		q = question_new(t, key, active_nexthop(a, r));
	if (q == NULL)
		return false;
	if (q->n == q->cap) {
		q->cap = q->cap == 0 ? 8 : 2 * q->cap;
		q->waiters = mem_resize(q->waiters, q->cap, sizeof(*q->waiters));
	}
	q->waiters[q->n++] = (struct waiter){a, r};
	active_wait(a, r);
	r->is_asked = true;
	return true;
}

/* The site is said, or (empty) nothing can be: on with all who wait for it. */
static void answered(struct question *q, struct slice site)
{
	struct waiter *waiters = q->waiters;
	size_t n = q->n;

	schedule_dest_set_site(
		qmgr.schedule, qmgr_time(), q->transport->scheduled, slice_str(q->key), site);
	memory_meet_site(q->transport, slice_str(q->key), site);
	q->waiters = NULL;
	question_free(q);
	for (size_t i = 0; i < n; i++) {
		struct active *a = waiters[i].a;

		if (a != NULL && a->m != NULL && waiters[i].r->state == ACTIVE_RESOLVING)
			active_enqueue(a, waiters[i].r);
	}
	for (size_t i = 0; i < n; i++) {
		bool is_last = waiters[i].a != NULL;

		/* It may be freed: only once each. */
		for (size_t k = i + 1; k < n && is_last; k++)
			is_last = waiters[k].a != waiters[i].a;
		if (is_last)
			active_check(waiters[i].a);
	}
	mem_free(waiters);
	qmgr_work();
}

void site_forget(const struct active *a)
{
	struct question *q;

	TAILQ_FOREACH(q, &questions, link)
	for (size_t i = 0; i < q->n; i++)
		if (q->waiters[i].a == a)
			q->waiters[i].a = NULL;
}

void site_msg(struct ipc_msg *msg)
{
	struct question *q = msg->arg;

	if (msg->type != PROTO_DNS_SITE_ANSWER || q == NULL)
		return;
	q->peer = NULL;
	answered(q, ipc_u64(msg, FIELD_RESULT) == 0 ? ipc_bytes(msg, FIELD_SITE) : SLICE_NONE);
}

void site_peer_new(void)
{
	struct question *q;

	TAILQ_FOREACH(q, &questions, link)
	if (q->peer == NULL)
		ask(q);
}

/* Another one is asked, if it comes in time. */
void site_peer_gone(struct server_peer *peer)
{
	struct question *q;

	TAILQ_FOREACH(q, &questions, link)
	if (q->peer == peer)
		q->peer = NULL;
	site_peer_new();
}

static void too_late(void *arg)
{
	struct question *q;

	(void)arg;
	while ((q = TAILQ_FIRST(&questions)) != NULL && q->until <= loop_now())
		answered(q, SLICE_NONE);
	set_timer();
}

void site_init(void)
{
	loop_timer_init(&timer, too_late, NULL);
}
