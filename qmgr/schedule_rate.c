/* SPDX-License-Identifier: ISC */
#include <math.h>

#include "qmgr/schedule_priv.h"

/* Both within their bounds, so that nothing overflows. */
static struct schedule_rate bounded(const struct schedule_rate *rate)
{
	struct schedule_rate r = *rate;

	if (r.count > SCHEDULE_COUNT_MAX)
		r.count = SCHEDULE_COUNT_MAX;
	if (r.per > SCHEDULE_PER_MAX)
		r.per = SCHEDULE_PER_MAX;
	return r;
}

static bool is_unlimited(const struct schedule_rate *rate)
{
	return rate->count == 0 || rate->per <= 0;
}

/* One job further. */
static struct schedule_bucket after(
	const struct schedule_bucket *b, const struct schedule_rate *rate, int64_t now)
{
	struct schedule_bucket next = *b;
	uint64_t part;

	if (next.full_at < now)
		next = (struct schedule_bucket){.full_at = now};
	/* The part of another count, after a change of the rate. */
	if (next.part >= rate->count)
		next.part = rate->count - 1;
	part = next.part + (uint64_t)(rate->per % rate->count);
	next.full_at += rate->per / rate->count + (part >= rate->count);
	next.part = (uint32_t)(part >= rate->count ? part - rate->count : part);
	return next;
}

int64_t schedule_bucket_next(
	const struct schedule_bucket *b, const struct schedule_rate *rate, int64_t now)
{
	struct schedule_rate r = bounded(rate);
	struct schedule_bucket next;
	int64_t at;

	if (is_unlimited(rate))
		return now;
	next = after(b, &r, now);
	at = next.full_at + (next.part > 0) - r.per;
	return at > now ? at : now;
}

void schedule_bucket_take(struct schedule_bucket *b, const struct schedule_rate *rate, int64_t now)
{
	struct schedule_rate r = bounded(rate);

	if (!is_unlimited(rate))
		*b = after(b, &r, now);
}

bool schedule_bucket_is_full(
	const struct schedule_bucket *b, const struct schedule_rate *rate, int64_t now)
{
	return is_unlimited(rate) || b->full_at + (b->part > 0) <= now;
}

int64_t schedule_bucket_tokens(
	const struct schedule_bucket *b, const struct schedule_rate *rate, int64_t now)
{
	struct schedule_rate r = bounded(rate);
	double lack, tokens;

	if (is_unlimited(rate))
		return -1;
	if (schedule_bucket_is_full(b, rate, now))
		return (int64_t)r.count * 1000000;
	lack = (double)(b->full_at - now) + (double)b->part / r.count;
	tokens = floor((1 - lack / (double)r.per) * r.count * 1e6);
	return tokens < 0 ? 0 : (int64_t)tokens;
}

void schedule_bucket_restore(struct schedule_bucket *b, const struct schedule_rate *rate,
	int64_t now, int64_t tokens, int64_t age)
{
	struct schedule_rate r = bounded(rate);
	double lack;

	if (is_unlimited(rate) || tokens < 0 || tokens / 1000000 >= r.count)
		return;
	lack = ceil((1 - (double)tokens / (r.count * 1e6)) * (double)r.per);
	b->full_at = now - (age > 0 ? age : 0) + (int64_t)lack;
	b->part = 0;
}
