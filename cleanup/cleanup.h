/* SPDX-License-Identifier: ISC */
#ifndef CLEANUP_CLEANUP_H
#define CLEANUP_CLEANUP_H

#include "net/loop.h"
#include "queue/id.h"
#include "queue/journal.h"
#include "route/route.h"

/*
 * cleanup, the only author of queued messages. Its modules:
 *
 *   main.c        start, peers, stop
 *   author.c      what smtpd and local ask: MSG_…
 *   message.c     a message from its begin to its end, whoever asked for it
 *   content.c     content on its way: the header section, memory, the file of a large body
 *   trace.c       headers that are added: Received: and what is missing
 *   recipients.c  aliases and routes of each recipient; waits for tables, never for the disk
 *   rewrite.c     addresses in headers
 *   commit.c      the journal: many messages, one sync
 *   link.c        qmgr: what is durable, failed segments, ids
 *   space.c       whether there is room for more
 *   resolve.c     routes for qmgr
 *   notice.c      bounces and their like, for qmgr too
 *   requeue.c     a message made anew from itself
 *   pickup.c      maildrop: who takes which file; drop.c: a file becomes a message
 */
struct cleanup {
	struct queue_root root;
	struct queue_ids *ids;
	struct queue_journal *journal;
	struct route *route, *probe_route;
	size_t held; /* bytes of unfinished messages in memory */
	/* Settings that are looked at for each message. */
	size_t buffer_limit, journal_limit, header_limit;
	uint64_t outgoing_limit; /* bytes for a recipient of the default class; 0: none */
	int64_t hop_limit;
	bool long_ids, keep_original;
	bool tls_required; /* tls_required_enable */
};
extern struct cleanup cleanup;

#endif
