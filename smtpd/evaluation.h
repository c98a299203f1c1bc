/* SPDX-License-Identifier: ISC */
#ifndef SMTPD_EVALUATION_H
#define SMTPD_EVALUATION_H

#include "policy/policy.h"

/*
 * One run of the policy for a session, which may have to wait for a table, a name, a policy server:
 * the session is WAITING then. What the policy notes (effects on the message, lines for the log) is
 * carried out here; what it decided is told to the command that asked.
 */
struct session;
struct evaluation;

enum { EVALUATION_QUESTIONS = 100 };

/*
 * The answer, once: from inside evaluation_begin or later from the event loop. The session is in
 * the state that it was in before. It replies: evaluation_refuse when it is a refusal. subject is
 * what was asked for. Both are borrowed.
 */
typedef void evaluation_done(
	struct session *s, const struct policy_verdict *v, struct slice subject);

/*
 * subject is what the stage is about where the session does not know it yet: the name in HELO, the
 * recipient, the domain of ETRN. It is copied. Local submission passes all but POLICY_VRFY.
 */
void evaluation_begin(
	struct session *s, enum policy_stage stage, struct slice subject, evaluation_done *done);
/* The message's queue id is known, or it has failed. */
void evaluation_opened(struct session *s);
/* Withdraws what is under way. */
void evaluation_cancel(struct session *s);

/*
 * The reply to a refused command; 421 and 521 end the session. Counts nothing. The refusal has been
 * logged.
 */
void evaluation_refuse(struct session *s, const struct policy_verdict *v);
/* "554 5.7.1 TEXT"; owned. */
char *evaluation_reply(const struct policy_verdict *v);

/* What the session and its transaction know; borrowed from them. */
void evaluation_facts(const struct session *s, struct policy_facts *f);

#endif
