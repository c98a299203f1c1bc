/* SPDX-License-Identifier: ISC */
#ifndef SMTPD_ANSWER_H
#define SMTPD_ANSWER_H

#include "smtpd/session.h"

/*
 * Replies on their way to the client: softened (soft_bounce), with their footer, held back after
 * many errors (smtpd_error_sleep_time), none between the last word in clear and the first one
 * inside of TLS. What says them is session_reply and its kin, in session.h.
 */

/* Bytes of replies that a client may leave unread: it is cut off then. */
enum { ANSWER_UNREAD = 131072 };

/* A reply that waits for its footer is said as it is: what comes now must not overtake it. */
void answer_awaited(struct session *s);
/* The session's timer sleep: what was held back goes out. */
void answer_slept(void *arg);

#endif
