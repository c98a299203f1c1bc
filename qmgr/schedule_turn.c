/* SPDX-License-Identifier: ISC */
#include "qmgr/schedule_priv.h"
#include "util/mem.h"

static int flow_cmp(const struct schedule_flow *a, const struct schedule_flow *b)
{
	return a->sender < b->sender ? -1 : a->sender > b->sender;
}

static int sender_cmp(const struct schedule_sender *a, const struct schedule_sender *b)
{
	return a->hash < b->hash ? -1 : a->hash > b->hash;
}

SCHEDULE_TREE(schedule_flows, schedule_flow, by_sender, flow_cmp)
SCHEDULE_TREE(schedule_senders, schedule_sender, link, sender_cmp)

/* ---- Groups that wait in their destination. ---- */

struct schedule_group *schedule_group_new(struct schedule_message *m, struct schedule_dest *d)
{
	struct schedule_group *g = mem_alloc(sizeof(*g));

	g->message = m;
	g->dest = d;
	STAILQ_INIT(&g->rcpts);
	LIST_INSERT_HEAD(&m->groups, g, of_message);
	d->recent = g;
	schedule_group_wait(g);
	return g;
}

void schedule_group_free(struct schedule_group *g)
{
	if (g->dest->recent == g)
		g->dest->recent = NULL;
	LIST_REMOVE(g, of_message);
	mem_free(g);
}

static struct schedule_flow *flow_get(struct schedule_dest *d, uint64_t sender)
{
	struct schedule_flow want = {.sender = sender};
	struct schedule_flow *flow = RB_FIND(schedule_flows, &d->flows, &want);

	if (flow != NULL)
		return flow;
	flow = mem_alloc(sizeof(*flow));
	flow->sender = sender;
	TAILQ_INIT(&flow->groups);
	RB_INSERT(schedule_flows, &d->flows, flow);
	TAILQ_INSERT_TAIL(&d->ring, flow, ring);
	return flow;
}

/* Behind the other senders, or it ends. */
static void flow_return(struct schedule_dest *d, struct schedule_flow *flow)
{
	if (!TAILQ_EMPTY(&flow->groups)) {
		TAILQ_INSERT_TAIL(&d->ring, flow, ring);
		return;
	}
	RB_REMOVE(schedule_flows, &d->flows, flow);
	mem_free(flow);
}

void schedule_group_wait(struct schedule_group *g)
{
	struct schedule_dest *d = g->dest;

	g->flow = flow_get(d, g->message->sender);
	TAILQ_INSERT_TAIL(&g->flow->groups, g, link);
	d->groups++;
}

/* Out of its flow, which keeps its turn while it has more. */
static void flow_leave(struct schedule_group *g)
{
	struct schedule_dest *d = g->dest;
	struct schedule_flow *flow = g->flow;

	TAILQ_REMOVE(&flow->groups, g, link);
	g->flow = NULL;
	if (!TAILQ_EMPTY(&flow->groups) || flow->is_offered)
		return;
	TAILQ_REMOVE(&d->ring, flow, ring);
	flow_return(d, flow);
}

struct schedule_group *schedule_dest_peek(const struct schedule_dest *d)
{
	const struct schedule_flow *flow = TAILQ_FIRST(&d->ring);

	return flow != NULL ? TAILQ_FIRST(&flow->groups) : NULL;
}

struct schedule_group *schedule_dest_take(struct schedule_dest *d)
{
	struct schedule_group *g = schedule_dest_peek(d);
	struct schedule_flow *flow = g->flow;

	TAILQ_REMOVE(&flow->groups, g, link);
	g->flow = NULL;
	TAILQ_REMOVE(&d->ring, flow, ring);
	flow_return(d, flow);
	d->groups--;
	return g;
}

/* ---- Offers. ---- */

static struct schedule_sender *sender_get(struct schedule_transport *t, uint64_t hash)
{
	struct schedule_sender want = {.hash = hash};
	struct schedule_sender *sender = RB_FIND(schedule_senders, &t->senders, &want);

	if (sender != NULL)
		return sender;
	sender = mem_alloc(sizeof(*sender));
	sender->transport = t;
	sender->hash = hash;
	for (int i = 0; i < SCHEDULE_LANES; i++)
		TAILQ_INIT(&sender->lane[i].messages);
	RB_INSERT(schedule_senders, &t->senders, sender);
	return sender;
}

static struct schedule_share *share_get(struct schedule_message *m, const struct schedule_dest *d)
{
	struct schedule_transport *t = d->transport;
	struct schedule_share *share;
	struct schedule_turn *turn;

	for (share = m->shares; share != NULL; share = share->next)
		if (share->lane == d->lane && share->sender->transport == t)
			return share;
	share = mem_alloc(sizeof(*share));
	share->lane = d->lane;
	share->sender = sender_get(t, m->sender);
	TAILQ_INIT(&share->offers);
	share->next = m->shares;
	m->shares = share;
	turn = &share->sender->lane[d->lane];
	if (TAILQ_EMPTY(&turn->messages)) {
		turn->stamp = ++t->stamp;
		TAILQ_INSERT_TAIL(&t->lane[d->lane].senders, share->sender, lane[d->lane].turn);
	}
	TAILQ_INSERT_TAIL(&turn->messages, share, turn);
	return share;
}

static bool is_served(const struct schedule_sender *sender)
{
	for (int i = 0; i < SCHEDULE_LANES; i++)
		if (!TAILQ_EMPTY(&sender->lane[i].messages))
			return false;
	return true;
}

static void share_free(struct schedule_message *m, struct schedule_share *share)
{
	struct schedule_sender *sender = share->sender;
	struct schedule_transport *t = sender->transport;
	struct schedule_turn *turn = &sender->lane[share->lane];
	struct schedule_share **p = &m->shares;

	while (*p != share)
		p = &(*p)->next;
	*p = share->next;
	TAILQ_REMOVE(&turn->messages, share, turn);
	if (TAILQ_EMPTY(&turn->messages))
		TAILQ_REMOVE(&t->lane[share->lane].senders, sender, lane[share->lane].turn);
	if (is_served(sender)) {
		RB_REMOVE(schedule_senders, &t->senders, sender);
		mem_free(sender);
	}
	mem_free(share);
}

/* Of a sender one at a time. */
static void offer(struct schedule_dest *d, struct schedule_group *g)
{
	TAILQ_REMOVE(&d->ring, g->flow, ring);
	TAILQ_REMOVE(&g->flow->groups, g, link);
	g->flow->is_offered = true;
	g->share = share_get(g->message, d);
	TAILQ_INSERT_TAIL(&g->share->offers, g, of_share);
	TAILQ_INSERT_TAIL(&d->offers, g, link);
	d->offered++;
}

static void unoffer(struct schedule_group *g)
{
	struct schedule_share *share = g->share;

	TAILQ_REMOVE(&share->offers, g, of_share);
	TAILQ_REMOVE(&g->dest->offers, g, link);
	g->dest->offered--;
	g->share = NULL;
	g->flow->is_offered = false;
	if (TAILQ_EMPTY(&share->offers))
		share_free(g->message, share);
}

/* It keeps its turn. */
static void take_back(struct schedule_dest *d, struct schedule_group *g)
{
	unoffer(g);
	TAILQ_INSERT_HEAD(&g->flow->groups, g, link);
	TAILQ_INSERT_HEAD(&d->ring, g->flow, ring);
}

void schedule_dest_offer(struct schedule_dest *d, unsigned most)
{
	struct schedule_group *g;

	while (d->offered > most)
		take_back(d, TAILQ_LAST(&d->offers, schedule_ring));
	while (d->offered < most && (g = schedule_dest_peek(d)) != NULL)
		offer(d, g);
}

void schedule_group_leave(struct schedule_group *g)
{
	struct schedule_dest *d = g->dest;

	if (g->share != NULL) {
		unoffer(g);
		flow_return(d, g->flow);
		g->flow = NULL;
	} else {
		flow_leave(g);
	}
	d->groups--;
}

/* ---- Turns. ---- */

/* Of the lanes that may be served the one whose first has waited longest; NULL: there is none. */
static struct schedule_dest *first_dest(const struct schedule_transport *t)
{
	struct schedule_dest *first = NULL, *d;

	for (int i = 0; i < SCHEDULE_LANES; i++) {
		d = TAILQ_FIRST(&t->lane[i].dests);
		if (d != NULL && (first == NULL || d->stamp < first->stamp) &&
			schedule_lane_may(t, i))
			first = d;
	}
	return first;
}

static struct schedule_group *first_of_sender(const struct schedule_transport *t)
{
	const struct schedule_turn *first = NULL;

	for (int i = 0; i < SCHEDULE_LANES; i++) {
		const struct schedule_sender *sender = TAILQ_FIRST(&t->lane[i].senders);

		if (sender != NULL && (first == NULL || sender->lane[i].stamp < first->stamp) &&
			schedule_lane_may(t, i))
			first = &sender->lane[i];
	}
	return TAILQ_FIRST(&TAILQ_FIRST(&first->messages)->offers);
}

/* Who is served waits behind the others: its message, its sender in all lanes, its destination. */
static void pass_turn(struct schedule_transport *t, struct schedule_group *g)
{
	struct schedule_share *share = g->share;
	struct schedule_sender *sender = share->sender;
	struct schedule_dest *d = g->dest;

	TAILQ_REMOVE(&sender->lane[share->lane].messages, share, turn);
	TAILQ_INSERT_TAIL(&sender->lane[share->lane].messages, share, turn);
	/* The lane that served comes last: the next time another one goes first. */
	for (int n = 1; n <= SCHEDULE_LANES; n++) {
		int i = (share->lane + n) % SCHEDULE_LANES;

		if (TAILQ_EMPTY(&sender->lane[i].messages))
			continue;
		TAILQ_REMOVE(&t->lane[i].senders, sender, lane[i].turn);
		TAILQ_INSERT_TAIL(&t->lane[i].senders, sender, lane[i].turn);
		sender->lane[i].stamp = ++t->stamp;
	}
	TAILQ_REMOVE(&t->lane[d->lane].dests, d, list);
	TAILQ_INSERT_TAIL(&t->lane[d->lane].dests, d, list);
	d->stamp = ++t->stamp;
}

/*
 * Every other decision is by destination, every other by sender: so each of either kind gets at
 * least half of what it would get if there were turns of its kind only.
 */
struct schedule_group *schedule_turn_take(struct schedule_transport *t)
{
	struct schedule_dest *d = first_dest(t);
	struct schedule_group *g;

	if (d == NULL)
		return NULL;
	t->by_sender = !t->by_sender;
	g = t->by_sender ? first_of_sender(t) : TAILQ_FIRST(&d->offers);
	pass_turn(t, g);
	schedule_group_leave(g);
	return g;
}
