/* SPDX-License-Identifier: ISC */
#include "qmgr/schedule_priv.h"
#include "util/err.h"
#include "util/mem.h"

/* The group is in no place; what is left of it waits another turn. */
static struct schedule_job *job_make(struct schedule *s, struct schedule_group *g)
{
	struct schedule_job *job = mem_alloc(sizeof(*job));
	unsigned limit = g->message->is_single ? 1 : g->dest->transport->limits.recipients;

	job->message = g->message;
	job->dest = g->dest;
	STAILQ_INIT(&job->rcpts);
	if (limit == 0 || g->count <= limit) {
		STAILQ_CONCAT(&job->rcpts, &g->rcpts);
		job->count = g->count;
		schedule_group_free(g);
	} else {
		for (; job->count < limit; job->count++) {
			struct schedule_rcpt *r = STAILQ_FIRST(&g->rcpts);

			STAILQ_REMOVE_HEAD(&g->rcpts, next);
			STAILQ_INSERT_TAIL(&job->rcpts, r, next);
		}
		g->count -= limit;
		schedule_group_wait(g);
	}
	job->message->waiting -= job->count;
	job->message->jobs++;
	s->recipients -= job->count;
	s->jobs++;
	return job;
}

/* From now on it is one of those that are out. */
static void begin(struct schedule *s, struct schedule_job *job)
{
	struct schedule_dest *d = job->dest;
	struct schedule_transport *t = d->transport;

	d->jobs++;
	t->busy++;
	job->since = s->now;
	job->lane = d->lane;
	TAILQ_INSERT_TAIL(&t->lane[d->lane].jobs, job, link);
	t->lane[d->lane].busy++;
	d->tried = true;
	schedule_bucket_take(&d->bucket, &t->limits.rate, s->now);
	if (schedule_site_is_limited(t)) {
		job->site = schedule_site_of(s, d);
		job->site->jobs++;
		schedule_bucket_take(&job->site->bucket, &t->limits.site_rate, s->now);
	}
	if (t->limits.transport_rate_delay > 0) {
		t->delayed = true;
		schedule_timer_set(s, &t->timer, s->now + t->limits.transport_rate_delay);
	}
}

static void end(struct schedule *s, struct schedule_job *job)
{
	struct schedule_transport *t = job->dest->transport;
	struct schedule_site *site = job->site;

	t->busy--;
	TAILQ_REMOVE(&t->lane[job->lane].jobs, job, link);
	t->lane[job->lane].busy--;
	if (site == NULL)
		return;
	job->site = NULL;
	site->jobs--;
	schedule_site_run(s, site);
}

static struct schedule_job *serve(struct schedule *s, struct schedule_transport *t)
{
	struct schedule_group *g = schedule_turn_take(t);
	struct schedule_job *job;

	/* What it may have changed by the end of a destination. */
	if (g == NULL) {
		schedule_transport_place(s, t);
		return NULL;
	}
	job = job_make(s, g);
	begin(s, job);
	schedule_dest_place(s, job->dest, true);
	return job;
}

/*
 * Destinations in turn; one that may prepare no more, for others took the room, comes again with
 * its next event.
 */
static struct schedule_job *prepare(struct schedule *s)
{
	struct schedule_dest *d = TAILQ_FIRST(&s->prepare);
	struct schedule_job *job;

	if (d == NULL || s->ahead >= SCHEDULE_AHEAD_RCPTS)
		return NULL;
	job = job_make(s, schedule_dest_take(d));
	job->ahead = true;
	d->ahead++;
	s->ahead += job->count;
	schedule_dest_place(s, d, true);
	return job;
}

static struct schedule_job *drain(struct schedule *s, struct schedule_dest *d)
{
	struct schedule_job *job = job_make(s, schedule_dest_take(d));

	job->suspended = true;
	d->jobs++;
	schedule_dest_place(s, d, true);
	return job;
}

struct schedule_job *schedule_job_next(struct schedule *s)
{
	struct schedule_dest *d = TAILQ_FIRST(&s->drain);
	struct schedule_transport *t;
	struct schedule_job *job;

	if (d != NULL)
		return drain(s, d);
	while ((t = TAILQ_FIRST(&s->runnable)) != NULL) {
		TAILQ_REMOVE(&s->runnable, t, runnable);
		TAILQ_INSERT_TAIL(&s->runnable, t, runnable);
		job = serve(s, t);
		if (job != NULL)
			return job;
	}
	return prepare(s);
}

static void no_longer_ahead(struct schedule *s, struct schedule_job *job)
{
	job->ahead = false;
	job->dest->ahead--;
	s->ahead -= job->count;
}

int schedule_job_start(struct schedule *s, struct schedule_job *job, int64_t now)
{
	struct schedule_dest *d = job->dest;
	struct schedule_transport *t = d->transport;
	const struct schedule_rate *rate = &t->limits.rate;

	if (!job->ahead)
		return 0;
	schedule_clock(s, now);
	schedule_timers_run(s);
	if (d->window == 0 || t->suspended) {
		no_longer_ahead(s, job);
		job->suspended = true;
		d->jobs++;
		return ERR_STATE;
	}
	if (d->jobs >= d->window || d->timer.due != CLOCK_NEVER || t->delayed ||
		t->busy >= t->capacity || schedule_bucket_next(&d->bucket, rate, s->now) > s->now ||
		(schedule_site_is_limited(t) && !schedule_site_has_room(s, schedule_site_of(s, d))))
		return ERR_AGAIN;
	no_longer_ahead(s, job);
	begin(s, job);
	schedule_dest_place(s, d, false);
	return 0;
}

void schedule_job_done(struct schedule *s, struct schedule_job **jobp, int64_t now,
	enum schedule_outcome outcome, struct slice reason)
{
	struct schedule_job *job = *jobp;
	struct schedule_dest *d = job->dest;

	schedule_clock(s, now);
	s->feedback = -1;
	s->jobs--;
	job->message->jobs--;
	if (job->ahead) {
		no_longer_ahead(s, job);
	} else {
		d->jobs--;
		if (!job->suspended) {
			end(s, job);
			schedule_window_feedback(s, d, outcome, s->now - job->since, reason);
		}
	}
	mem_free(job);
	*jobp = NULL;
	schedule_dest_place(s, d, false);
}
