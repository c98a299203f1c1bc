/* SPDX-License-Identifier: ISC */
#ifndef QUEUE_LOG_H
#define QUEUE_LOG_H

#include "queue/event.h"
#include "queue/io.h"

/*
 * qmgr's log of events: a chain of preallocated pieces, log/NN.piece (NN is a slot; the piece's
 * number is in its head). A piece: a head block that says number, generation and which piece it
 * follows, up to which offset (Q4), then events.
 *
 * qmgr notes events: they go to the page cache at flush; the keeper syncs. A sync begins on a new
 * block. What was noted since the last good sync is kept in memory too, and after a failed one it
 * is written again in a new piece, whose head cuts the old one at the last good place (Q12). A
 * start does the same with what it finds behind the last place that is known to be durable.
 */
#define QUEUE_PIECE_SIZE (8u << 20)
#define QUEUE_PIECE_SLOTS 64

enum queue_slot_state {
	QUEUE_SLOT_ABSENT, /* no file, or one that must be written whole first */
	QUEUE_SLOT_SPARE,
	QUEUE_SLOT_USED,
	QUEUE_SLOT_STALE, /* behind a cut that is not durable yet: kept as it is until then */
};

struct queue_slot {
	uint8_t state;
	bool is_dirty; /* holds notes that no sync has covered */
	int fd;        /* -1: not open */
	uint32_t number;
	uint64_t generation, size;
	uint64_t end; /* where its successor cuts it; UINT64_MAX: none yet */
};

struct queue_log_place {
	uint32_t number;
	uint64_t generation, offset;
};

struct queue_log {
	struct queue_root root;
	uint64_t piece_size;
	struct queue_slot slots[QUEUE_PIECE_SLOTS];
	int current;                      /* slot; -1: none */
	uint64_t pos;                     /* where pending begins, in the current piece */
	struct buf pending;               /* encoded, not yet written */
	struct buf redo;                  /* plain, since the last good sync */
	size_t redo_synced;               /* bytes of it that the sync under way covers */
	uint64_t noted, durable, syncing; /* tickets */
	bool is_syncing;
	struct queue_log_place good;    /* durable up to here */
	struct queue_log_place covered; /* by the sync under way */
	struct queue_log_place follows; /* for the current piece's head, while it is not written */
	bool is_unpublished;            /* the current piece has no head yet */
	bool is_bad;        /* the current piece must be replaced, and there was none yet */
	bool needs_space;   /* a write found none, though blocks were there (copy on write) */
	bool is_continuing; /* a start, which has not noted again all that it found */
};

void queue_log_init(struct queue_log *log, const struct queue_root *root, uint64_t piece_size);
void queue_log_clear(struct queue_log *log);

/* ERR_FULL: no spare piece, or more since the last sync than one piece could take again. *ticket
 * may be NULL. */
int queue_log_note(struct queue_log *log, const struct queue_event *ev, uint64_t *ticket);
/* How full of notes since the last sync it is, in percent: sync in time. */
int queue_log_load(const struct queue_log *log);
/* To the page cache. A failed write begins a new piece; ERR_SYS, ERR_FULL: that failed too. For
 * want of space the new one stays a spare, and all is kept for the next try. */
int queue_log_flush(struct queue_log *log);
/* Something is noted that no sync covers. */
bool queue_log_is_dirty(const struct queue_log *log);
/*
 * Begins a sync: flushes, closes the block. slots gets the slots to sync, in order. One at a
 * time (ERR_STATE).
 */
int queue_log_sync_begin(struct queue_log *log, uint8_t slots[QUEUE_PIECE_SLOTS], int *n);
/* Its outcome. After a failure all since the last good sync is in a new piece: sync again. */
int queue_log_sync_end(struct queue_log *log, bool is_good);
/* Spare slots at hand, and one that has no file yet (-1: none). */
int queue_log_spares(const struct queue_log *log);
int queue_log_absent(const struct queue_log *log);
/* Slots in use. */
int queue_log_used(const struct queue_log *log);
/* The slot of the oldest piece in use, -1 when it is the current one or the good place is in it. */
int queue_log_oldest(const struct queue_log *log);
/* Its contents are carried on durably: a spare again. */
void queue_log_drop(struct queue_log *log, int slot);

/* ---- Reading at start ---- */

struct queue_log_piece {
	int slot;
	uint32_t number, prev;
	uint64_t generation, prev_generation, prev_end, size;
	uint64_t end; /* as its successor says; UINT64_MAX for the last */
	char *bytes;  /* owned, the whole piece */
};

struct queue_log_image {
	struct queue_log_piece *pieces; /* the chain, oldest first; owned */
	int n;
	struct queue_log_place durable; /* the highest place that a synced event names */
	int damaged;                    /* bad places below it */
	int at;                         /* cursor */
	uint64_t offset;
	struct queue_log_place end; /* behind the last good event, when the cursor is through */
	bool is_behind_durable;     /* the event just read lies behind the durable place */
};

/* Reads all pieces and finds the chain. No log at all: n is 0. ERR_SYS. */
int queue_log_read(const struct queue_root *root, struct queue_log_image *image);
void queue_log_image_clear(struct queue_log_image *image);
/* Events in order, up to the first bad one behind the durable place (Q4). False at the end. */
bool queue_log_next(struct queue_log_image *image, struct queue_event *ev);
void queue_log_rewind(struct queue_log_image *image);

/*
 * Begins writing after a chain: a new piece that follows `after`. Makes pieces, which waits for
 * the disk. The caller notes again what stood behind `after`, then publishes: until then a
 * death leaves the old chain as it was.
 */
int queue_log_continue(struct queue_log *log, const struct queue_log_image *image,
	const struct queue_log_place *after);
int queue_log_publish(struct queue_log *log);

/* One event of a piece's bytes, at *offset; skips padding. ERR_NOT_FOUND: nothing good there. */
int queue_piece_next(struct slice bytes, uint64_t generation, uint64_t end, uint64_t *offset,
	struct queue_event *ev);
/* Reads one piece whole (its head is good). ERR_CORRUPT, ERR_NOT_FOUND, ERR_SYS. */
int queue_piece_read(const struct queue_root *root, int slot, struct queue_log_piece *piece);

void queue_piece_path(int slot, char path[32]);
/* Creates a spare: zeros, synced with its name. ERR_FULL, ERR_SYS. The keeper does it. */
int queue_piece_make(const struct queue_root *root, int slot, uint64_t size);

#endif
