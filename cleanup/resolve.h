/* SPDX-License-Identifier: ISC */
#ifndef CLEANUP_RESOLVE_H
#define CLEANUP_RESOLVE_H

#include "server/server.h"

/*
 * RESOLVE: routes for recipients that qmgr holds, by the tables in force now. Aliases were expanded
 * when the message was taken and are not again. The answer holds as many routes as fit a frame.
 */
void resolve_msg(struct server_peer *qmgr, struct ipc_msg *msg);
void resolve_peer_gone(struct server_peer *qmgr);

#endif
