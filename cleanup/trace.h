/* SPDX-License-Identifier: ISC */
#ifndef CLEANUP_TRACE_H
#define CLEANUP_TRACE_H

#include "cleanup/message.h"

/*
 * The headers that cleanup adds, in Postfix's form and places: Received: above all others,
 * Message-Id:, Date:, From: and undisclosed_recipients_header behind them where they are missing
 * and the client's headers are ours to complete: smtpd says so by QUEUE_FLAG_COMPLETE
 * (local_header_rewrite_clients), or always_add_missing_headers is on.
 */
/* Appends to m->top: Received:, and the name that a mailbox line gets in front. */
void trace_received(struct message *m);
/* Completes addresses in the headers of such a client, and of others by
 * remote_header_rewrite_domain; appends to m->bottom what is missing. */
void trace_missing(struct message *m);

#endif
