/* SPDX-License-Identifier: ISC */
#include "qmgr/schedule_priv.h"
#include "util/mem.h"

static int future_cmp(const struct schedule_group *a, const struct schedule_group *b)
{
	if (a->tag != b->tag)
		return a->tag < b->tag ? -1 : 1;
	return a < b ? -1 : a > b;
}

static int flow_cmp(const struct schedule_flow *a, const struct schedule_flow *b)
{
	return a->sender < b->sender ? -1 : a->sender > b->sender;
}

static int sender_cmp(const struct schedule_sender *a, const struct schedule_sender *b)
{
	return a->hash < b->hash ? -1 : a->hash > b->hash;
}

SCHEDULE_TREE(schedule_future, schedule_group, future, future_cmp)
SCHEDULE_TREE(schedule_flows, schedule_flow, by_sender, flow_cmp)
SCHEDULE_TREE(schedule_senders, schedule_sender, link, sender_cmp)

static struct schedule_sender *sender_get(struct schedule_transport *t, uint64_t hash)
{
	struct schedule_sender want = {.hash = hash};
	struct schedule_sender *sender = RB_FIND(schedule_senders, &t->senders, &want);

	if (sender == NULL) {
		sender = mem_alloc(sizeof(*sender));
		sender->hash = hash;
		RB_INSERT(schedule_senders, &t->senders, sender);
	}
	return sender;
}

/*
 * The sender pays one turn for the message as a whole; its groups then go on from there, further
 * apart the more messages the sender has: a thousand newsletters of one sender together get not
 * much more than the one newsletter of another.
 */
struct schedule_share *schedule_share_get(
	struct schedule *s, struct schedule_message *m, struct schedule_transport *t)
{
	struct schedule_share *share;

	for (share = m->shares; share != NULL; share = share->next)
		if (share->transport == t)
			return share;
	share = mem_alloc(sizeof(*share));
	share->transport = t;
	share->sender = sender_get(t, m->sender);
	share->sender->shares++;
	share->tag = share->sender->finish > t->vtime ? share->sender->finish : t->vtime;
	share->sender->finish = share->tag + SCHEDULE_TURN;
	share->spacing = (uint64_t)SCHEDULE_TURN * share->sender->shares;
	share->next = m->shares;
	m->shares = share;
	return share;
}

void schedule_shares_free(struct schedule_message *m)
{
	struct schedule_share *share;

	while ((share = m->shares) != NULL) {
		m->shares = share->next;
		if (--share->sender->shares == 0) {
			RB_REMOVE(schedule_senders, &share->transport->senders, share->sender);
			mem_free(share->sender);
		}
		mem_free(share);
	}
}

static void ring_add(struct schedule_dest *d, struct schedule_group *g)
{
	struct schedule_flow want = {.sender = g->message->sender};
	struct schedule_flow *flow = RB_FIND(schedule_flows, &d->flows, &want);

	if (flow == NULL) {
		flow = mem_alloc(sizeof(*flow));
		flow->sender = want.sender;
		TAILQ_INIT(&flow->groups);
		RB_INSERT(schedule_flows, &d->flows, flow);
		TAILQ_INSERT_TAIL(&d->ring, flow, ring);
	}
	g->flow = flow;
	TAILQ_INSERT_TAIL(&flow->groups, g, ring);
}

void schedule_group_enqueue(struct schedule *s, struct schedule_group *g)
{
	struct schedule_dest *d = g->dest;

	if (g->tag <= d->transport->vtime) {
		ring_add(d, g);
	} else {
		g->flow = NULL;
		RB_INSERT(schedule_future, &d->future, g);
	}
	d->groups++;
}

void schedule_group_dequeue(struct schedule_group *g)
{
	struct schedule_dest *d = g->dest;
	struct schedule_flow *flow = g->flow;

	d->groups--;
	if (flow == NULL) {
		RB_REMOVE(schedule_future, &d->future, g);
		return;
	}
	TAILQ_REMOVE(&flow->groups, g, ring);
	g->flow = NULL;
	if (TAILQ_EMPTY(&flow->groups)) {
		RB_REMOVE(schedule_flows, &d->flows, flow);
		TAILQ_REMOVE(&d->ring, flow, ring);
		mem_free(flow);
	}
}

/* Bounded, so that a destination that was blocked for long costs no step more than another. */
static void migrate(struct schedule_dest *d)
{
	for (unsigned n = 0; n < SCHEDULE_MIGRATE; n++) {
		struct schedule_group *g = RB_MIN(schedule_future, &d->future);

		if (g == NULL || g->tag > d->transport->vtime)
			return;
		RB_REMOVE(schedule_future, &d->future, g);
		ring_add(d, g);
	}
}

uint64_t schedule_dest_first(struct schedule_dest *d)
{
	const struct schedule_group *g;

	if (!TAILQ_EMPTY(&d->ring))
		return d->transport->vtime;
	g = RB_MIN(schedule_future, &d->future);
	return g->tag > d->transport->vtime ? g->tag : d->transport->vtime;
}

struct schedule_group *schedule_dest_peek(struct schedule_dest *d)
{
	struct schedule_flow *flow;

	migrate(d);
	flow = TAILQ_FIRST(&d->ring);
	return flow != NULL ? TAILQ_FIRST(&flow->groups) : RB_MIN(schedule_future, &d->future);
}

struct schedule_group *schedule_dest_take(struct schedule_dest *d)
{
	struct schedule_group *g = schedule_dest_peek(d);
	struct schedule_flow *flow = g != NULL ? g->flow : NULL;

	if (flow != NULL) {
		TAILQ_REMOVE(&d->ring, flow, ring);
		TAILQ_INSERT_TAIL(&d->ring, flow, ring);
	}
	if (g != NULL)
		schedule_group_dequeue(g);
	return g;
}
