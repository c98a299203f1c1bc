/* SPDX-License-Identifier: ISC */
#ifndef SMTPD_STARTTLS_H
#define SMTPD_STARTTLS_H

#include "smtpd/session.h"

/*
 * TLS of a session, by STARTTLS (RFC 3207) or from connect (smtpd_tls_wrappermode). lib/tls does
 * it; here is when it begins, what is forgotten then, and what log, Received: and policy are told.
 *
 *   COMMAND ──220──► HANDSHAKE ──► COMMAND, inside of TLS
 *   GREETING ──────► HANDSHAKE ──► GREETING, inside of TLS (wrapper mode)
 *                        └── failed: the session ends
 *
 * A client that counts too many new sessions (smtpd_client_new_tls_session_rate_limit) is refused
 * before a handshake, and cut behind one that makes it too many; a resumed session counts nothing.
 */

/* From the settings in force, while files can be read. May log_fatal. */
void starttls_open(void);
/* Is TLS asked for here at all; must clients use it (then nothing but the beginning is in clear)?
 */
bool starttls_is_enabled(void);
bool starttls_is_mandatory(void);

/* EHLO_* that are not for this session: each of them is for the other side of the handshake. */
unsigned starttls_hides(const struct session *s);
/* The reply to a command that is not taken in clear; NULL: it is. */
const char *starttls_refusal(const struct session *s, enum smtp_verb verb);
/* Ends the session of a client that has not shown the certificate it must show. */
bool starttls_turn_away(struct session *s);
void starttls_command(struct session *s, struct slice args);

/* Wrapper mode: nothing has been said, and nothing is to be said, before there is TLS. */
bool starttls_is_awaited(const struct session *s);
/* Begins it; done is called once when bytes flow inside of TLS, unless the session ends. */
void starttls_wrap(struct session *s, void (*done)(struct session *s));
/* Waits for nothing any more. */
void starttls_cancel(struct session *s);
/* HANDSHAKE: what was said before is on its way now. */
void starttls_go_on(struct session *s);
/* Wrapper mode. */
bool starttls_is_first(void);

/* For policy, and for Received: one line each behind a NUL, as MSG_OPEN carries them. */
void starttls_facts(const struct session *s, struct policy_facts *f);
void starttls_trace(const struct session *s, struct buf *lines);

#endif
