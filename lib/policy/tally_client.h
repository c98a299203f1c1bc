/* SPDX-License-Identifier: ISC */
#ifndef POLICY_TALLY_CLIENT_H
#define POLICY_TALLY_CLIENT_H

#include "ipc/ipc.h"

/*
 * smtpd's side of the counts that tally keeps over all workers. A session registers itself when its
 * client has connected and keeps the handle until it ends, so that a tally that was started anew
 * is told of all open sessions, and one that loses a worker forgets the worker's sessions.
 *
 * tally never holds a session up: without an answer in TALLY_WAIT the session goes on. smtpd hands
 * over its peer of the role tally as it comes and goes, and that peer's frames.
 */
struct tally_session;

enum { TALLY_WAIT = 200 * 1000 }; /* microseconds */

void tally_client_add(struct ipc *c);
void tally_client_msg(struct ipc *c, struct ipc_msg *msg);
void tally_client_remove(struct ipc *c);

/*
 * A client has connected to service (as in master.cf: connections are counted per service and
 * client address). answer is called once, from the event loop: with the client's connections now,
 * this one included, or 0 when tally has not said it in time. Owned; tally_leave ends it.
 */
struct tally_session *tally_enter(struct slice service, struct slice client_addr,
	void (*answer)(void *arg, uint64_t connections), void *arg);
/* The client has gone, or is not to be counted; answer is not called any more. *t may be NULL. */
void tally_leave(struct tally_session **t);

#endif
