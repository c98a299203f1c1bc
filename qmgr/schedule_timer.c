/* SPDX-License-Identifier: ISC */
#include "qmgr/schedule_priv.h"
#include "util/mem.h"

static int schedule_timer_cmp(const struct schedule_timer *a, const struct schedule_timer *b)
{
	if (a->due != b->due)
		return a->due < b->due ? -1 : 1;
	return a < b ? -1 : a > b;
}

RB_GENERATE(schedule_timers, schedule_timer, link, schedule_timer_cmp)

void schedule_timer_init(struct schedule_timer *timer, enum schedule_timer_of of, void *owner)
{
	timer->due = CLOCK_NEVER;
	timer->of = of;
	timer->owner = owner;
}

void schedule_timer_set(struct schedule *s, struct schedule_timer *timer, int64_t due)
{
	if (timer->due != CLOCK_NEVER)
		RB_REMOVE(schedule_timers, &s->timers, timer);
	timer->due = due;
	if (due != CLOCK_NEVER)
		RB_INSERT(schedule_timers, &s->timers, timer);
}

int64_t schedule_timers_next(const struct schedule *s)
{
	/* RB_MIN only reads. */
	const struct schedule_timer *timer =
		RB_MIN(schedule_timers, &((struct schedule *)(uintptr_t)s)->timers);

	return timer != NULL ? timer->due : CLOCK_NEVER;
}

/* ---- Transports. ---- */

/* Destinations of the lane; those whose first job is out are still new. */
static uint64_t members(const struct schedule_transport *t, int lane)
{
	const struct schedule_lane *fresh = &t->lane[SCHEDULE_NEW];
	unsigned n = t->lane[lane].members;

	if (lane == SCHEDULE_NEW)
		return (uint64_t)n + fresh->busy;
	return n > fresh->busy ? n - fresh->busy : 0;
}

/*
 * As long as an eighth of the room is free everybody may have it. Then new destinations get what is
 * theirs by number and at least a quarter (it is one job each), and bad ones half of what is
 * theirs: the others find room, whatever those hold.
 */
bool schedule_lane_may(const struct schedule_transport *t, int lane)
{
	uint64_t all = 0, part;

	if (t->busy >= t->capacity)
		return false;
	if (lane == SCHEDULE_QUICK || t->capacity - t->busy > t->capacity / 8)
		return true;
	for (int i = 0; i < SCHEDULE_LANES; i++)
		all += t->lane[i].members;
	part = all == 0 ? 0 : t->capacity * members(t, lane) / all;
	if (lane == SCHEDULE_BAD)
		part /= 2;
	else if (part < t->capacity / 4)
		part = t->capacity / 4;
	return t->lane[lane].busy < (part > 0 ? part : 1);
}

static bool may_serve(const struct schedule_transport *t)
{
	for (int i = 0; i < SCHEDULE_LANES; i++)
		if (!TAILQ_EMPTY(&t->lane[i].dests) && schedule_lane_may(t, i))
			return true;
	return false;
}

void schedule_lane_age(const struct schedule *s, struct schedule_transport *t)
{
	struct schedule_lane *bad = &t->lane[SCHEDULE_BAD];
	struct schedule_job *job;

	for (int i = 0; i < SCHEDULE_BAD; i++) {
		while ((job = TAILQ_FIRST(&t->lane[i].jobs)) != NULL &&
			s->now - job->since >= SCHEDULE_SLOW) {
			TAILQ_REMOVE(&t->lane[i].jobs, job, link);
			t->lane[i].busy--;
			job->lane = SCHEDULE_BAD;
			TAILQ_INSERT_TAIL(&bad->jobs, job, link);
			bad->busy++;
		}
	}
}

int64_t schedule_lane_next(const struct schedule *s)
{
	const struct schedule_transport *t;
	const struct schedule_job *job;
	int64_t next = CLOCK_NEVER;

	TAILQ_FOREACH(t, &s->transports, link)
	{
		job = TAILQ_FIRST(&t->lane[SCHEDULE_NEW].jobs);
		if (job == NULL || t->suspended || TAILQ_EMPTY(&t->lane[SCHEDULE_NEW].dests))
			continue;
		if (t->busy < t->capacity && job->since + SCHEDULE_SLOW < next)
			next = job->since + SCHEDULE_SLOW;
	}
	return next;
}

void schedule_transport_place(struct schedule *s, struct schedule_transport *t)
{
	bool runnable;

	schedule_lane_age(s, t);
	runnable = !t->suspended && !t->delayed && may_serve(t);
	if (runnable == t->is_runnable)
		return;
	if (runnable)
		TAILQ_INSERT_TAIL(&s->runnable, t, runnable);
	else
		TAILQ_REMOVE(&s->runnable, t, runnable);
	t->is_runnable = runnable;
}

/* All of its destinations with mail, after a change that concerns them all. */
static void place_all(struct schedule *s, struct schedule_transport *t)
{
	struct schedule_dest *d = RB_MIN(schedule_dests, &t->dests);

	while (d != NULL) {
		struct schedule_dest *next = RB_NEXT(schedule_dests, &t->dests, d);

		if (d->window > 0)
			schedule_window_limit(d);
		/* The rate may be another one. */
		if (d->for_token)
			schedule_timer_set(s, &d->timer, CLOCK_NEVER);
		d->for_token = false;
		if (d->groups > 0)
			schedule_dest_place(s, d, false);
		d = next;
	}
	schedule_transport_place(s, t);
}

static void limits_changed(struct schedule *s, struct schedule_transport *t)
{
	struct schedule_site *site = RB_MIN(schedule_sites, &t->sites);

	place_all(s, t);
	while (site != NULL) {
		struct schedule_site *next = RB_NEXT(schedule_sites, &t->sites, site);

		schedule_site_run(s, site);
		site = next;
	}
}

static void end_suspension(struct schedule *s, struct schedule_transport *t)
{
	t->delayed = false;
	if (t->suspended) {
		t->suspended = false;
		mem_free(t->reason);
		t->reason = NULL;
		place_all(s, t);
	}
	schedule_transport_place(s, t);
}

void schedule_transport_suspend(struct schedule *s, struct schedule_transport *t, int64_t now,
	int64_t until, struct slice reason)
{
	schedule_clock(s, now);
	if (until <= now) {
		if (!t->suspended)
			return;
		schedule_timer_set(s, &t->timer, CLOCK_NEVER);
		end_suspension(s, t);
		return;
	}
	t->suspended = true;
	t->flushes = s->flushes;
	mem_free(t->reason);
	t->reason = slice_dup(reason);
	schedule_timer_set(s, &t->timer, until == CLOCK_NEVER ? until : until + s->skew);
	place_all(s, t);
}

static struct schedule_transport *transport_new(struct schedule *s, struct slice name)
{
	struct schedule_transport *t = mem_alloc(sizeof(*t));

	t->name = slice_dup(name);
	schedule_timer_init(&t->timer, SCHEDULE_OF_TRANSPORT, t);
	RB_INIT(&t->dests);
	RB_INIT(&t->sites);
	RB_INIT(&t->senders);
	for (int i = 0; i < SCHEDULE_LANES; i++) {
		TAILQ_INIT(&t->lane[i].dests);
		TAILQ_INIT(&t->lane[i].senders);
		TAILQ_INIT(&t->lane[i].jobs);
	}
	TAILQ_INSERT_TAIL(&s->transports, t, link);
	return t;
}

struct schedule_transport *schedule_transport_set(
	struct schedule *s, struct slice name, const struct schedule_limits *limits)
{
	struct schedule_transport *t = schedule_transport_find(s, name);

	if (t == NULL)
		t = transport_new(s, name);
	t->limits = *limits;
	limits_changed(s, t);
	return t;
}

/* ---- Destinations. ---- */

static void revive(struct schedule *s, struct schedule_dest *d)
{
	if (d->window != 0)
		return;
	schedule_timer_set(s, &d->timer, CLOCK_NEVER);
	schedule_window_probe(d);
	schedule_dest_place(s, d, false);
}

static void revive_all(struct schedule *s, struct schedule_transport *t)
{
	struct schedule_dest *d = RB_MIN(schedule_dests, &t->dests);

	while (d != NULL) {
		struct schedule_dest *next = RB_NEXT(schedule_dests, &t->dests, d);

		revive(s, d);
		d = next;
	}
}

void schedule_revive(
	struct schedule *s, int64_t now, struct schedule_transport *t, struct slice key)
{
	struct schedule_dest *d;

	schedule_clock(s, now);
	if (t == NULL) {
		TAILQ_FOREACH(t, &s->transports, link)
		{
			schedule_transport_suspend(s, t, now, now, SLICE_NONE);
			revive_all(s, t);
		}
		return;
	}
	d = schedule_dest_find(t, key);
	if (d == NULL)
		return;
	schedule_transport_suspend(s, t, now, now, SLICE_NONE);
	revive(s, d);
}

void schedule_revive_flushed(
	struct schedule *s, int64_t now, struct schedule_transport *t, struct slice key)
{
	struct schedule_dest *d;

	schedule_clock(s, now);
	if (t->flushes != s->flushes)
		schedule_transport_suspend(s, t, now, now, SLICE_NONE);
	d = schedule_dest_find(t, key);
	if (d != NULL && d->flushes != s->flushes)
		revive(s, d);
}

static void fire(struct schedule *s, const struct schedule_timer *timer)
{
	struct schedule_dest *d = timer->owner;

	switch (timer->of) {
	case SCHEDULE_OF_TRANSPORT: end_suspension(s, timer->owner); break;
	case SCHEDULE_OF_SITE: schedule_site_run(s, timer->owner); break;
	case SCHEDULE_OF_DEST:
		d->for_token = false;
		if (d->window == 0)
			schedule_window_probe(d);
		schedule_dest_place(s, d, false);
		break;
	}
}

void schedule_timers_run(struct schedule *s)
{
	struct schedule_timer *timer;

	while ((timer = RB_MIN(schedule_timers, &s->timers)) != NULL && timer->due <= s->now) {
		schedule_timer_set(s, timer, CLOCK_NEVER);
		fire(s, timer);
	}
}
