/* SPDX-License-Identifier: ISC */
#ifndef QMGR_SITE_H
#define QMGR_SITE_H

#include "qmgr/active.h"
#include "server/server.h"

/*
 * Sites: which destinations are behind the same hosts. resolver is asked (DNS_SITE) about those of
 * transports that have a limit for sites; their recipients wait meanwhile, at most SITE_WAIT. A
 * next hop about which nothing comes is a site of its own until it is asked about again. What is
 * said holds as long as the MX records that it is from, within the bounds of schedule.h.
 */
#define SITE_WAIT (5 * CLOCK_SEC)
enum { SITE_QUESTIONS = 1000 }; /* at once; others wait until one of them is answered */

void site_init(void);
/*
 * True when r waits for the site of its destination (key: active_dest_key); active_enqueue is
 * called again when that is said. All who have the same transport and next hop share a question;
 * beyond SITE_QUESTIONS the questions wait for each other, and SITE_WAIT begins when it is asked.
 */
bool site_wait(struct active *a, struct active_rcpt *r, struct slice key);
/* It waits no longer, if it did. */
void site_forget(struct active_rcpt *r);

void site_msg(struct ipc_msg *msg);
void site_peer_new(void);
void site_peer_gone(struct server_peer *peer);

#endif
