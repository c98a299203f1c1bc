/* SPDX-License-Identifier: ISC */
#ifndef CONF_PLANS_H
#define CONF_PLANS_H

#include <stdbool.h>
#include <stdint.h>

#include "util/buf.h"

/*
 * Plans of back-off, as backoff_plans says them:
 *
 *   { NAME = 5m, 10m, 1h } { NAME CLASS = 1m } …
 *
 * The times are those from the first attempt to the second, from the second to the third …; the
 * last one repeats. CLASS says for which outcome of the attempt the row is: a word of stage_str
 * (mail/stage.h: "dns", "connect" … "dot"), a reply code ("421") or an enhanced status code
 * ("4.7.1"). The most exact row decides: enhanced code, reply code, stage, the row without a class.
 */
enum { PLANS_MAX = 1000, PLANS_STEPS = 100, PLANS_NAME = 64 };

struct plans;

/*
 * Parses text; out may be NULL, when it is only checked. ERR_SYNTAX, ERR_RANGE, ERR_LIMIT: why is
 * "what is wrong; expected what", *where the offset in text. An empty text makes a set without
 * plans.
 */
int plans_parse(struct slice text, struct buf *why, size_t *where, struct plans **out);
void plans_free(struct plans **p);
bool plans_has(const struct plans *p, struct slice name);
/* The longest time of all; 0: there is none. */
int64_t plans_longest(const struct plans *p);

struct plans_query {
	struct slice name;
	struct slice status; /* enhanced, "4.7.1"; may be empty */
	unsigned code;       /* 0: none */
	const char *stage;   /* "none" is none */
};
/* The times in microseconds, borrowed from p. False: no row of that name is about this. */
bool plans_find(
	const struct plans *p, const struct plans_query *q, const int64_t **steps, unsigned *n);

#endif
