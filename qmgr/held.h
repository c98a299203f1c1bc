/* SPDX-License-Identifier: ISC */
#ifndef QMGR_HELD_H
#define QMGR_HELD_H

#include "qmgr/active.h"
#include "server/server.h"

/*
 * Jobs that living workers hold since before this qmgr began (Q5). A worker names them (HELD_JOB),
 * reports on them (HELD_REPORT, HELD_END) and keeps its reports until they are noted (HELD_NOTED).
 * A report may come before its message has been read: it is kept here until then, also when the
 * worker has gone meanwhile.
 */

/* HELD_JOB, HELD_REPORT, HELD_END. */
void held_msg(struct server_peer *peer, struct ipc_msg *msg);
/* The worker has gone: what it had not reported is in doubt. */
void held_gone(struct server_peer *peer);
/* Recipient r was out when the store was opened: gives it its result, now or when it comes, or
 * notes the doubt when nobody holds it. */
void held_attach(struct active *a, struct active_rcpt *r);
/* Every recipient of a that was out has been attached: what else was held of it has a result. */
void held_begun(const struct active *a);
/* Lets go, now and then, of jobs whose message is nowhere any more. */
void held_tick(void);
/* a is freed. */
void held_forget(const struct active *a);

#endif
