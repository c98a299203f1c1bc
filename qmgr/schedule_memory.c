/* SPDX-License-Identifier: ISC */
#include <math.h>

#include "qmgr/schedule_priv.h"
#include "util/err.h"
#include "util/mem.h"

static void describe(const struct schedule *s, const struct schedule_dest *d, int64_t now,
	struct schedule_memory *m)
{
	*m = (struct schedule_memory){
		.transport = slice_str(d->transport->name),
		.key = slice_of(d->key, d->key_len),
		.site = d->site != NULL && !d->site->is_own
				? slice_of(d->site->name, d->site->name_len)
				: SLICE_NONE,
		.reason = slice_str(d->reason),
		.proven = d->lane == SCHEDULE_QUICK,
		.window = d->window,
		.success = d->success,
		.failure = d->failure,
		.cohorts = d->cohorts,
		.dead_until = d->window == 0 ? d->timer.due - s->skew : 0,
		.tokens = schedule_bucket_tokens(
			&d->bucket, &d->transport->limits.rate, now + s->skew),
		.tokens_at = now,
	};
}

static void describe_site(const struct schedule *s, const struct schedule_site *site, int64_t now,
	struct schedule_memory *m)
{
	struct slice name = slice_of(site->name, site->name_len);

	*m = (struct schedule_memory){
		.transport = slice_str(site->transport->name),
		.key = name,
		.site = site->is_own ? SLICE_NONE : name,
		.is_site = true,
		.tokens = schedule_bucket_tokens(
			&site->bucket, &site->transport->limits.site_rate, now + s->skew),
		.tokens_at = now,
	};
}

static bool walk_transport(const struct schedule *s, struct schedule_transport *t, int64_t now,
	bool (*visit)(const struct schedule_memory *m, void *arg), void *arg)
{
	struct schedule_memory m;
	struct schedule_site *site;
	struct schedule_dest *d;

	RB_FOREACH(site, schedule_sites, &t->sites)
	{
		if (schedule_bucket_is_full(&site->bucket, &t->limits.site_rate, now + s->skew))
			continue;
		describe_site(s, site, now, &m);
		if (!visit(&m, arg))
			return false;
	}
	RB_FOREACH(d, schedule_dests, &t->dests)
	{
		if (schedule_dest_is_plain(d, now + s->skew))
			continue;
		describe(s, d, now, &m);
		if (!visit(&m, arg))
			return false;
	}
	return true;
}

void schedule_memory_walk(const struct schedule *s, int64_t now,
	bool (*visit)(const struct schedule_memory *m, void *arg), void *arg)
{
	struct schedule_transport *t;

	TAILQ_FOREACH(t, &s->transports, link)
	if (!walk_transport(s, t, now, visit, arg))
		return;
}

bool schedule_memory_find(struct schedule *s, int64_t now, struct schedule_transport *t,
	struct slice key, struct schedule_memory *m)
{
	const struct schedule_dest *d = schedule_dest_find(t, key);

	schedule_clock(s, now);
	if (d != NULL)
		describe(s, d, s->last, m);
	return d != NULL;
}

double schedule_last_feedback(const struct schedule *s)
{
	return s->feedback;
}

static bool is_part(double x)
{
	return isfinite(x) && x >= 0 && x <= 1e6;
}

static bool is_possible(const struct schedule_memory *m)
{
	return m->key.len > 0 && m->window <= 1000000 && is_part(m->success) &&
	       is_part(m->failure) && is_part(m->cohorts) && m->tokens >= -1 && m->tokens_at >= 0 &&
	       m->dead_until >= 0;
}

static void learn(struct schedule *s, struct schedule_dest *d, const struct schedule_memory *m)
{
	const struct schedule_limits *limits = &d->transport->limits;
	int64_t left = m->dead_until - s->last;

	if (m->window > 0) {
		d->window = m->window;
		d->success = m->success < 1 ? m->success : 0;
		d->failure = m->failure <= 1 ? m->failure : 0;
		d->cohorts = m->cohorts;
		d->proven = d->tried = m->proven;
		schedule_window_limit(d);
		return;
	}
	if (limits->failed_cohorts == 0)
		return;
	if (left > s->settings.minimal_backoff)
		left = s->settings.minimal_backoff;
	if (left > 0)
		schedule_window_dead(s, d, s->now + left, m->reason);
	else
		schedule_window_probe(d);
}

static int restore_site(
	struct schedule *s, struct schedule_transport *t, const struct schedule_memory *m)
{
	const struct schedule_rate *rate = &t->limits.site_rate;
	struct schedule_site *site;

	if (!schedule_site_is_limited(t))
		return 0;
	if (s->sites >= schedule_memory_limit(s))
		return ERR_LIMIT;
	site = schedule_site_get(s, t, m->key, m->site.len == 0);
	schedule_bucket_restore(&site->bucket, rate, s->now, m->tokens, s->last - m->tokens_at);
	schedule_site_run(s, site);
	return 0;
}

static void restore_dest(
	struct schedule *s, struct schedule_transport *t, const struct schedule_memory *m)
{
	struct schedule_dest *d = schedule_dest_get(s, t, m->key);

	if (d->jobs + d->ahead == 0 && d->window > 0)
		learn(s, d, m);
	schedule_bucket_restore(
		&d->bucket, &t->limits.rate, s->now, m->tokens, s->last - m->tokens_at);
	if (m->site.len > 0 && schedule_site_is_limited(t))
		schedule_dest_set_site(s, s->last, t, m->key, m->site, 0);
	else
		schedule_dest_place(s, d, false);
}

int schedule_memory_restore(struct schedule *s, int64_t now, const struct schedule_memory *m)
{
	struct schedule_transport *t = schedule_transport_find(s, m->transport);

	schedule_clock(s, now);
	if (t == NULL)
		return ERR_NOT_FOUND;
	if (!is_possible(m))
		return ERR_RANGE;
	if (m->is_site)
		return restore_site(s, t, m);
	if (s->idle_count >= schedule_memory_limit(s))
		return ERR_LIMIT;
	restore_dest(s, t, m);
	return 0;
}
