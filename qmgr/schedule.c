/* SPDX-License-Identifier: ISC */
#include "qmgr/schedule_priv.h"
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
	TAILQ_INIT(&s->prepare);
	for (int i = 0; i < SCHEDULE_RANKS; i++)
		TAILQ_INIT(&s->idle[i]);
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

	struct schedule_site *site;

	t->limits = (struct schedule_limits){0};
	while ((d = RB_ROOT(&t->dests)) != NULL)
		schedule_dest_drop(s, d);
	while ((site = RB_ROOT(&t->sites)) != NULL)
		schedule_site_release(s, site);
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

void schedule_rcpt_add(struct schedule *s, struct schedule_message *m, struct schedule_transport *t,
	struct slice key, struct schedule_rcpt *r)
{
	struct schedule_dest *d = schedule_dest_get(s, t, key);
	struct schedule_group *g = d->recent;

	if (g == NULL || g->message != m) {
		g = schedule_group_new(m, d);
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

		schedule_group_leave(g);
		STAILQ_CONCAT(out, &g->rcpts);
		schedule_group_free(g);
		schedule_dest_place(s, d, false);
	}
	s->recipients -= n;
	m->waiting = 0;
	return n;
}

static bool may_load(const struct schedule *s, int64_t now)
{
	if (is_full(s) || schedule_index_next(s->index) > now)
		return false;
	return !s->new_waiting || s->last_was_new ||
	       s->messages + s->loading + 1 < s->settings.message_limit;
}

/* Blocked transports may go on when a job has taken too long. */
static void look_again(struct schedule *s)
{
	struct schedule_transport *t;

	TAILQ_FOREACH(t, &s->transports, link)
	if (!t->is_runnable)
		schedule_transport_place(s, t);
}

void schedule_next(struct schedule *s, int64_t now, struct schedule_decision *d)
{
	struct schedule_deferred row;
	int64_t due;

	memset(d, 0, sizeof(*d));
	schedule_clock(s, now);
	schedule_timers_run(s);
	look_again(s);
	d->job = schedule_job_next(s);
	if (d->job != NULL) {
		d->what = SCHEDULE_JOB;
		return;
	}
	if (may_load(s, now)) {
		d->what = SCHEDULE_LOAD;
		row = schedule_index_pop(s->index);
		d->id = row.id;
		d->flags = row.flags;
		d->cookie = row.cookie;
		s->loading++;
		s->last_was_new = false;
		return;
	}
	d->what = SCHEDULE_WAIT;
	d->until = schedule_timers_next(s);
	due = schedule_lane_next(s);
	if (due < d->until)
		d->until = due;
	if (d->until != CLOCK_NEVER)
		d->until -= s->skew;
	due = is_full(s) ? CLOCK_NEVER : schedule_index_next(s->index);
	if (due > now && due < d->until)
		d->until = due;
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

uint32_t schedule_domain(struct slice domain)
{
	uint32_t hash = (uint32_t)(hash_lower(domain) & 0xffffff);

	return hash != 0 ? hash : 1;
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
