/* SPDX-License-Identifier: ISC */
#ifndef CLEANUP_REQUEUE_H
#define CLEANUP_REQUEUE_H

#include "cleanup/message.h"
#include "mail/dsn.h"

/*
 * A message made anew from itself (NOTICE with QUEUE_REASON_REQUEUE): the same envelope and
 * content, but for a new id; its recipients pass through virtual_alias_maps again and get new
 * routes, and it is not on hold. No Received: is added, as in Postfix. The parent's recipients end
 * with it (Q14).
 */

/* A new one from the parent's encoded envelope. ERR_CORRUPT and its kin: nothing was taken. */
int requeue_fill(struct message *m, struct slice encoded);
/* is_expanded: it is not to be delivered (QUEUE_RCPT_EXPANDED). */
void requeue_recipient(
	struct message *m, const struct dsn_recipient *rcpt, unsigned notify, bool is_expanded);
/* The parent's large body from a file that stays the caller's. NULL or why not. */
const struct message_failure *requeue_body(struct message *m, int fd, uint64_t size);
/* All has come. NULL: it may be committed. */
const struct message_failure *requeue_end(struct message *m, const char *parent);

#endif
