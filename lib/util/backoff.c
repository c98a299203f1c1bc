/* SPDX-License-Identifier: ISC */
#include "util/backoff.h"

#include "util/clock.h"

/* The oldest that is remembered was less than a minute ago. */
bool backoff_is_often(const struct backoff *b, int64_t now)
{
	return b->deaths[b->next] != 0 && now - b->deaths[b->next] < BACKOFF_WINDOW * CLOCK_SEC;
}

int64_t backoff_failed(struct backoff *b)
{
	b->wait = b->wait == 0 ? BACKOFF_LEAST : b->wait * 2;
	if (b->wait > BACKOFF_MOST)
		b->wait = BACKOFF_MOST;
	return b->wait;
}

int64_t backoff_died(struct backoff *b, int64_t now, bool had_been_ready)
{
	b->deaths[b->next] = now;
	b->next = (b->next + 1) % BACKOFF_DEATHS;
	return had_been_ready && !backoff_is_often(b, now) ? 0 : backoff_failed(b);
}

void backoff_ready(struct backoff *b, int64_t now)
{
	if (!backoff_is_often(b, now))
		b->wait = 0;
}
