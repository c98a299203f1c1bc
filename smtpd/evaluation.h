/* SPDX-License-Identifier: ISC */
#ifndef SMTPD_EVALUATION_H
#define SMTPD_EVALUATION_H

#include "smtp/command.h"

/*
 * Whether a recipient (RCPT) or an address (VRFY) may pass: one run of the policy, which may have
 * to wait for a table, and for a cleanup when none is connected just now. The session is WAITING
 * then.
 */
struct session;
struct evaluation;

enum { EVALUATION_QUESTIONS = 100, AUTHOR_WAIT_SEC = 10 };

/* The address and the rest are copied. Replies, now or later. */
void evaluation_begin(struct session *s, enum smtp_verb verb, struct slice address,
	struct slice orcpt, unsigned notify);
/* Withdraws what is under way. */
void evaluation_cancel(struct session *s);

#endif
