/* SPDX-License-Identifier: ISC */
#ifndef SMTPD_TRANSCRIPT_H
#define SMTPD_TRANSCRIPT_H

#include "mail/mailclass.h"
#include "smtpd/session.h"

/*
 * What was said in a session, for the postmaster, when something went wrong that notify_classes
 * names. Without such a class nothing is kept. It goes to cleanup when the session ends, or sooner
 * when it has become long: behind TRANSCRIPT_LINES with the next HELO, MAIL or RSET, as in Postfix.
 * At TRANSCRIPT_LIMIT bytes the rest is left out. What may be a password is not in it, nor content.
 */
enum { TRANSCRIPT_LINES = 100, TRANSCRIPT_LIMIT = 32768 };

struct transcript;

void transcript_in(struct session *s, struct slice line, enum smtp_verb verb);
/* Lines with their ends. */
void transcript_out(struct session *s, struct slice reply);
/* Something of these classes (enum mail_class) has gone wrong. */
void transcript_class(struct session *s, unsigned classes);
/* Why the session ends; t may be NULL. */
void transcript_reason(struct transcript *t, const char *reason);
/* The session is over: sends it if somebody wants it. */
void transcript_end(struct session *s);

#endif
