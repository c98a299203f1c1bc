/* SPDX-License-Identifier: ISC */
#ifndef QMGR_SITE_H
#define QMGR_SITE_H

#include "qmgr/active.h"
#include "server/server.h"

/*
 * Sites: which destinations are behind the same hosts. resolver is asked (DNS_SITE) about those of
 * transports that have a limit for sites; their recipients wait meanwhile, at most SITE_WAIT. A
 * destination about which nothing comes is a site of its own until it is asked about again.
 */
#define SITE_WAIT (5 * CLOCK_SEC)

void site_init(void);
/* True when r waits for its destination's site; active_enqueue is called again when that is said.
 */
bool site_wait(struct active *a, struct active_rcpt *r, struct slice key);
/* Recipients of a wait no longer. */
void site_forget(const struct active *a);

void site_msg(struct ipc_msg *msg);
void site_peer_new(void);
void site_peer_gone(struct server_peer *peer);

#endif
