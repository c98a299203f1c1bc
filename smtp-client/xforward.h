/* SPDX-License-Identifier: ISC */
#ifndef CLIENT_XFORWARD_H
#define CLIENT_XFORWARD_H

#include "smtp-client/session.h"

/*
 * XFORWARD (Postfix's extension): tells a server that asks for it where the message came from,
 * ahead of MAIL, in two commands: NAME, ADDR, PORT; then PROTO, HELO, IDENT, SOURCE. What is not
 * known is left out.
 */
enum { XFORWARD_CLIENT = 1, XFORWARD_REST = 2 };

/* Which of them this session's delivery sends. */
unsigned xforward_commands(const struct session *s);
void xforward_add(struct buf *out, const struct session *s, unsigned command);

#endif
