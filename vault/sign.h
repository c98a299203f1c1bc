/* SPDX-License-Identifier: ISC */
#ifndef VAULT_SIGN_H
#define VAULT_SIGN_H

#include "server/server.h"

/*
 * What TLS asks of vault: chains, those of names, signatures. A peer is answered by what its own
 * service has; its role says which side of a handshake it may be. What is refused is logged.
 */

/* Sends the chains of its service. */
void sign_peer_new(struct server_peer *peer);
void sign_peer_gone(struct server_peer *peer);
void sign_msg(struct server_peer *peer, struct ipc_msg *msg); /* TLS_NAME, TLS_SIGN */
/* A chain has changed: for chain_start. */
struct chain;
void sign_changed(const struct chain *c);

#endif
