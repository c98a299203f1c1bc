/* SPDX-License-Identifier: ISC */
#ifndef CLIENT_AUTH_H
#define CLIENT_AUTH_H

#include "smtp-client/session.h"

/*
 * AUTH (RFC 4954) behind EHLO, at servers that offer it and that vault has credentials for. This
 * program passes messages on, base64 on the one side, frames on the other; what it gets of a
 * password is the finished answer of PLAIN, LOGIN or XOAUTH2, wiped when it is with the server.
 *
 *   EHLO ─► RELAY_AUTH ─► RELAY_SAY (mechanism, initial response) ─► AUTH
 *             │ no credentials: on without                            │ 334 ─► RELAY_CHALLENGE ─┐
 *             ▼                                                       │◄─ response ◄─ RELAY_SAY ─┘
 *            on                            235 ─► on    4xx, 5xx ─► gone: the mail waits
 *
 * A host that SCRAM makes prove itself, and that says 235 without having done so, gets no mail.
 */

/* Reads settings and opens lists, as long as there are rights for it. */
void auth_init(void);
/* Everything else is agreed on. True: AUTH goes on, or the session is gone. */
bool auth_take(struct session *s);
/* A reply in the state AUTH. */
void auth_reply(struct session *s);
/* What the server echoes of a secret is taken out of its reply, before anybody sees it. */
void auth_mask(struct session *s);
/* The session is about to be freed, or does not need it any more. */
void auth_forget(struct session *s);
/*
 * A kept session is logged in as this delivery would be, as far as is known: it is when the same
 * host, next hop and sender led to the same login a short time ago.
 */
bool auth_is_same(const struct session *s, const struct delivery *d);

/* vault: a connection has come; a frame of it (true: it was for AUTH); it has gone. */
void auth_peer_new(void);
bool auth_peer_msg(struct ipc_msg *m);
void auth_peer_gone(struct ipc *vault);

#endif
