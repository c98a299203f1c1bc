/* SPDX-License-Identifier: ISC */
#ifndef SMTPD_INQUIRY_H
#define SMTPD_INQUIRY_H

#include "util/later.h"

/*
 * A lookup of the session's own, outside of the policy (evaluation.h), in a table that may answer
 * later. There is one at a time:
 *
 *   err = map_find(…, inquiry_later(s), …);
 *   if (err == ERR_LATER) { inquiry_wait(s, text, again); return; }
 *   struct inquiry *q = inquiry_take(s);
 *   … what text says may stand in q …
 *   inquiry_free(&q);
 */
struct session;
struct inquiry;

enum { INQUIRY_QUESTIONS = 100 };

/* What to ask with; it has the answers that came. */
struct later *inquiry_later(struct session *s);
/*
 * The answer is to come: again is called with a copy of text, which is wiped in the end, in the
 * state that the session is in now; until then it is WAITING unless it is GREETING.
 */
void inquiry_wait(
	struct session *s, struct slice text, void (*again)(struct session *s, struct slice text));
/* It has been answered, or never had to wait (NULL when nothing was asked); owned. */
struct inquiry *inquiry_take(struct session *s);
void inquiry_free(struct inquiry **q);
/* Withdraws it. */
void inquiry_cancel(struct session *s);

#endif
