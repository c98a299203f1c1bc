/* SPDX-License-Identifier: ISC */
#ifndef SMTPD_XCLIENT_H
#define SMTPD_XCLIENT_H

#include "smtpd/session.h"

/*
 * XCLIENT: a trusted client (smtpd_authorized_xclient_hosts) says for whom it speaks. The session
 * begins again with the greeting, as if that other client had connected: names, counts and bans,
 * restriction lists. XFORWARD (smtpd_authorized_xforward_hosts): it says where the mail came
 * from, for the log and for whom the message goes to next. That holds for one message: till its
 * end, RSET or HELO.
 */

/*
 * Which of the two this client may use. Asked again for the client that another speaks for: a proxy
 * that hands on what that one says must not hand on a right of its own.
 */
void xclient_begin(struct session *s);
/* "250-XCLIENT …" lines for EHLO. */
void xclient_add_ehlo(const struct session *s, struct buf *lines);
void xclient_command(struct session *s, struct slice args);

void xforward_command(struct session *s, struct slice args);
/* ", orig_queue_id=…, orig_client=…" for a message's first line; nothing without XFORWARD. */
void xforward_add_log(const struct session *s, struct buf *line);
/* The same for the message's envelope: values are borrowed from the session. */
void xforward_fill(const struct session *s, struct message_spec *spec);
void xforward_clear(struct session *s);

#endif
