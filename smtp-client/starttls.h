/* SPDX-License-Identifier: ISC */
#ifndef CLIENT_STARTTLS_H
#define CLIENT_STARTTLS_H

#include "smtp-client/session.h"

/*
 * TLS of a session: whether, when, and what its outcome means (RFC 3207, with the rules of
 * smtp_tls_security_level).
 *
 *   EHLO ──► STARTTLS ──220──► handshake ──► EHLO again: what was offered before counts no more
 *     │          └─ refused ─┐     └─ failed, or not the server that it must be ─► gone
 *     └─ not offered ────────┴─ level may: on in clear text; above: gone
 *   wrapper mode: connect ──► handshake ──► greeting
 *
 * A handshake that fails on level may is tried in clear text, at the same address, by mail that has
 * waited for minimal_backoff_time; before, it waits.
 *
 * A service with a certificate of its own hears of it from vault soon after its start; handshakes
 * wait for that, some seconds at most.
 */

/* Reads certificates of authorities; at start, as root. */
void starttls_init(void);
/* TLS comes before the greeting (smtp_tls_wrappermode). */
bool starttls_is_wrapped(void);

/* The reply to EHLO or HELO is read. True: something else goes on, or the session is gone. */
bool starttls_take(struct session *s);
/* The reply to STARTTLS. */
void starttls_reply(struct session *s);
/* Begins the handshake. */
void starttls_begin(struct session *s);
/* Chains may have come from vault. */
void starttls_keys(void);
/* The session is about to be freed. */
void starttls_forget(struct session *s);
/* A kept session is used again: the log says so. */
void starttls_reused(const struct session *s);
/*
 * What TLS with a host comes to for the delivery's next hop: a session of one next hop may serve
 * another when both are the same.
 */
enum { STARTTLS_WAY_MAX = 1 << 21 };
void starttls_add_way(struct buf *out, const struct delivery *d, const char *host);
/* The session was lost; the same address may be tried in clear text. */
bool starttls_may_fall_back(const struct session *s);

#endif
