/* SPDX-License-Identifier: ISC */
#ifndef QMGR_ASK_H
#define QMGR_ASK_H

#include "qmgr/active.h"
#include "server/server.h"

/*
 * What cleanup is asked: routes for recipients that are due again (RESOLVE), and notices about
 * what became of them (NOTICE). A request whose cleanup is lost goes to another; a notice only when
 * the store has taken over all that the lost one had committed, since the notice may be among it
 * (Q14). A requeue is asked like a notice, but for whole content.
 */

/* Asks for the routes of all recipients of a that are RESOLVING and not asked for yet. */
void ask_routes(struct active *a);
/* A notice about these recipients (BOUNCE, DELAY, SUCCESS, TRACE); ends by active_notice_done or
 * active_child. */
void ask_notice_of(struct active *a, enum queue_reason reason, const uint32_t *rcpts, uint32_t n);
/* A new message for these, which the store knows as asked for; ends by active_requeue_failed or
 * active_child. */
void ask_requeue_of(struct active *a, const uint32_t *rcpts, uint32_t n);
/* Answers for a, or for its routes alone, are not wanted any more. */
void ask_forget(const struct active *a);
void ask_forget_routes(const struct active *a);
/* Notices that cleanup is at work on. */
size_t ask_notices(void);
/* The content of a message came, or cannot. */
void ask_content(struct queue_message *m, int result, struct slice content);

/* New settings have come: routes are asked for at cleanups that start from now on. */
void ask_settings_changed(void);
/* A session of a worker, for the postmaster: goes to a cleanup, if there is one. */
void ask_transcript(const struct ipc_msg *msg);

void ask_peer_new(void);
/* RESOLVED, NOTICE_*. False: not one of these. */
bool ask_msg(struct server_peer *peer, struct ipc_msg *msg);
void ask_peer_gone(struct server_peer *peer);
void ask_peer_room(struct server_peer *peer);
/* The store has taken over everything of that cleanup. */
void ask_worker_done(uint64_t worker);

#endif
