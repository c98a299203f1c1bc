/* SPDX-License-Identifier: ISC */
#ifndef QMGR_PROBE_H
#define QMGR_PROBE_H

#include "qmgr/active.h"

/*
 * Probes: messages that only ask whether a recipient would be taken (QUEUE_FLAG_PROBE). What became
 * of one is told to tally, once, and then it is over whatever it was: a probe is never returned,
 * never tried again, and nobody gets a notice of it.
 */
static inline bool probe_is(const struct queue_message *m)
{
	return (m->env.flags & QUEUE_FLAG_PROBE) != 0;
}

/* Probes that are worked on: so many more. */
void probe_count(int change);
/* Are these more than address_verify_pending_request_limit? */
bool probe_is_one_too_many(void);
/* The recipient's result; text is why. */
void probe_result(const struct active *a, struct active_rcpt *r, enum queue_event_type type,
	struct slice text);
/* "deliverable" or "undeliverable" for what would be another status. */
const char *probe_status(const char *status);

#endif
