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
		.site = slice_str(d->site),
		.reason = slice_str(d->reason),
		.proven = d->proven,
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

void schedule_memory_walk(const struct schedule *s, int64_t now,
	bool (*visit)(const struct schedule_memory *m, void *arg), void *arg)
{
	struct schedule_transport *t;
	struct schedule_dest *d;

	TAILQ_FOREACH(t, &s->transports, link)
	RB_FOREACH(d, schedule_dests, &t->dests)
	{
		struct schedule_memory m;

		if (schedule_dest_is_plain(d, now + s->skew))
			continue;
		describe(s, d, now, &m);
		if (!visit(&m, arg))
			return;
	}
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
	int64_t longest = s->settings.maximal_backoff;
	int64_t left = m->dead_until - s->last;

	if (m->window > 0) {
		d->window = m->window;
		if (limits->concurrency != 0 && d->window > limits->concurrency)
			d->window = limits->concurrency;
		d->success = m->success < 1 ? m->success : 0;
		d->failure = m->failure < 1 ? m->failure : 0;
		d->cohorts = m->cohorts;
		d->proven = m->proven;
	} else if (left > 0 && limits->failed_cohorts > 0) {
		d->window = 0;
		mem_free(d->reason);
		d->reason = slice_dup(m->reason);
		schedule_timer_set(s, &d->timer, s->now + (left < longest ? left : longest));
	}
}

int schedule_memory_restore(struct schedule *s, int64_t now, const struct schedule_memory *m)
{
	struct schedule_transport *t = schedule_transport_find(s, m->transport);
	int64_t age = m->tokens_at < now ? now - m->tokens_at : 0;
	struct schedule_dest *d;

	schedule_clock(s, now);
	if (t == NULL)
		return ERR_NOT_FOUND;
	if (!is_possible(m))
		return ERR_RANGE;
	if (m->is_site)
		return 0;
	if (s->idle_count >= schedule_memory_limit(s))
		return ERR_LIMIT;
	d = schedule_dest_get(s, t, m->key);
	if (d->jobs + d->ahead == 0)
		learn(s, d, m);
	schedule_bucket_restore(&d->bucket, &t->limits.rate, s->now, m->tokens, age);
	if (m->site.len > 0)
		schedule_dest_set_site(s, now, t, m->key, m->site);
	schedule_dest_place(s, d, false);
	return 0;
}
