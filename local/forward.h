/* SPDX-License-Identifier: ISC */
#ifndef LOCAL_FORWARD_H
#define LOCAL_FORWARD_H

#include "local/delivery.h"
#include "server/server.h"

/*
 * A new message through cleanup to the addresses of a plan, made from one recipient of a job. The
 * content is passed on unread; Delivered-To: goes on top. It is a message of its own: the recipient
 * is reported as delivered when it is durable, so a death in between leaves that in doubt, as with
 * any next hop.
 */
struct forward;

/* done is called once, from the loop, unless the forward is dropped before. */
struct forward *forward_new(const struct job *j, const struct job_rcpt *r, const struct plan *p,
	void (*done)(const struct outcome *o, void *arg), void *arg);
void forward_drop(struct forward **f);

/* cleanup's frames, room for more, and its end. */
void forward_msg(struct server_peer *peer, struct ipc_msg *msg);
void forward_room(struct server_peer *peer);
void forward_gone(struct server_peer *peer);

#endif
