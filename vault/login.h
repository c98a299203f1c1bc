/* SPDX-License-Identifier: ISC */
#ifndef VAULT_LOGIN_H
#define VAULT_LOGIN_H

#include "ipc/ipc.h"

/*
 * One AUTH exchange of a client of smtpd: PLAIN, LOGIN or SCRAM-SHA-256, by the tables of the
 * asking service.
 *
 *   TALK  smtpd has been asked for the client's next message, or has not yet said AUTH_BEGIN
 *   LOOK  a table answers later
 *   CHECK the crew compares the password
 *
 * A login that is not there costs the same work and time as one that is: a stand-in is looked at
 * and checked in its place, and fails at the same step with the same words.
 */
struct login;

/* From AUTH_BEGIN. service: as master named the peer. */
void login_begin(struct ipc *c, struct ipc_msg *msg, const char *service);
/* AUTH_RESPONSE, AUTH_END: msg->arg is the exchange, or NULL when it is over. */
void login_msg(struct ipc *c, struct ipc_msg *msg);
/* The connection is lost: its exchanges go. */
void login_forget(struct ipc *c);
/* Exchanges under way. */
size_t login_count(void);
bool login_is_of(const struct ipc *c);

#endif
