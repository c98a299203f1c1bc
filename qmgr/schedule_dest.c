/* SPDX-License-Identifier: ISC */
#include <math.h>

#include "qmgr/schedule_priv.h"
#include "util/hash.h"
#include "util/mem.h"

static int schedule_dest_cmp(const struct schedule_dest *a, const struct schedule_dest *b)
{
	if (a->hash != b->hash)
		return a->hash < b->hash ? -1 : 1;
	return slice_cmp(slice_of(a->key, a->key_len), slice_of(b->key, b->key_len));
}

static int schedule_ready_cmp(const struct schedule_dest *a, const struct schedule_dest *b)
{
	if (a->tag != b->tag)
		return a->tag < b->tag ? -1 : 1;
	return a->seq < b->seq ? -1 : a->seq > b->seq;
}

static int schedule_timer_cmp(const struct schedule_timer *a, const struct schedule_timer *b)
{
	if (a->due != b->due)
		return a->due < b->due ? -1 : 1;
	return a < b ? -1 : a > b;
}

RB_GENERATE(schedule_dests, schedule_dest, by_key, schedule_dest_cmp)
RB_GENERATE(schedule_ready, schedule_dest, ready, schedule_ready_cmp)
RB_GENERATE(schedule_timers, schedule_timer, link, schedule_timer_cmp)

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

static unsigned first_window(const struct schedule_transport *t)
{
	unsigned window = t->limits.initial_concurrency;

	if (t->limits.concurrency != 0 && window > t->limits.concurrency)
		window = t->limits.concurrency;
	if (t->limits.rate_delay > 0 || window == 0)
		window = 1;
	return window;
}

static void forget(struct schedule_dest *d)
{
	d->window = first_window(d->transport);
	d->proven = false;
	d->success = d->failure = d->cohorts = 0;
	mem_free(d->reason);
	d->reason = NULL;
}

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
	RB_INIT(&d->future);
	RB_INIT(&d->flows);
	TAILQ_INIT(&d->ring);
	d->timer.due = CLOCK_NEVER;
	d->timer.dest = d;
	forget(d);
	RB_INSERT(schedule_dests, &t->dests, d);
	s->dests++;
	return d;
}

static void leave_place(struct schedule *s, struct schedule_dest *d)
{
	switch (d->place) {
	case SCHEDULE_IN_READY: RB_REMOVE(schedule_ready, &d->transport->ready, d); break;
	case SCHEDULE_IN_DRAIN: TAILQ_REMOVE(&s->drain, d, list); break;
	case SCHEDULE_IN_IDLE:
		TAILQ_REMOVE(&s->idle, d, list);
		s->idle_count--;
		break;
	case SCHEDULE_IN_PREPARE: TAILQ_REMOVE(&s->prepare, d, list); break;
	case SCHEDULE_IN_NONE: break;
	}
	d->place = SCHEDULE_IN_NONE;
}

void schedule_dest_drop(struct schedule *s, struct schedule_dest *d)
{
	leave_place(s, d);
	schedule_timer_set(s, &d->timer, CLOCK_NEVER);
	RB_REMOVE(schedule_dests, &d->transport->dests, d);
	s->dests--;
	mem_free(d->key);
	mem_free(d->reason);
	mem_free(d->site);
	mem_free(d);
}

/* A new one would know the same. */
bool schedule_dest_is_plain(const struct schedule_dest *d, int64_t now)
{
	const struct schedule_rate *rate = &d->transport->limits.rate;

	return d->timer.due == CLOCK_NEVER && d->cohorts == 0 && d->site == NULL &&
	       d->window == first_window(d->transport) &&
	       (rate->count == 0 || d->bucket.full_at <= now);
}

size_t schedule_memory_limit(const struct schedule *s)
{
	return s->settings.memory_limit != 0 ? s->settings.memory_limit : SCHEDULE_MEMORY;
}

static void place_idle(struct schedule *s, struct schedule_dest *d)
{
	leave_place(s, d);
	if (d->jobs > 0 || d->ahead > 0)
		return;
	if (schedule_dest_is_plain(d, s->now)) {
		schedule_dest_drop(s, d);
		return;
	}
	TAILQ_INSERT_TAIL(&s->idle, d, list);
	d->place = SCHEDULE_IN_IDLE;
	if (++s->idle_count > schedule_memory_limit(s))
		schedule_dest_drop(s, TAILQ_FIRST(&s->idle));
}

static void place_ready(struct schedule *s, struct schedule_dest *d, bool served)
{
	uint64_t tag = schedule_dest_first(d);

	if (d->place == SCHEDULE_IN_READY && !served && tag >= d->tag)
		return;
	leave_place(s, d);
	d->tag = tag;
	d->seq = ++d->transport->seq;
	RB_INSERT(schedule_ready, &d->transport->ready, d);
	d->place = SCHEDULE_IN_READY;
}

/* Of a full one. */
static bool may_prepare(const struct schedule *s, struct schedule_dest *d)
{
	return d->proven && d->ahead < SCHEDULE_AHEAD * d->window &&
	       s->ahead < SCHEDULE_AHEAD_RCPTS && d->transport->limits.rate_delay == 0 &&
	       d->transport->limits.transport_rate_delay == 0 &&
	       d->transport->limits.rate.count == 0 && schedule_dest_peek(d)->message->loaded;
}

static void place_full(struct schedule *s, struct schedule_dest *d)
{
	leave_place(s, d);
	if (may_prepare(s, d)) {
		TAILQ_INSERT_TAIL(&s->prepare, d, list);
		d->place = SCHEDULE_IN_PREPARE;
	}
}

/* Waits for a token, by its timer. */
static bool lacks_token(struct schedule *s, struct schedule_dest *d)
{
	int64_t next = schedule_bucket_next(&d->bucket, &d->transport->limits.rate, s->now);

	if (next <= s->now)
		return false;
	schedule_timer_set(s, &d->timer, next);
	return true;
}

void schedule_dest_place(struct schedule *s, struct schedule_dest *d, bool served)
{
	struct schedule_transport *t = d->transport;

	if (d->groups == 0) {
		place_idle(s, d);
	} else if (d->window == 0 || t->suspended) {
		if (d->place != SCHEDULE_IN_DRAIN) {
			leave_place(s, d);
			TAILQ_INSERT_TAIL(&s->drain, d, list);
			d->place = SCHEDULE_IN_DRAIN;
		}
	} else if (d->timer.due != CLOCK_NEVER || lacks_token(s, d)) {
		leave_place(s, d);
	} else if (d->jobs + d->ahead < d->window) {
		place_ready(s, d, served);
	} else {
		place_full(s, d);
	}
	schedule_transport_place(s, t);
}

void schedule_transport_place(struct schedule *s, struct schedule_transport *t)
{
	bool runnable =
		!t->suspended && !t->delayed && t->busy < t->capacity && !RB_EMPTY(&t->ready);

	if (runnable == t->is_runnable)
		return;
	if (runnable)
		TAILQ_INSERT_TAIL(&s->runnable, t, runnable);
	else
		TAILQ_REMOVE(&s->runnable, t, runnable);
	t->is_runnable = runnable;
}

static double feedback_value(const struct schedule_feedback *f, unsigned window)
{
	if (window == 0 || f->shape == SCHEDULE_CONSTANT)
		return f->base;
	return f->shape == SCHEDULE_INVERSE ? f->base / window : f->base / sqrt(window);
}

/* Grows by what it was seen to carry: never further than its jobs and the first window. */
static void reached(struct schedule_dest *d)
{
	const struct schedule_limits *limits = &d->transport->limits;
	double step = feedback_value(&limits->positive, d->window);

	d->cohorts = 0;
	d->proven = true;
	if (limits->rate_delay > 0 || d->window >= d->jobs + 1 + limits->initial_concurrency)
		return;
	if (limits->concurrency != 0 && d->window >= limits->concurrency)
		return;
	d->success += step;
	while (step > 0 && d->success + step / 2 >= 1) {
		d->window++;
		d->success -= 1;
		d->failure = 0;
	}
	if (limits->concurrency != 0 && d->window > limits->concurrency)
		d->window = limits->concurrency;
}

/* A cohort is a window's worth of failures without a success between them. */
static void failed(struct schedule *s, struct schedule_dest *d, int64_t now, struct slice reason)
{
	const struct schedule_limits *limits = &d->transport->limits;
	double step = feedback_value(&limits->negative, d->window);

	d->cohorts += 1.0 / d->window;
	if (limits->failed_cohorts > 0 && d->cohorts + 1e-9 >= limits->failed_cohorts) {
		d->window = 0;
		mem_free(d->reason);
		d->reason = slice_dup(reason);
		schedule_timer_set(s, &d->timer, now + s->settings.minimal_backoff);
		return;
	}
	d->failure += step;
	while (step > 0 && d->failure + step / 2 >= 1) {
		if (d->window > 1)
			d->window--;
		d->success = 0;
		d->failure -= 1;
	}
}

void schedule_dest_feedback(struct schedule *s, struct schedule_dest *d, int64_t now,
	enum schedule_outcome outcome, struct slice reason)
{
	if (d->window == 0) {
		if (outcome != SCHEDULE_REACHED)
			return;
		/* A session that was still open from before shows that it lives. */
		schedule_timer_set(s, &d->timer, CLOCK_NEVER);
		forget(d);
	}
	if (outcome == SCHEDULE_REACHED)
		reached(d);
	else if (outcome == SCHEDULE_FAILED)
		failed(s, d, now, reason);
	if (d->window > 0 && d->transport->limits.rate_delay > 0 && outcome != SCHEDULE_NEUTRAL)
		schedule_timer_set(s, &d->timer, now + d->transport->limits.rate_delay);
}

static void transport_timer(struct schedule *s, struct schedule_transport *t)
{
	struct schedule_dest *d;

	t->delayed = false;
	if (t->suspended) {
		t->suspended = false;
		mem_free(t->reason);
		t->reason = NULL;
		for (d = RB_MIN(schedule_dests, &t->dests); d != NULL;) {
			struct schedule_dest *next = RB_NEXT(schedule_dests, &t->dests, d);

			if (d->groups > 0)
				schedule_dest_place(s, d, false);
			d = next;
		}
	}
	schedule_transport_place(s, t);
}

void schedule_timers_run(struct schedule *s, int64_t now)
{
	struct schedule_timer *timer;

	while ((timer = RB_MIN(schedule_timers, &s->timers)) != NULL && timer->due <= now) {
		schedule_timer_set(s, timer, CLOCK_NEVER);
		if (timer->transport != NULL) {
			transport_timer(s, timer->transport);
			continue;
		}
		if (timer->dest->window == 0)
			forget(timer->dest);
		schedule_dest_place(s, timer->dest, false);
	}
}

void schedule_transport_suspend(struct schedule *s, struct schedule_transport *t, int64_t now,
	int64_t until, struct slice reason)
{
	struct schedule_dest *d;

	schedule_clock(s, now);
	until += until == CLOCK_NEVER ? 0 : s->skew;
	if (until <= s->now) {
		if (!t->suspended)
			return;
		schedule_timer_set(s, &t->timer, CLOCK_NEVER);
		transport_timer(s, t);
		return;
	}
	t->suspended = true;
	mem_free(t->reason);
	t->reason = slice_dup(reason);
	schedule_timer_set(s, &t->timer, until);
	RB_FOREACH(d, schedule_dests, &t->dests)
	if (d->groups > 0)
		schedule_dest_place(s, d, false);
	schedule_transport_place(s, t);
}

static void revive(struct schedule *s, struct schedule_dest *d)
{
	if (d->window != 0)
		return;
	schedule_timer_set(s, &d->timer, CLOCK_NEVER);
	forget(d);
	schedule_dest_place(s, d, false);
}

static void revive_transport(struct schedule *s, struct schedule_transport *t)
{
	struct schedule_dest *d = RB_MIN(schedule_dests, &t->dests);

	while (d != NULL) {
		struct schedule_dest *next = RB_NEXT(schedule_dests, &t->dests, d);

		revive(s, d);
		d = next;
	}
}

bool schedule_dest_wants_site(
	struct schedule *s, int64_t now, struct schedule_transport *t, struct slice key)
{
	const struct schedule_dest *d;

	now = schedule_clock(s, now);
	if (t->limits.site_rate.count == 0 && t->limits.site_concurrency == 0)
		return false;
	d = schedule_dest_find(t, key);
	return d == NULL || d->site_said == 0 ||
	       now - d->site_said >= (d->site != NULL ? SCHEDULE_SITE_LIFE : SCHEDULE_NO_SITE_LIFE);
}

void schedule_dest_set_site(struct schedule *s, int64_t now, struct schedule_transport *t,
	struct slice key, struct slice site)
{
	struct schedule_dest *d = schedule_dest_get(s, t, key);

	d->site_said = schedule_clock(s, now);
	mem_free(d->site);
	d->site = site.len > 0 ? slice_dup(site) : NULL;
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
			revive_transport(s, t);
		}
		return;
	}
	schedule_transport_suspend(s, t, now, now, SLICE_NONE);
	d = schedule_dest_find(t, key);
	if (d != NULL)
		revive(s, d);
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
