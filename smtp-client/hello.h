/* SPDX-License-Identifier: ISC */
#ifndef CLIENT_HELLO_H
#define CLIENT_HELLO_H

#include "smtp-client/session.h"

/*
 * The greeting and EHLO, HELO or LHLO, and what is made of them: workarounds for a PIX, keywords
 * that are not to be seen, a server that is this one, TLS and AUTH in their turn.
 */

/* Opens tables, as long as there are rights for it. */
void hello_init(void);
/* The server's first reply. */
void hello_greeting(struct session *s);
/* The reply to EHLO, HELO or LHLO. */
void hello_reply(struct session *s);
/* TLS is up: EHLO, or with TLS from connect the greeting, comes now. */
void hello_again(struct session *s);
/* What is agreed on next, once TLS is settled: AUTH, or nothing more. */
void hello_done(struct session *s);
/* What is going on, for texts; STARTTLS included. */
const char *hello_doing(const struct session *s);

#endif
