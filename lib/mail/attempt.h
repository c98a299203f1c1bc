/* SPDX-License-Identifier: ISC */
#ifndef MAIL_ATTEMPT_H
#define MAIL_ATTEMPT_H

#include "util/clock.h"

/*
 * The one log line that a delivery attempt leaves per recipient, in Postfix's words, for every
 * program that delivers:
 *
 *   ID: to=<R>, orig_to=<O>, relay=HOST[IP]:25, conn_use=2, delay=1.2, delays=0.1/0.1/0.5/0.5,
 *   dsn=2.0.0, status=sent (TEXT)
 */
struct mail_attempt {
	struct slice id, recipient, orig_to; /* addresses in internal form; orig_to may be empty */
	const char *relay;                   /* "none" */
	unsigned conn_use;                   /* shown from 2 on */
	/* Real times: arrival, active in qmgr, work begun, connected (or mailbox open), now. */
	int64_t arrival, active, begun, connected, ended;
	const char *dsn, *status; /* "2.0.0"; "sent", "deferred", "bounced" */
	struct slice text;
	unsigned digits; /* delay_logging_resolution_limit */
};

void mail_attempt_log(const struct mail_attempt *a);

/* Seconds with two significant digits and at most so many behind the point: 0.05, 1.2, 34, 0. */
void mail_add_delay(struct buf *out, int64_t delay, unsigned digits);

#endif
