/* SPDX-License-Identifier: ISC */
#ifndef SMTPD_TRANSCRIPT_H
#define SMTPD_TRANSCRIPT_H

#include "mail/mailclass.h"
#include "smtpd/session.h"

/*
 * What was said in a session, for the postmaster, when something went wrong that notify_classes
 * names. Without such a class nothing is kept. It goes to cleanup when the session ends, or sooner
 * when it has become long: behind TALK_LINES with the next HELO, MAIL or RSET, as in Postfix. What
 * may be a password is not in it, nor content.
 */
void transcript_in(struct session *s, struct slice line, enum smtp_verb verb);
/* Lines with their ends. */
void transcript_out(struct session *s, struct slice reply);
/* Something of these classes (enum mail_class) has gone wrong. */
void transcript_class(struct session *s, unsigned classes);
/* The session is over: sends it if somebody wants it. */
void transcript_end(struct session *s);

#endif
