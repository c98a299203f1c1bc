/* SPDX-License-Identifier: ISC */
#ifndef CLEANUP_NOTICE_H
#define CLEANUP_NOTICE_H

#include "server/server.h"

/*
 * A message that is to be requeued comes in the same frames (requeue.h).
 *
 * Notices for qmgr (NOTICE_…): a report about recipients of a message, made as a new message whose
 * envelope names its parent. Who is told, as in Postfix:
 *
 *   sender                      the sender, of recipients whose NOTIFY allows it (RFC 3461, 4.1);
 *                               with VERP by the sender of that recipient. Of what is asked for as
 *                               a copy, the postmaster, when notify_classes has "bounce" or "delay"
 *   null sender                 nobody; from double_bounce_sender 2bounce_notice_recipient, when
 *                               notify_classes has "2bounce" or "bounce", and
 *                               delay_notice_recipient, when it has "delay"
 *   double_bounce_sender        nobody: a report about such a report is dropped
 *
 * What was to be protected (REQUIRETLS) is in the notice, too: it requires TLS as well, or holds
 * nothing of the message but its Message-ID (requiretls_redact_dsn).
 */
void notice_open(void);
/* double_bounce_sender, at myhostname when it names no domain, as in Postfix. */
void notice_double_bounce(struct buf *out);
void notice_msg(struct server_peer *qmgr, struct ipc_msg *msg);
void notice_peer_gone(struct server_peer *qmgr);
bool notice_is_idle(void);

#endif
