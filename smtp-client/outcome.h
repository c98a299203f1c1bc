/* SPDX-License-Identifier: ISC */
#ifndef CLIENT_OUTCOME_H
#define CLIENT_OUTCOME_H

#include "smtp-client/delivery.h"

/*
 * The one place that decides what a problem means: try the next server, wait, or fail. It writes
 * the recipient's log line and report. As in Postfix a temporary failure before the last server
 * keeps the recipient for the next one; a permanent one counts at once.
 */

/* Opens the status filter, as long as there are rights for it. */
void outcome_init(void);
/* The server took the message for this recipient, in a reply at this stage; text is this reply. */
void outcome_sent(struct delivery *d, struct job_rcpt *r, enum stage stage, const char *status,
	const char *text);
/* d->why is about this recipient alone. */
void outcome_rcpt_failed(struct delivery *d, struct job_rcpt *r);
/*
 * d->why is about every recipient that is OPEN. final: no other server may be tried, even when
 * there is one (the message may have been taken).
 */
void outcome_all_failed(struct delivery *d, bool final);
/* Every recipient that is OPEN goes to best_mx_transport. */
void outcome_all_rerouted(struct delivery *d);

#endif
