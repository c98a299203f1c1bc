/* SPDX-License-Identifier: ISC */
#ifndef LOCAL_FRONT_H
#define LOCAL_FRONT_H

#include "server/job.h"
#include "server/server.h"

/* The front's side of its peers, without rights: see struct server_spec. */
void front_peer_new(struct server_peer *peer);
void front_peer_msg(struct server_peer *peer, struct ipc_msg *msg);
void front_peer_gone(struct server_peer *peer);
void front_peer_room(struct server_peer *peer);
void front_drain(bool now); /* what is at work goes on; the last job's end ends the program */
void front_stop(void);

#endif
