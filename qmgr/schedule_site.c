/* SPDX-License-Identifier: ISC */
#include "qmgr/schedule_priv.h"
#include "util/hash.h"
#include "util/mem.h"

static int schedule_site_cmp(const struct schedule_site *a, const struct schedule_site *b)
{
	if (a->is_own != b->is_own)
		return a->is_own ? -1 : 1;
	if (a->hash != b->hash)
		return a->hash < b->hash ? -1 : 1;
	return slice_cmp(slice_of(a->name, a->name_len), slice_of(b->name, b->name_len));
}

RB_GENERATE(schedule_sites, schedule_site, by_name, schedule_site_cmp)

bool schedule_site_is_limited(const struct schedule_transport *t)
{
	return t->limits.site_rate.count != 0 || t->limits.site_concurrency != 0;
}

struct schedule_site *schedule_site_get(
	struct schedule *s, struct schedule_transport *t, struct slice name, bool is_own)
{
	struct schedule_site want = {
		.hash = hash_bytes(name), .name_len = name.len, .is_own = is_own};
	struct schedule_site *site;

	want.name = (char *)(uintptr_t)name.p;
	site = RB_FIND(schedule_sites, &t->sites, &want);
	if (site != NULL)
		return site;
	site = mem_alloc(sizeof(*site));
	site->transport = t;
	site->name = slice_dup(name);
	site->name_len = name.len;
	site->hash = want.hash;
	site->is_own = is_own;
	TAILQ_INIT(&site->ring);
	schedule_timer_init(&site->timer, SCHEDULE_OF_SITE, site);
	RB_INSERT(schedule_sites, &t->sites, site);
	s->sites++;
	return site;
}

struct schedule_site *schedule_site_of(struct schedule *s, struct schedule_dest *d)
{
	if (d->site == NULL) {
		d->site = schedule_site_get(s, d->transport, schedule_dest_key(d), true);
		d->site->dests++;
	}
	return d->site;
}

/* One that nothing uses stays until its bucket is full, for the next who comes. */
void schedule_site_release(struct schedule *s, struct schedule_site *site)
{
	if (site->dests > 0 || site->jobs > 0)
		return;
	if (!schedule_bucket_is_full(&site->bucket, &site->transport->limits.site_rate, s->now) &&
		s->sites <= schedule_memory_limit(s) + s->dests) {
		schedule_timer_set(s, &site->timer, site->bucket.full_at + 1);
		return;
	}
	schedule_timer_set(s, &site->timer, CLOCK_NEVER);
	RB_REMOVE(schedule_sites, &site->transport->sites, site);
	s->sites--;
	mem_free(site->name);
	mem_free(site);
}

static bool is_below(const struct schedule_site *site, unsigned jobs)
{
	const struct schedule_limits *limits = &site->transport->limits;

	if (limits->site_rate.count != 0 && site->admitted > 0)
		return false;
	return limits->site_concurrency == 0 || jobs < limits->site_concurrency;
}

bool schedule_site_has_room(const struct schedule *s, const struct schedule_site *site)
{
	const struct schedule_limits *limits = &site->transport->limits;

	return is_below(site, site->jobs + site->admitted) &&
	       schedule_bucket_next(&site->bucket, &limits->site_rate, s->now) <= s->now;
}

/* With a rate one at a time: the next token may be the next one's. */
void schedule_site_run(struct schedule *s, struct schedule_site *site)
{
	const struct schedule_limits *limits = &site->transport->limits;
	struct schedule_dest *d;
	int64_t next;

	if (site->dests == 0 && site->jobs == 0) {
		schedule_site_release(s, site);
		return;
	}
	while ((d = TAILQ_FIRST(&site->ring)) != NULL &&
		is_below(site, site->jobs + site->admitted)) {
		next = schedule_bucket_next(&site->bucket, &limits->site_rate, s->now);
		if (next > s->now) {
			schedule_timer_set(s, &site->timer, next);
			return;
		}
		TAILQ_REMOVE(&site->ring, d, list);
		d->place = SCHEDULE_IN_NONE;
		d->admitted = true;
		site->admitted++;
		schedule_dest_enter_lane(d);
	}
	schedule_transport_place(s, site->transport);
}

bool schedule_dest_wants_site(
	struct schedule *s, int64_t now, struct schedule_transport *t, struct slice key)
{
	const struct schedule_dest *d;

	now = schedule_clock(s, now);
	if (!schedule_site_is_limited(t))
		return false;
	d = schedule_dest_find(t, key);
	return d == NULL || now >= d->site_until;
}

static int64_t clamp(int64_t life)
{
	if (life < SCHEDULE_SITE_LIFE_MIN)
		return SCHEDULE_SITE_LIFE_MIN;
	return life < SCHEDULE_SITE_LIFE ? life : SCHEDULE_SITE_LIFE;
}

static void set_site(
	struct schedule *s, struct schedule_dest *d, int64_t until, struct slice name, bool is_own)
{
	struct schedule_site *old = d->site;

	d->site_until = until;
	schedule_dest_leave(s, d);
	d->site = schedule_site_get(s, d->transport, name, is_own);
	d->site->dests++;
	if (old != NULL) {
		old->dests--;
		schedule_site_release(s, old);
	}
	schedule_dest_place(s, d, false);
}

void schedule_dest_set_site(struct schedule *s, int64_t now, struct schedule_transport *t,
	struct slice key, struct slice site, int64_t life)
{
	bool is_own = site.len == 0;

	now = schedule_clock(s, now);
	set_site(s, schedule_dest_get(s, t, key),
		now + (is_own ? SCHEDULE_NO_SITE_LIFE : clamp(life)), is_own ? key : site, is_own);
}

void schedule_dest_set_own_site(struct schedule *s, int64_t now, struct schedule_transport *t,
	struct slice key, struct slice name)
{
	now = schedule_clock(s, now);
	set_site(s, schedule_dest_get(s, t, key), now + SCHEDULE_NO_SITE_LIFE, name, true);
}

struct slice schedule_dest_site(struct schedule_transport *t, struct slice key)
{
	const struct schedule_dest *d = schedule_dest_find(t, key);

	if (d == NULL || d->site == NULL || d->site->is_own)
		return SLICE_NONE;
	return slice_of(d->site->name, d->site->name_len);
}
