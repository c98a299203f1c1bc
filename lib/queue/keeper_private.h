/* SPDX-License-Identifier: ISC */
#ifndef QUEUE_KEEPER_PRIVATE_H
#define QUEUE_KEEPER_PRIVATE_H

#include "queue/keeper.h"
#include "queue/log.h"
#include "queue/order.h"
#include "queue/segment.h"

/* Inside of the keeper (lib/queue only). keeper.c: the log, segments; keeper_file.c: files. */
#define SEGMENTS 256 /* open at a time */

struct held {
	struct queue_segment seg;
	bool is_locked, is_used;
};

struct queue_keeper {
	struct queue_root root;
	int slots[QUEUE_PIECE_SLOTS]; /* kept open: an error of write-back is told to open files */
	struct held held[SEGMENTS];
};

static inline const struct queue_io *keeper_io(const struct queue_keeper *k)
{
	return k->root.io;
}

/* The payload of a message's record, borrowed until the next call. Errors of queue_record_read. */
int keeper_record(struct queue_keeper *k, struct slice id, const struct queue_ref *ref,
	struct slice *payload);
/* Closes the segments that were opened to read a record. */
void keeper_drop_unlocked(struct queue_keeper *k);

/* Orders about files (queue/order.h). */
int keeper_move(struct queue_keeper *k, struct reader *r, struct buf *reply);
int keeper_rename(struct queue_keeper *k, struct reader *r, struct buf *reply);
int keeper_unlink(struct queue_keeper *k, struct reader *r, struct buf *reply);
int keeper_append(struct queue_keeper *k, struct reader *r, struct buf *reply);
int keeper_read(struct queue_keeper *k, struct reader *r, struct buf *reply);
int keeper_walk(struct queue_keeper *k, struct reader *r, struct buf *reply);
int keeper_sweep(struct queue_keeper *k, struct reader *r, struct buf *reply);

#endif
