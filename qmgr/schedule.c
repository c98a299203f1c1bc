/* SPDX-License-Identifier: ISC */
#include "qmgr/schedule_priv.h"
#include "util/err.h"
#include "util/hash.h"
#include "util/log.h"
#include "util/mem.h"

struct schedule *schedule_new(const struct schedule_settings *settings)
{
	struct schedule *s = mem_alloc(sizeof(*s));

	s->settings = *settings;
	TAILQ_INIT(&s->transports);
	TAILQ_INIT(&s->runnable);
	TAILQ_INIT(&s->drain);
	TAILQ_INIT(&s->idle);
	TAILQ_INIT(&s->prepare);
	RB_INIT(&s->timers);
	s->index = schedule_index_new();
	return s;
}

/* A clock that goes back must not make what waits wait longer. */
int64_t schedule_clock(struct schedule *s, int64_t now)
{
	if (now < s->last)
		s->skew += s->last - now;
	s->last = now;
	s->now = now + s->skew;
	return s->now;
}

void schedule_set(struct schedule *s, const struct schedule_settings *settings)
{
	s->settings = *settings;
}

static void transport_free(struct schedule *s, struct schedule_transport *t)
{
	struct schedule_dest *d;

	while ((d = RB_ROOT(&t->dests)) != NULL)
		schedule_dest_drop(s, d);
	TAILQ_REMOVE(&s->transports, t, link);
	mem_free(t->name);
	mem_free(t->reason);
	mem_free(t);
}

void schedule_free(struct schedule **sp)
{
	struct schedule *s = *sp;
	struct schedule_transport *t;

	if (s == NULL)
		return;
	if (s->messages > 0)
		log_panic("schedule_free: %zu messages are left", s->messages);
	while ((t = TAILQ_FIRST(&s->transports)) != NULL)
		transport_free(s, t);
	schedule_index_free(&s->index);
	mem_free(s);
	*sp = NULL;
}

struct schedule_transport *schedule_transport_find(struct schedule *s, struct slice name)
{
	struct schedule_transport *t;

	TAILQ_FOREACH(t, &s->transports, link)
	if (slice_eq_str(name, t->name))
		return t;
	return NULL;
}

struct schedule_transport *schedule_transport_set(
	struct schedule *s, struct slice name, const struct schedule_limits *limits)
{
	struct schedule_transport *t = schedule_transport_find(s, name);

	if (t == NULL) {
		t = mem_alloc(sizeof(*t));
		t->name = slice_dup(name);
		t->timer.due = CLOCK_NEVER;
		t->timer.transport = t;
		RB_INIT(&t->dests);
		RB_INIT(&t->ready);
		RB_INIT(&t->senders);
		TAILQ_INSERT_TAIL(&s->transports, t, link);
	}
	t->limits = *limits;
	return t;
}

void schedule_transport_capacity(struct schedule *s, struct schedule_transport *t, unsigned jobs)
{
	t->capacity = jobs;
	schedule_transport_place(s, t);
}

struct slice schedule_transport_name(const struct schedule_transport *t)
{
	return slice_str(t->name);
}

unsigned schedule_transport_busy(const struct schedule_transport *t)
{
	return t->busy;
}

static bool is_full(const struct schedule *s)
{
	return s->messages + s->loading >= s->settings.message_limit ||
	       s->recipients >= s->settings.recipient_limit;
}

size_t schedule_room(struct schedule *s, int64_t now, bool waiting)
{
	size_t room;

	s->new_waiting = waiting;
	if (is_full(s))
		return 0;
	room = s->settings.message_limit - s->messages - s->loading;
	if (schedule_index_next(s->index) > now)
		return room;
	/* Due ones wait as well: every other place, whoever fills the queue. */
	return s->last_was_new ? room / 2 : 1;
}

struct schedule_message *schedule_message_add(
	struct schedule *s, void *owner, uint64_t sender, bool loaded)
{
	struct schedule_message *m = mem_alloc(sizeof(*m));

	m->owner = owner;
	m->sender = sender;
	m->loaded = loaded;
	LIST_INIT(&m->groups);
	s->messages++;
	if (loaded)
		s->loading--;
	else
		s->last_was_new = true;
	return m;
}

void schedule_message_set_single(struct schedule_message *m)
{
	m->is_single = true;
}

void schedule_load_failed(struct schedule *s)
{
	s->loading--;
}

void schedule_message_free(struct schedule *s, struct schedule_message **mp)
{
	struct schedule_message *m = *mp;

	if (m == NULL)
		return;
	if (!schedule_message_is_idle(m))
		log_panic("schedule_message_free: %u recipients, %u jobs", m->waiting, m->jobs);
	schedule_shares_free(m);
	s->messages--;
	mem_free(m);
	*mp = NULL;
}

void *schedule_message_owner(const struct schedule_message *m)
{
	return m->owner;
}

bool schedule_message_is_idle(const struct schedule_message *m)
{
	return m->waiting == 0 && m->jobs == 0;
}

unsigned schedule_message_jobs(const struct schedule_message *m)
{
	return m->jobs;
}

static struct schedule_group *group_new(
	struct schedule *s, struct schedule_message *m, struct schedule_dest *d)
{
	struct schedule_group *g = mem_alloc(sizeof(*g));

	g->message = m;
	g->dest = d;
	g->share = schedule_share_get(s, m, d->transport);
	g->tag = g->share->tag;
	g->share->tag += g->share->spacing;
	STAILQ_INIT(&g->rcpts);
	LIST_INSERT_HEAD(&m->groups, g, of_message);
	schedule_group_enqueue(s, g);
	d->recent = g;
	return g;
}

static void group_free(struct schedule_group *g)
{
	if (g->dest->recent == g)
		g->dest->recent = NULL;
	LIST_REMOVE(g, of_message);
	mem_free(g);
}

void schedule_rcpt_add(struct schedule *s, struct schedule_message *m, struct schedule_transport *t,
	struct slice key, struct schedule_rcpt *r)
{
	struct schedule_dest *d = schedule_dest_get(s, t, key);
	struct schedule_group *g = d->recent;

	if (g == NULL || g->message != m) {
		g = group_new(s, m, d);
		schedule_dest_place(s, d, false);
	}
	STAILQ_INSERT_TAIL(&g->rcpts, r, next);
	g->count++;
	m->waiting++;
	s->recipients++;
}

unsigned schedule_withdraw(
	struct schedule *s, struct schedule_message *m, struct schedule_rcpts *out)
{
	struct schedule_group *g;
	unsigned n = m->waiting;

	while ((g = LIST_FIRST(&m->groups)) != NULL) {
		struct schedule_dest *d = g->dest;

		schedule_group_dequeue(g);
		STAILQ_CONCAT(out, &g->rcpts);
		group_free(g);
		schedule_dest_place(s, d, true);
	}
	s->recipients -= n;
	m->waiting = 0;
	return n;
}

/* The group was taken out of its destination; what is left of it waits another turn. */
static struct schedule_job *job_make(
	struct schedule *s, struct schedule_group *g, bool suspended, bool ahead)
{
	struct schedule_job *job = mem_alloc(sizeof(*job));
	struct schedule_dest *d = g->dest;
	unsigned limit = g->message->is_single ? 1 : d->transport->limits.recipients;

	job->message = g->message;
	job->dest = d;
	job->suspended = suspended;
	job->ahead = ahead;
	STAILQ_INIT(&job->rcpts);
	if (limit == 0 || g->count <= limit) {
		STAILQ_CONCAT(&job->rcpts, &g->rcpts);
		job->count = g->count;
		group_free(g);
	} else {
		for (; job->count < limit; job->count++) {
			struct schedule_rcpt *r = STAILQ_FIRST(&g->rcpts);

			STAILQ_REMOVE_HEAD(&g->rcpts, next);
			STAILQ_INSERT_TAIL(&job->rcpts, r, next);
		}
		g->count -= limit;
		if (g->tag < d->transport->vtime)
			g->tag = d->transport->vtime;
		g->tag += g->share->spacing;
		schedule_group_enqueue(s, g);
	}
	job->message->waiting -= job->count;
	job->message->jobs++;
	s->recipients -= job->count;
	s->jobs++;
	if (ahead) {
		d->ahead++;
		s->ahead += job->count;
	} else {
		d->jobs++;
	}
	return job;
}

static void pass_time(struct schedule_transport *t, uint64_t tag)
{
	t->vtime++;
	if (tag > t->vtime)
		t->vtime = tag;
}

static struct schedule_job *serve(struct schedule *s, struct schedule_transport *t, int64_t now)
{
	struct schedule_dest *d = RB_MIN(schedule_ready, &t->ready);
	struct schedule_job *job;

	pass_time(t, d->tag);
	job = job_make(s, schedule_dest_take(d), false, false);
	t->busy++;
	schedule_bucket_take(&d->bucket, &t->limits.rate, now);
	if (t->limits.transport_rate_delay > 0) {
		t->delayed = true;
		schedule_timer_set(s, &t->timer, now + t->limits.transport_rate_delay);
	}
	schedule_dest_place(s, d, true);
	return job;
}

/* Destinations in turn; one that may prepare no more, for others took the room, comes again with
 * its next event. */
static struct schedule_job *prepare(struct schedule *s)
{
	struct schedule_dest *d = TAILQ_FIRST(&s->prepare);
	struct schedule_job *job;

	if (d == NULL || s->ahead >= SCHEDULE_AHEAD_RCPTS)
		return NULL;
	pass_time(d->transport, schedule_dest_first(d));
	job = job_make(s, schedule_dest_take(d), false, true);
	schedule_dest_place(s, d, true);
	return job;
}

static struct schedule_job *next_job(struct schedule *s, int64_t now)
{
	struct schedule_transport *t = TAILQ_FIRST(&s->runnable);
	struct schedule_dest *d = TAILQ_FIRST(&s->drain);
	struct schedule_job *job;

	if (d != NULL) {
		job = job_make(s, schedule_dest_take(d), true, false);
		schedule_dest_place(s, d, true);
		return job;
	}
	if (t == NULL)
		return prepare(s);
	TAILQ_REMOVE(&s->runnable, t, runnable);
	TAILQ_INSERT_TAIL(&s->runnable, t, runnable);
	return serve(s, t, now);
}

static bool may_load(const struct schedule *s, int64_t now)
{
	if (is_full(s) || schedule_index_next(s->index) > now)
		return false;
	return !s->new_waiting || s->last_was_new ||
	       s->messages + s->loading + 1 < s->settings.message_limit;
}

void schedule_next(struct schedule *s, int64_t now, struct schedule_decision *d)
{
	int64_t due;

	memset(d, 0, sizeof(*d));
	schedule_clock(s, now);
	schedule_timers_run(s, s->now);
	d->job = next_job(s, s->now);
	if (d->job != NULL) {
		d->what = SCHEDULE_JOB;
		return;
	}
	if (may_load(s, now)) {
		d->what = SCHEDULE_LOAD;
		d->id = schedule_index_pop(s->index, &d->flags);
		s->loading++;
		s->last_was_new = false;
		return;
	}
	d->what = SCHEDULE_WAIT;
	d->until = schedule_timers_next(s);
	if (d->until != CLOCK_NEVER)
		d->until -= s->skew;
	due = is_full(s) ? CLOCK_NEVER : schedule_index_next(s->index);
	if (due > now && due < d->until)
		d->until = due;
}

static void no_longer_ahead(struct schedule *s, struct schedule_job *job)
{
	job->ahead = false;
	job->dest->ahead--;
	s->ahead -= job->count;
	job->dest->jobs++;
}

int schedule_job_start(struct schedule *s, struct schedule_job *job, int64_t now)
{
	struct schedule_dest *d = job->dest;
	struct schedule_transport *t = d->transport;

	if (!job->ahead)
		return 0;
	schedule_timers_run(s, schedule_clock(s, now));
	if (d->window == 0 || t->suspended) {
		no_longer_ahead(s, job);
		job->suspended = true;
		return ERR_STATE;
	}
	if (d->jobs >= d->window || d->timer.due != CLOCK_NEVER || t->delayed ||
		t->busy >= t->capacity)
		return ERR_AGAIN;
	no_longer_ahead(s, job);
	t->busy++;
	schedule_bucket_take(&d->bucket, &t->limits.rate, s->now);
	schedule_dest_place(s, d, false);
	return 0;
}

void schedule_job_done(struct schedule *s, struct schedule_job **jobp, int64_t now,
	enum schedule_outcome outcome, struct slice reason)
{
	struct schedule_job *job = *jobp;
	struct schedule_dest *d = job->dest;

	schedule_clock(s, now);
	s->jobs--;
	job->message->jobs--;
	if (job->ahead) {
		no_longer_ahead(s, job);
		job->suspended = true;
	}
	d->jobs--;
	if (!job->suspended) {
		d->transport->busy--;
		schedule_dest_feedback(s, d, s->now, outcome, reason);
	}
	mem_free(job);
	*jobp = NULL;
	schedule_dest_place(s, d, false);
}

int64_t schedule_lifetime_end(const struct schedule *s, int64_t arrival, bool bounce)
{
	return arrival + (bounce ? s->settings.bounce_lifetime : s->settings.lifetime);
}

static int64_t step_of(const struct schedule_plan *plan, unsigned attempts)
{
	unsigned i = attempts > plan->n ? plan->n : attempts > 0 ? attempts : 1;
	int64_t step = plan->steps[i - 1];

	return step > CLOCK_SEC ? step : CLOCK_SEC;
}

int64_t schedule_backoff(const struct schedule *s, int64_t now, int64_t arrival,
	const struct schedule_plan *plan, unsigned attempts, bool bounce, bool *expired)
{
	int64_t end = schedule_lifetime_end(s, arrival, bounce);
	int64_t delay = now - arrival;

	*expired = now >= end;
	if (plan != NULL && plan->n > 0) {
		delay = step_of(plan, attempts);
	} else {
		if (delay > s->settings.maximal_backoff)
			delay = s->settings.maximal_backoff;
		if (delay < s->settings.minimal_backoff)
			delay = s->settings.minimal_backoff;
	}
	return delay < end - now ? now + delay : end;
}

uint32_t schedule_site(struct slice transport, struct slice key)
{
	return (uint32_t)(hash_bytes(transport) * 31 + hash_bytes(key));
}

void schedule_count(const struct schedule *s, struct schedule_counts *c)
{
	memset(c, 0, sizeof(*c));
	c->messages = s->messages;
	c->recipients = s->recipients;
	c->jobs = s->jobs;
	c->loading = s->loading;
	c->dests = s->dests;
	schedule_index_count(s->index, c);
}
