/* SPDX-License-Identifier: ISC */
#ifndef CONF_RATE_H
#define CONF_RATE_H

#include <stdint.h>

#include "util/buf.h"

/*
 * A rate: "20/1s", "1/10s", "100/1h" are so many in that time. A time is a number and s, m, h, d or
 * w; without a letter it is in seconds.
 */
enum { RATE_COUNT_MAX = 1000000, RATE_DAYS_MAX = 100 };

/* *count is 0 for an empty text: no limit; *per in microseconds. ERR_SYNTAX, ERR_RANGE: why is
 * "what is wrong; expected what". */
int rate_parse(struct slice text, struct buf *why, uint32_t *count, int64_t *per);
/* A time by itself, from one second up to RATE_DAYS_MAX. Same errors. */
int rate_parse_time(struct slice text, struct buf *why, int64_t *time);

#endif
