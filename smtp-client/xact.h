/* SPDX-License-Identifier: ISC */
#ifndef CLIENT_XACT_H
#define CLIENT_XACT_H

#include "smtp-client/session.h"

/*
 * A transaction: MAIL, RCPT…, DATA, content, dot, with every recipient's outcome. It is a row of
 * commands, some sent and not yet answered (all of them together where the server has PIPELINING,
 * RFC 2920; else one):
 *
 *   RSET (after a broken transaction) · MAIL · RCPT for each · DATA · content and dot
 *
 * With PIPELINING, DATA is sent before it is known whether anybody is accepted. When the server
 * says 354 though nobody is, a lone dot is sent, whose reply counts for nothing; when it refused
 * MAIL but took a recipient, the connection is dropped instead, so that no empty mail can come of
 * it.
 */
struct xact;

/* Begins with the recipients of the session's delivery that are OPEN. */
void xact_start(struct session *s);
void xact_free(struct xact **x);
/* A whole reply has come (session->reply). */
void xact_reply(struct session *s);
/* The connection is at its end, or a deadline has passed. */
void xact_lost(struct session *s, int err);
/* Output is with the kernel again. */
void xact_drained(struct session *s);
/* Nothing was answered in this transaction yet. */
bool xact_is_untouched(const struct xact *x);

#endif
