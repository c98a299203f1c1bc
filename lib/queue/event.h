/* SPDX-License-Identifier: ISC */
#ifndef QUEUE_EVENT_H
#define QUEUE_EVENT_H

#include "queue/journal.h"
#include "queue/state.h"
#include "util/buf.h"

/*
 * One event, in the log or behind a waiting file. On disk: length u32, CRC-32C u32 (of all behind
 * it), generation u64 of the piece or file (Q4), type u8, then typed fields (tag u8, length u16).
 * Fields that are zero or empty are left out. A length of 0 pads to the end of the block.
 */
#define QUEUE_EVENT_MAX 65000
#define QUEUE_EVENT_TEXT_MAX 1000
#define QUEUE_EVENT_RCPTS 10000 /* recipients of one event; more are more events */
#define QUEUE_EVENT_UNTRIED 1u  /* nothing was tried: the hand-out before it does not count */
/* Of an attempt's hand-out, doubt or result: enum queue_road. */
#define QUEUE_EVENT_RELAY 2u
#define QUEUE_EVENT_DIRECT 4u
#define QUEUE_EVENT_ROAD(flags) ((flags) >> 1 & 3u)
#define QUEUE_EVENT_BY_ROAD(road) ((uint8_t)((road) << 1))

struct queue_event {
	uint8_t type; /* enum queue_event_type */
	uint32_t no;  /* within its message, from 1 */
	int64_t time; /* real µs */
	struct slice id;
	struct slice rcpts; /* u32 little-endian each: indices; empty for the message as a whole */
	struct slice dsn;   /* "5.1.1" */
	struct slice host;  /* "mx.example.net[192.0.2.1]:25" */
	struct slice text;  /* reply or reason */
	int64_t due;        /* DEFERRED: next attempt, real µs */
	/* Child (NOTIFIED, PASSED, DELAY_TOLD, TRACED, COPIED) or parent (ACCEPTED, DROPPED). */
	struct slice other;
	uint8_t reason; /* enum queue_reason; DELIVERED: enum queue_how */
	uint8_t place;  /* MOVED: enum queue_place */
	uint32_t segment;
	uint8_t generation[QUEUE_GENERATION];
	uint64_t offset;
	uint8_t flags;     /* QUEUE_EVENT_* */
	struct slice data; /* DONE, STATE: packed, see event.c */
};

/* Appends the encoding. ERR_LIMIT, ERR_RANGE (a field over its bound). */
int queue_event_encode(struct buf *out, uint64_t generation, const struct queue_event *ev);
/*
 * The event at the front of in; *used bytes are taken. ERR_NOT_FOUND: padding (length 0);
 * ERR_SHORT, ERR_CORRUPT: not an event of this generation. Slices are borrowed from in.
 */
int queue_event_decode(struct slice in, uint64_t generation, struct queue_event *ev, size_t *used);

uint32_t queue_event_rcpt_count(const struct queue_event *ev);
uint32_t queue_event_rcpt(const struct queue_event *ev, uint32_t i);

#endif
