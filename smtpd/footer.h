/* SPDX-License-Identifier: ISC */
#ifndef SMTPD_FOOTER_H
#define SMTPD_FOOTER_H

#include "util/buf.h"

/*
 * smtpd_reject_footer and smtpd_reject_footer_maps: text behind each 4xx and 5xx reply. A table is
 * asked with the whole reply; where it has nothing, fails, or is slower than the session, the
 * parameter's footer is taken. Local submission has none.
 *
 * A template is expanded (policy/facts.h). "\\n" in it begins a line, which gets the reply's code
 * and enhanced status code; without "\\c" at its beginning the footer begins with one. The log and
 * what tables and servers see are without it.
 */
enum { FOOTER_REPLY_LIMIT = 16384 };

struct session;
struct footer;

/* From the settings in force; opens tables. May log_fatal. */
void footer_open(void);

/* Is this a reply that gets one? */
bool footer_is_wanted(const struct session *s, struct slice reply);
/*
 * reply: of one line, with its CRLF. Appends it with its footer to out. ERR_LATER: a table is being
 * asked; session_footer_ready tells what has come of it, unless footer_take is called before.
 */
int footer_add(struct session *s, struct slice reply, struct buf *out);
/* Ends the wait: appends that reply with the footer that can be had now. */
void footer_take(struct session *s, struct buf *out);
/* Forgets what waits. */
void footer_cancel(struct session *s);

#endif
