/* SPDX-License-Identifier: ISC */
#include "qmgr/site.h"

#include "qmgr/active_private.h"
#include "qmgr/memory.h"
#include "qmgr/qmgr.h"
#include "util/dict.h"
#include "util/mem.h"

#define NAME_SIZE (1000 + QUEUE_STRING_MAX + QUEUE_ADDRESS_MAX)

struct site_waiter {
	TAILQ_ENTRY(site_waiter) link;
	struct question *question;
	struct active *a;
	struct active_rcpt *r;
};
TAILQ_HEAD(waiters, site_waiter);

struct question {
	TAILQ_ENTRY(question) link;
	struct transport *transport;
	char *nexthop;            /* owned, in lower case */
	struct server_peer *peer; /* NULL: not asked yet */
	uint64_t id;              /* of the request */
	int64_t until;            /* monotonic; 0: there was no room for it yet */
	struct waiters waiters;
	bool is_over; /* answered */
};
TAILQ_HEAD(questions, question);
/* In the order of their times, and in that in which they came; each has a waiter at least. */
static struct questions questions = TAILQ_HEAD_INITIALIZER(questions);
static struct questions later = TAILQ_HEAD_INITIALIZER(later);
static struct dict *by_name; /* both, borrowed */
static size_t asked;
static struct loop_timer timer;

static void set_timer(void)
{
	const struct question *q = TAILQ_FIRST(&questions);

	loop_timer_set(&timer, q != NULL ? q->until : CLOCK_NEVER);
}

/* No transport has a line feed in its name. */
static void name_of(const struct transport *t, struct slice nexthop, struct buf *name)
{
	buf_reset(name);
	buf_add_str(name, t->name);
	buf_add_char(name, '\n');
	buf_add_lower(name, nexthop);
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

static void begin(struct question *q)
{
	TAILQ_INSERT_TAIL(&questions, q, link);
	asked++;
	q->until = loop_now() + SITE_WAIT;
	set_timer();
	ask(q);
}

/* Nobody finds it any more; the next one has its place. */
static void question_end(struct question *q)
{
	struct buf name = BUF_INIT(NAME_SIZE);
	struct question *next = TAILQ_FIRST(&later);

	name_of(q->transport, slice_str(q->nexthop), &name);
	(void)dict_take(by_name, buf_slice(&name));
	buf_clear(&name);
	if (q->until == 0) {
		TAILQ_REMOVE(&later, q, link);
		return;
	}
	if (q->peer != NULL)
		ipc_set_arg(q->peer->ipc, q->id, true, NULL);
	TAILQ_REMOVE(&questions, q, link);
	asked--;
	if (next != NULL) {
		TAILQ_REMOVE(&later, next, link);
		begin(next);
	}
	set_timer();
}

static void question_free(struct question *q)
{
	mem_free(q->nexthop);
	mem_free(q);
}

static struct question *question_of(struct transport *t, struct slice nexthop)
{
	struct buf name = BUF_INIT(NAME_SIZE);
	struct question *q;

	name_of(t, nexthop, &name);
	q = dict_get(by_name, buf_slice(&name));
	if (q == NULL) {
		q = mem_alloc(sizeof(*q));
		q->transport = t;
		q->nexthop = slice_dup(slice_from(buf_slice(&name), strlen(t->name) + 1));
		TAILQ_INIT(&q->waiters);
		(void)dict_set(by_name, buf_slice(&name), q);
		if (asked < SITE_QUESTIONS)
			begin(q);
		else
			TAILQ_INSERT_TAIL(&later, q, link);
	}
	buf_clear(&name);
	return q;
}

bool site_wait(struct active *a, struct active_rcpt *r, struct slice key)
{
	struct site_waiter *w;

	if (!schedule_dest_wants_site(qmgr.schedule, qmgr_time(), r->transport->scheduled, key))
		return false;
	site_forget(r);
	w = mem_alloc(sizeof(*w));
	w->question = question_of(r->transport, active_nexthop(a, r));
	w->a = a;
	w->r = r;
	TAILQ_INSERT_TAIL(&w->question->waiters, w, link);
	r->waiter = w;
	active_wait(a, r);
	r->is_asked = true;
	return true;
}

static void waiter_free(struct site_waiter *w)
{
	TAILQ_REMOVE(&w->question->waiters, w, link);
	w->r->waiter = NULL;
	mem_free(w);
}

void site_forget(struct active_rcpt *r)
{
	struct question *q = r->waiter != NULL ? r->waiter->question : NULL;

	if (q == NULL)
		return;
	waiter_free(r->waiter);
	if (!q->is_over && TAILQ_EMPTY(&q->waiters)) {
		question_end(q);
		question_free(q);
	}
}

/* Each recipient may be a destination; they are behind one next hop all the same. */
static void say(const struct question *q, struct slice key, struct slice site, int64_t life)
{
	struct schedule_transport *t = q->transport->scheduled;
	struct slice nexthop = slice_str(q->nexthop);

	if (!schedule_dest_wants_site(qmgr.schedule, qmgr_time(), t, key))
		return;
	if (site.len > 0)
		schedule_dest_set_site(qmgr.schedule, qmgr_time(), t, key, site, life);
	else
		schedule_dest_set_own_site(qmgr.schedule, qmgr_time(), t, key, nexthop);
	memory_meet_site(q->transport, nexthop, site);
}

/* The site is said for so long, or (empty) nothing can be: on with all who wait for it. */
static void answered(struct question *q, struct slice site, int64_t life)
{
	struct buf key = BUF_INIT(QUEUE_STRING_MAX + QUEUE_ADDRESS_MAX);
	struct site_waiter *w;

	question_end(q);
	q->is_over = true;
	while ((w = TAILQ_FIRST(&q->waiters)) != NULL) {
		struct active *a = w->a;
		struct active_rcpt *r = w->r;

		waiter_free(w);
		if (a->m != NULL && r->state == ACTIVE_RESOLVING) {
			active_dest_key(a, r, &key);
			say(q, buf_slice(&key), site, life);
			active_enqueue(a, r);
		}
		/* Once for all of a message that stand together; it may free a. */
		w = TAILQ_FIRST(&q->waiters);
		if (w == NULL || w->a != a)
			active_check(a);
	}
	buf_clear(&key);
	question_free(q);
	qmgr_work();
}

void site_msg(struct ipc_msg *msg)
{
	struct question *q = msg->arg;

	if (msg->type != PROTO_DNS_SITE_ANSWER || q == NULL)
		return;
	q->peer = NULL;
	answered(q, ipc_u64(msg, FIELD_RESULT) == 0 ? ipc_bytes(msg, FIELD_SITE) : SLICE_NONE,
		(int64_t)(uint32_t)ipc_u64(msg, FIELD_TTL) * CLOCK_SEC);
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
		answered(q, SLICE_NONE, 0);
	set_timer();
}

void site_init(void)
{
	by_name = dict_new(SIZE_MAX, NULL);
	loop_timer_init(&timer, too_late, NULL);
}
