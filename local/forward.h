/* SPDX-License-Identifier: ISC */
#ifndef LOCAL_FORWARD_H
#define LOCAL_FORWARD_H

#include "local/delivery.h"
#include "server/server.h"

/*
 * A new message through cleanup to the addresses of a plan, made from one recipient of a job. The
 * content is passed on unread; Delivered-To: goes on top. It names the job's message and recipient
 * as its parent, so that qmgr accepts one such message alone, whoever dies in between. The
 * recipient is reported as passed on when it is durable.
 */
struct forward;

/* done is called once, from the loop, unless the forward is dropped before. All is borrowed until
 * then. */
struct forward *forward_new(const struct job *j, const struct job_rcpt *r, const struct plan *p,
	void (*done)(const struct outcome *o, void *arg), void *arg);
void forward_drop(struct forward **f);

/* A cleanup, its frames, room for more, and its end. */
void forward_peer_new(struct server_peer *peer);
void forward_msg(struct server_peer *peer, struct ipc_msg *msg);
void forward_room(struct server_peer *peer);
void forward_gone(struct server_peer *peer);

#endif
