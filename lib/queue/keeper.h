/* SPDX-License-Identifier: ISC */
#ifndef QUEUE_KEEPER_H
#define QUEUE_KEEPER_H

#include "queue/io.h"
#include "util/buf.h"

/*
 * The keeper: does all the waiting for the disk that qmgr's store (queue/store.h) orders. An
 * order is a run of bytes from queue_store_order, of at most QUEUE_ORDER_MAX, carried by whatever
 * transport, executed in the order in which they were made; each has exactly one reply, which
 * goes to queue_store_reply. Keeper and store trust each other; the bytes are checked all the
 * same.
 *
 * A keeper that dies: qmgr drops the store and exits; the next start recovers (Q13). A qmgr that
 * dies: the keeper may finish the order at hand, must not begin another, and exits.
 */
/* Room for all events of one message (QUEUE_EVENTS_PLAIN_MAX), and of others up to 1 MB. */
#define QUEUE_ORDER_MAX (66u << 20)
#define QUEUE_REPLY_MAX (192u << 20)

struct queue_keeper;

/* root is copied; its descriptor is borrowed. */
struct queue_keeper *queue_keeper_new(const struct queue_root *root); /* owned */
void queue_keeper_free(struct queue_keeper **k);
/*
 * Executes an order, appends the reply. Failures of the disk travel in the reply; ERR_CORRUPT:
 * the order is not well-formed.
 */
int queue_keeper_run(struct queue_keeper *k, struct slice order, struct buf *reply);

#endif
