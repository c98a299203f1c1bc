/* SPDX-License-Identifier: ISC */
#ifndef QMGR_PICKUP_H
#define QMGR_PICKUP_H

#include "server/server.h"

/*
 * Q19: mail of maildrop. Answers cleanup, which found a file whose taker has died: did it become
 * the message whose id it has? Yes at once; no when all is read that lost workers had committed,
 * and a second after the question, so that their deaths are known here. And asks a cleanup to see
 * to what is left of lost workers, before their segments end.
 */
void pickup_query(struct server_peer *peer, struct ipc_msg *msg);
void pickup_settled(struct server_peer *peer, struct ipc_msg *msg);
void pickup_peer_new(struct server_peer *peer);
void pickup_peer_gone(struct server_peer *peer);
/* At the end of an iteration. */
void pickup_run(void);

#endif
