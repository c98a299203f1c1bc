/* SPDX-License-Identifier: ISC */
#include <math.h>

#include "qmgr/schedule_priv.h"
#include "util/mem.h"

/* Sums of parts like 1/8 or 1/3 that should be whole. */
#define EPSILON 1e-9

unsigned schedule_window_first(const struct schedule_transport *t)
{
	unsigned window = t->limits.initial_concurrency;

	if (t->limits.concurrency != 0 && window > t->limits.concurrency)
		window = t->limits.concurrency;
	if (t->limits.rate_delay > 0 || window == 0)
		window = 1;
	return window;
}

void schedule_window_limit(struct schedule_dest *d)
{
	const struct schedule_limits *limits = &d->transport->limits;

	if (limits->concurrency != 0 && d->window > limits->concurrency)
		d->window = limits->concurrency;
	if (limits->rate_delay > 0 && d->window > 1)
		d->window = 1;
}

static void reset(struct schedule_dest *d)
{
	d->window = 1;
	d->proven = false;
	d->success = d->failure = d->cohorts = 0;
	d->pace = 0;
	mem_free(d->reason);
	d->reason = NULL;
}

void schedule_window_probe(struct schedule_dest *d)
{
	reset(d);
	d->probing = true;
}

void schedule_window_dead(
	struct schedule *s, struct schedule_dest *d, int64_t until, struct slice reason)
{
	double success = d->success, failure = d->failure, cohorts = d->cohorts;

	reset(d);
	/* What killed it can be seen until it is probed. */
	d->success = success;
	d->failure = failure;
	d->cohorts = cohorts;
	d->window = 0;
	d->probing = false;
	d->reason = slice_dup(reason);
	d->flushes = s->flushes;
	d->for_token = false;
	schedule_timer_set(s, &d->timer, until);
}

static double feedback_value(const struct schedule_feedback *f, unsigned window)
{
	if (window == 0 || f->shape == SCHEDULE_CONSTANT)
		return f->base;
	return f->shape == SCHEDULE_INVERSE ? f->base / window : f->base / sqrt(window);
}

/* Grows by what it was seen to carry: never further than its jobs and the first window. */
static void reached(struct schedule *s, struct schedule_dest *d)
{
	const struct schedule_limits *limits = &d->transport->limits;
	double step = feedback_value(&limits->positive, d->window);

	d->cohorts = 0;
	d->proven = true;
	d->probing = false;
	if (limits->rate_delay > 0 || d->window >= d->jobs + 1 + limits->initial_concurrency)
		return;
	if (limits->concurrency != 0 && d->window >= limits->concurrency)
		return;
	s->feedback = step;
	d->success += step;
	while (step > 0 && d->success + step / 2 >= 1) {
		d->window++;
		d->success -= 1;
		d->failure = 0;
	}
	schedule_window_limit(d);
}

/*
 * A cohort is a window's worth of failures without a success between them. The window shrinks with
 * the first failure, then with each whole one that the feedback makes up; half a step stands for
 * errors of rounding, as in Postfix, so that a first step of 1 shrinks it by two.
 */
static void failed(struct schedule *s, struct schedule_dest *d, struct slice reason)
{
	const struct schedule_limits *limits = &d->transport->limits;
	double step = feedback_value(&limits->negative, d->window);

	d->cohorts += 1.0 / d->window;
	if (limits->failed_cohorts > 0 &&
		(d->probing || d->cohorts + EPSILON >= limits->failed_cohorts)) {
		schedule_window_dead(s, d, s->now + s->settings.minimal_backoff, reason);
		return;
	}
	s->feedback = step;
	d->failure -= step;
	while (d->failure - step / 2 < 0) {
		if (d->window > 1)
			d->window--;
		d->success = 0;
		d->failure += 1;
	}
}

static void measure(struct schedule_dest *d, int64_t took)
{
	int64_t ms = took < 0 ? 1 : took / CLOCK_MSEC + 1;

	if (ms > 1000000)
		ms = 1000000;
	d->pace = d->pace == 0 ? (uint32_t)ms : (uint32_t)((d->pace * 3 + (uint64_t)ms) / 4);
}

void schedule_window_feedback(struct schedule *s, struct schedule_dest *d,
	enum schedule_outcome outcome, int64_t took, struct slice reason)
{
	if (outcome == SCHEDULE_NEUTRAL)
		return;
	if (d->window == 0) {
		if (outcome != SCHEDULE_REACHED)
			return;
		/* A session that was still open from before shows that it lives. */
		schedule_timer_set(s, &d->timer, CLOCK_NEVER);
		reset(d);
	}
	measure(d, took);
	if (outcome == SCHEDULE_REACHED)
		reached(s, d);
	else
		failed(s, d, reason);
	if (d->window > 0 && d->transport->limits.rate_delay > 0) {
		d->for_token = false;
		schedule_timer_set(s, &d->timer, s->now + d->transport->limits.rate_delay);
	}
}
