/* SPDX-License-Identifier: ISC */
#ifndef QMGR_PLAN_H
#define QMGR_PLAN_H

#include "qmgr/active.h"

/*
 * When a recipient is tried again: by its plan in backoff_plans, by the one named "default", or as
 * Postfix does. All times are real.
 */

/* Settings were changed: backoff_plans is read again. */
void plan_set(void);
/* The end of its life: no attempt behind it. */
int64_t plan_end(const struct queue_message *m);
/* Its sender wants it back now, whether it was tried or not (RFC 2852, mode R). */
bool plan_is_returned(const struct queue_message *m);
/* When its sender is to be told of a delay; 0: never. */
int64_t plan_tell(const struct queue_message *m);
/* Its sender was told here, or before it came here, that a delivery time of mode N is over. */
bool plan_was_told(const struct queue_message *m, const uint32_t *rcpts, uint32_t n);
/* Says that a delivery time is over; last: what the last attempt came to, or empty. */
void plan_say_over(struct buf *text, struct slice last);
/* Longer than this nobody waits for the next attempt. */
int64_t plan_longest(void);

struct plan_case {
	struct slice plan;   /* name; empty: the default one */
	struct slice status; /* enhanced */
	unsigned code;       /* of the reply; 0: none */
	unsigned stage;      /* enum stage */
	unsigned attempts;   /* so far */
};
int64_t plan_due(const struct queue_message *m, const struct plan_case *c);

#endif
