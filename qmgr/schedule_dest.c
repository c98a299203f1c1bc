/* SPDX-License-Identifier: ISC */
#include "qmgr/schedule_priv.h"
#include "util/hash.h"
#include "util/mem.h"

#define OFFERS 32

static int schedule_dest_cmp(const struct schedule_dest *a, const struct schedule_dest *b)
{
	if (a->hash != b->hash)
		return a->hash < b->hash ? -1 : 1;
	return slice_cmp(slice_of(a->key, a->key_len), slice_of(b->key, b->key_len));
}

RB_GENERATE(schedule_dests, schedule_dest, by_key, schedule_dest_cmp)

struct schedule_dest *schedule_dest_find(struct schedule_transport *t, struct slice key)
{
	struct schedule_dest want = {.hash = hash_bytes(key), .key_len = (uint32_t)key.len};

	want.key = (char *)(uintptr_t)key.p;
	return RB_FIND(schedule_dests, &t->dests, &want);
}

struct schedule_dest *schedule_dest_get(
	struct schedule *s, struct schedule_transport *t, struct slice key)
{
	struct schedule_dest *d = schedule_dest_find(t, key);

	if (d != NULL)
		return d;
	d = mem_alloc(sizeof(*d));
	d->transport = t;
	d->key = slice_dup(key);
	d->key_len = (uint32_t)key.len;
	d->hash = hash_bytes(key);
	RB_INIT(&d->flows);
	TAILQ_INIT(&d->ring);
	TAILQ_INIT(&d->offers);
	schedule_timer_init(&d->timer, SCHEDULE_OF_DEST, d);
	d->window = schedule_window_first(t);
	d->lane = SCHEDULE_NEW;
	RB_INSERT(schedule_dests, &t->dests, d);
	s->dests++;
	return d;
}

static void count(struct schedule_dest *d, bool counted)
{
	if (counted == d->counted)
		return;
	d->counted = counted;
	d->transport->lane[d->lane].members += counted ? 1u : -1u;
}

void schedule_dest_leave(struct schedule *s, struct schedule_dest *d)
{
	struct schedule_list *list = NULL;

	switch (d->place) {
	case SCHEDULE_IN_NONE: return;
	case SCHEDULE_IN_LANE:
		schedule_dest_offer(d, 0);
		list = &d->transport->lane[d->lane].dests;
		break;
	case SCHEDULE_IN_SITE: list = &d->site->ring; break;
	case SCHEDULE_IN_DRAIN: list = &s->drain; break;
	case SCHEDULE_IN_PREPARE: list = &s->prepare; break;
	default:
		list = &s->idle[d->place - SCHEDULE_IN_IDLE];
		s->idle_count--;
		break;
	}
	TAILQ_REMOVE(list, d, list);
	d->place = SCHEDULE_IN_NONE;
	if (d->admitted) {
		d->admitted = false;
		d->site->admitted--;
		schedule_site_run(s, d->site);
	}
}

static void enter(struct schedule_dest *d, enum schedule_place place, struct schedule_list *list)
{
	TAILQ_INSERT_TAIL(list, d, list);
	d->place = (uint8_t)place;
}

void schedule_dest_drop(struct schedule *s, struct schedule_dest *d)
{
	schedule_dest_leave(s, d);
	count(d, false);
	schedule_timer_set(s, &d->timer, CLOCK_NEVER);
	if (d->site != NULL) {
		d->site->dests--;
		schedule_site_release(s, d->site);
	}
	RB_REMOVE(schedule_dests, &d->transport->dests, d);
	s->dests--;
	mem_free(d->key);
	mem_free(d->reason);
	mem_free(d);
}

/* ---- Without mail. ---- */

bool schedule_dest_is_plain(const struct schedule_dest *d, int64_t now)
{
	return d->timer.due == CLOCK_NEVER && d->cohorts == 0 && !d->probing && !d->proven &&
	       (d->site_until == 0 || !schedule_site_is_limited(d->transport)) &&
	       d->window == schedule_window_first(d->transport) &&
	       schedule_bucket_is_full(&d->bucket, &d->transport->limits.rate, now);
}

size_t schedule_memory_limit(const struct schedule *s)
{
	return s->settings.memory_limit != 0 ? s->settings.memory_limit : SCHEDULE_MEMORY;
}

/* What would be lost by forgetting it: a window or a site; then a rate; then that it is dead. */
static enum schedule_place rank(const struct schedule *s, const struct schedule_dest *d)
{
	if (d->timer.due != CLOCK_NEVER)
		return SCHEDULE_IN_GRAVE;
	return schedule_bucket_is_full(&d->bucket, &d->transport->limits.rate, s->now)
		       ? SCHEDULE_IN_IDLE
		       : SCHEDULE_IN_USED;
}

static void forget_one(struct schedule *s)
{
	for (int i = 0; i < SCHEDULE_RANKS; i++) {
		struct schedule_dest *d = TAILQ_FIRST(&s->idle[i]);

		if (d == NULL)
			continue;
		schedule_dest_drop(s, d);
		return;
	}
}

static void place_idle(struct schedule *s, struct schedule_dest *d)
{
	enum schedule_place place;

	schedule_dest_leave(s, d);
	if (d->jobs > 0 || d->ahead > 0)
		return;
	if (schedule_dest_is_plain(d, s->now)) {
		schedule_dest_drop(s, d);
		return;
	}
	place = rank(s, d);
	enter(d, place, &s->idle[place - SCHEDULE_IN_IDLE]);
	if (++s->idle_count > schedule_memory_limit(s))
		forget_one(s);
}

/* ---- With mail. ---- */

static void place_drain(struct schedule *s, struct schedule_dest *d)
{
	if (d->place == SCHEDULE_IN_DRAIN)
		return;
	schedule_dest_leave(s, d);
	enter(d, SCHEDULE_IN_DRAIN, &s->drain);
}

/* Waits for a token, by its timer. */
static bool lacks_token(struct schedule *s, struct schedule_dest *d)
{
	int64_t next = schedule_bucket_next(&d->bucket, &d->transport->limits.rate, s->now);

	if (next <= s->now)
		return false;
	schedule_timer_set(s, &d->timer, next);
	d->for_token = true;
	return true;
}

/* Of a full one. What has a rate has nothing to prepare for. */
static bool may_prepare(const struct schedule *s, const struct schedule_dest *d)
{
	const struct schedule_limits *limits = &d->transport->limits;
	const struct schedule_group *g = schedule_dest_peek(d);

	return d->proven && d->ahead < SCHEDULE_AHEAD * d->window &&
	       s->ahead < SCHEDULE_AHEAD_RCPTS && limits->rate_delay == 0 &&
	       limits->transport_rate_delay == 0 && limits->rate.count == 0 &&
	       !schedule_site_is_limited(d->transport) && g != NULL && g->message->loaded;
}

static void place_full(struct schedule *s, struct schedule_dest *d)
{
	schedule_dest_leave(s, d);
	if (may_prepare(s, d))
		enter(d, SCHEDULE_IN_PREPARE, &s->prepare);
}

/*
 * More offers than may go now, so that a sender's turn finds it; but not all at once while jobs are
 * out, for they are taken back when the destination is full, and each end of a job makes more. When
 * none is out nothing else would, before its own turn.
 */
void schedule_dest_enter_lane(struct schedule_dest *d)
{
	struct schedule_transport *t = d->transport;
	bool is_busy = d->jobs + d->ahead > 0;

	if (d->place != SCHEDULE_IN_LANE) {
		d->stamp = ++t->stamp;
		enter(d, SCHEDULE_IN_LANE, &t->lane[d->lane].dests);
	}
	schedule_dest_offer(d, is_busy && d->offered + 2 < OFFERS ? d->offered + 2 : OFFERS);
}

static void place_open(struct schedule *s, struct schedule_dest *d, bool served)
{
	struct schedule_site *site;

	if (!schedule_site_is_limited(d->transport)) {
		if (d->place != SCHEDULE_IN_LANE)
			schedule_dest_leave(s, d);
		schedule_dest_enter_lane(d);
		return;
	}
	site = schedule_site_of(s, d);
	if (d->place == SCHEDULE_IN_SITE)
		return;
	if (d->admitted && !served) {
		schedule_dest_enter_lane(d);
		return;
	}
	schedule_dest_leave(s, d);
	enter(d, SCHEDULE_IN_SITE, &site->ring);
	schedule_site_run(s, site);
}

/* Which lane it is for; it leaves the other one first. */
static void choose_lane(struct schedule *s, struct schedule_dest *d)
{
	uint8_t lane = !d->tried ? SCHEDULE_NEW : d->proven ? SCHEDULE_QUICK : SCHEDULE_BAD;

	if (d->probing || d->pace >= SCHEDULE_SLOW / CLOCK_MSEC)
		lane = SCHEDULE_BAD;
	if (lane == d->lane)
		return;
	if (d->place == SCHEDULE_IN_LANE)
		schedule_dest_leave(s, d);
	count(d, false);
	d->lane = lane;
}

void schedule_dest_place(struct schedule *s, struct schedule_dest *d, bool served)
{
	struct schedule_transport *t = d->transport;

	choose_lane(s, d);
	count(d, d->groups > 0 || d->jobs > 0);
	if (d->groups == 0)
		place_idle(s, d);
	else if (d->window == 0 || t->suspended)
		place_drain(s, d);
	else if (d->timer.due != CLOCK_NEVER || lacks_token(s, d))
		schedule_dest_leave(s, d);
	else if (d->jobs + d->ahead < d->window)
		place_open(s, d, served);
	else
		place_full(s, d);
	schedule_transport_place(s, t);
}

struct schedule_transport *schedule_dest_transport(const struct schedule_dest *d)
{
	return d->transport;
}

struct slice schedule_dest_key(const struct schedule_dest *d)
{
	return slice_of(d->key, d->key_len);
}

struct slice schedule_dest_reason(const struct schedule_dest *d)
{
	return slice_str(d->transport->suspended ? d->transport->reason : d->reason);
}

unsigned schedule_dest_window(const struct schedule_dest *d)
{
	return d->window;
}
