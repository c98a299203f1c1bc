/* SPDX-License-Identifier: ISC */
#ifndef QUEUE_ORDER_H
#define QUEUE_ORDER_H

#include "queue/file.h"
#include "queue/journal.h"
#include "util/buf.h"
#include "util/wire.h"

/*
 * What store and keeper say to each other (lib/queue only). An order: type u8, then what the
 * table says; its reply: type u8, status u32 (a result of util/err.h), then likewise. Integers
 * are little-endian, strings behind a u32 length; "n ×" is a u32 count.
 *
 *   SYNC      n × slot u8                                  →
 *   PIECE     slot u8, size u64                            →
 *   DROP      slot u8, end u64                             →
 *   MOVE      n × (id, place u8, due u64, ref, body u8, events)   → n × status
 *   RENAME    n × (id, from u8, to u8, body u8, due u64, events)  → n × status
 *   UNLINK    n × (id, body u8)                            → n × status
 *   APPEND    id, place u8, due u64, events                →
 *   READ      id, place u8, content u8                     → place u8, envelope, content, events
 *   TAKEOVER  segment u32, from u64, cut u64               → generation, durable u64, end u64
 *   FREE      segment u32, generation                      →
 *   WALK      place u8, directory                          → n × (name, mtime u64, kind u8)
 *   SCAN                                                   → n × segment u32
 *   WARM      segment u32, offset u64, length u32          →
 *   ASIDE     segment u32, offset u64, length u64          →
 *   SWEEP     before u64                                   → n × id (bodies of nothing)
 *   KEEP      bytes (queue/kept.h)                         →
 */
enum queue_order {
	QUEUE_ORDER_SYNC = 1,
	QUEUE_ORDER_PIECE,
	QUEUE_ORDER_DROP,
	QUEUE_ORDER_MOVE,
	QUEUE_ORDER_RENAME,
	QUEUE_ORDER_UNLINK,
	QUEUE_ORDER_APPEND,
	QUEUE_ORDER_READ,
	QUEUE_ORDER_TAKEOVER,
	QUEUE_ORDER_FREE,
	QUEUE_ORDER_WALK,
	QUEUE_ORDER_SCAN,
	QUEUE_ORDER_WARM,
	QUEUE_ORDER_ASIDE,
	QUEUE_ORDER_SWEEP,
	QUEUE_ORDER_KEEP,
	QUEUE_ORDERS,
};

/* What a walk finds. */
enum queue_walk_kind {
	QUEUE_WALK_FILE,
	QUEUE_WALK_DIR,
	QUEUE_WALK_MOVED,   /* stood elsewhere than its id says; a file in its place now */
	QUEUE_WALK_FOREIGN, /* no queue file by its name: in corrupt/ now */
	QUEUE_WALK_STUCK,   /* one of these two, and another file has its place */
};

#define QUEUE_ORDER_ITEMS 256 /* of one MOVE, RENAME or UNLINK */
#define QUEUE_EVENTS_PLAIN_MAX (64u << 20)

static inline void queue_put_ref(struct buf *b, const struct queue_ref *ref)
{
	wire_u32(b, ref->segment);
	wire_u64(b, ref->offset);
	wire_u32(b, ref->length);
	wire_u32(b, ref->envelope_len);
}

static inline struct queue_ref queue_get_ref(struct reader *r)
{
	struct queue_ref ref = {.segment = reader_u32(r)};

	ref.offset = reader_u64(r);
	ref.length = reader_u32(r);
	ref.envelope_len = reader_u32(r);
	return ref;
}

#endif
