/* SPDX-License-Identifier: ISC */
#ifndef UTIL_BACKOFF_H
#define UTIL_BACKOFF_H

#include <stdbool.h>
#include <stdint.h>

/*
 * When to start again what has died: at once when it had been ready; after 1 s, 2 s, 4 s … 60 s
 * when it died before that, or when it has died more than 20 times within a minute. Pure: the time
 * comes from the caller (microseconds, any clock that does not go back; not 0).
 */
enum { BACKOFF_DEATHS = 21, BACKOFF_LEAST = 1, BACKOFF_MOST = 60, BACKOFF_WINDOW = 60 };

struct backoff {
	int64_t deaths[BACKOFF_DEATHS]; /* the last ones */
	unsigned next;
	int64_t wait; /* the last one, in seconds; 0: none */
};

/* A death: the seconds to wait, 0: start it at once. */
int64_t backoff_died(struct backoff *b, int64_t now, bool had_been_ready);
/* It could not be started at all. */
int64_t backoff_failed(struct backoff *b);
/* It has become ready: the next wait is short again, unless it dies too often. */
void backoff_ready(struct backoff *b, int64_t now);
/* More than 20 deaths within the last minute. */
bool backoff_is_often(const struct backoff *b, int64_t now);

#endif
