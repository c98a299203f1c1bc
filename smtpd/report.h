/* SPDX-License-Identifier: ISC */
#ifndef SMTPD_REPORT_H
#define SMTPD_REPORT_H

#include "smtpd/session.h"

/* A session's own log lines, as Postfix words them. Local submission has none of these. */
void report_connect(const struct session *s);
/* With what report_lost has said; behind the lines of a message whose queue ID is to come. */
void report_disconnect(struct session *s);
/* "lost connection after CMD from …", "timeout after …", "too many errors after …". The session is
 * dropped at once: its end is when this is logged. */
void report_lost(struct session *s, const char *what);
void report_pipelining(const struct session *s, enum smtp_verb verb, struct slice input);
void report_long_line(const struct session *s, struct slice line);
/* "ID: WORD: CMD from CLIENT: TEXT; from=<…> to=<…> proto=… helo=<…>". */
void report_policy(
	struct session *s, const struct policy_facts *f, const char *word, struct slice text);
/* The same of a reply that refuses, with what the session knows. */
void report_refusal(struct session *s, struct slice reply);

#endif
