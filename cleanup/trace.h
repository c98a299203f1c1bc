/* SPDX-License-Identifier: ISC */
#ifndef CLEANUP_TRACE_H
#define CLEANUP_TRACE_H

#include "cleanup/message.h"

/*
 * The headers that cleanup adds, in Postfix's form and places: Received: above all others,
 * Message-Id:, Date:, From: and undisclosed_recipients_header behind them where they are missing
 * and the client's headers are ours to complete (local_header_rewrite_clients,
 * always_add_missing_headers).
 */
void trace_open(struct buf *why, int *err); /* *err: ERR_SYNTAX, with the reason */

/* Appends to m->top: Received:, and the name that a mailbox line gets in front. */
void trace_received(struct message *m);
/* Completes addresses in the headers of such a client, and of others by
 * remote_header_rewrite_domain; appends to m->bottom what is missing. 0, ERR_TEMP (a table failed)
 * or ERR_LATER. */
int trace_missing(struct message *m, struct later *l);

#endif
