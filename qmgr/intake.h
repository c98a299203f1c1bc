/* SPDX-License-Identifier: ISC */
#ifndef QMGR_INTAKE_H
#define QMGR_INTAKE_H

#include "server/server.h"

/*
 * cleanup's side of the queue: where its segments are durable, what it has left, which sync
 * failed, whether an id is durable. New mail is read from the journal as the active queue has
 * room.
 */
void intake_new(struct server_peer *peer);
void intake_msg(struct server_peer *peer, struct ipc_msg *msg);
void intake_gone(struct server_peer *peer);
/* Reads what there is room for. */
void intake_run(void);
/* Answers questions for an id that wait, after anything new was read or taken over (Q6). */
void intake_answer(void);

#endif
