/* SPDX-License-Identifier: ISC */
#ifndef CLEANUP_AUTHOR_H
#define CLEANUP_AUTHOR_H

#include "server/server.h"

/* smtpd and local: many messages at once over each connection, each one a request (MSG_…). */
void author_peer_new(struct server_peer *peer);
void author_peer_gone(struct server_peer *peer);
void author_peer_msg(struct server_peer *peer, struct ipc_msg *msg);
/* No message is without its answer, and none was begun behind that (monotonic) time. */
bool author_is_idle(int64_t since);

#endif
