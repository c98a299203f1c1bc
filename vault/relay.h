/* SPDX-License-Identifier: ISC */
#ifndef VAULT_RELAY_H
#define VAULT_RELAY_H

#include "server/server.h"

/*
 * Authentication at a relay, by smtp_sasl_password_maps of the asking service: a value is
 * "login:password", or names a file of a token (token.h). Looked up as Postfix does: the sender
 * (where that is asked for: whole, without extension, @domain), the host's name, the next hop. The
 * mechanism is the first of SCRAM-SHA-256-PLUS, SCRAM-SHA-256, PLAIN, LOGIN, XOAUTH2 (the password
 * is a token then) that the host offers.
 *
 *   LOOK   a table answers later
 *   TALK   the host's challenge is awaited
 *
 * A finished answer of PLAIN, LOGIN or XOAUTH2 is the only secret that leaves vault.
 */
struct relay;

/* While rights are there; by_sender: smtp_sender_dependent_authentication. Owned by this module. */
struct relay *relay_open(struct slice maps, bool by_sender);
/* RELAY_AUTH, RELAY_CHALLENGE, RELAY_END. relay: of the peer's service, or NULL. */
void relay_msg(struct server_peer *peer, struct ipc_msg *msg, const struct relay *relay);
void relay_peer_gone(struct server_peer *peer);
/* Exchanges under way. */
size_t relay_count(void);
bool relay_is_of(const struct ipc *c);

#endif
