/* SPDX-License-Identifier: ISC */
#ifndef QUEUE_SEGMENT_H
#define QUEUE_SEGMENT_H

#include "queue/id.h"
#include "queue/journal.h"

/*
 * A segment of the journal on disk, and the records in it: what writer (journal.c), reader
 * (store, keeper) and dump share.
 *
 * incoming/NNNNNNNN.segment: a head block, records, a copy of the head in the last block. The
 * head says which generation is current (Q15) and whether it is in use or free. "Free" is written
 * only behind a durable "segment ended" in the log (Q7). It is a hint for workers alone;
 * recovery goes by the log.
 *
 * Record: head (fixed), a CRC-32C for each QUEUE_CHUNK of payload, payload (envelope, content),
 * zeros to QUEUE_RECORD_UNIT. The head's own checksum covers head and table.
 */
#define QUEUE_SEGMENT_SIZE (64u << 20)
#define QUEUE_RECORD_UNIT 64
#define QUEUE_RECORD_HEAD 96

enum queue_segment_state { QUEUE_SEGMENT_FREE = 1, QUEUE_SEGMENT_USED = 2 };

struct queue_segment {
	const struct queue_io *io;
	int fd;
	uint32_t number;
	uint64_t size; /* of the file */
	uint8_t state; /* enum queue_segment_state */
	uint8_t generation[QUEUE_GENERATION];
	/* A window of the file for the reader. */
	char *window; /* owned */
	uint64_t window_at;
	size_t window_len, window_cap;
};

struct queue_record {
	struct queue_ref ref;
	char id[QUEUE_ID_MAX + 1];
	uint64_t durable; /* the segment was durable up to here when it was written */
	uint64_t payload; /* where it begins */
	uint64_t end;     /* behind it, aligned to QUEUE_RECORD_UNIT */
	uint32_t content_len;
};

#define QUEUE_SEGMENT_PATH 32
void queue_segment_path(uint32_t number, char path[QUEUE_SEGMENT_PATH]);
/* The number of a name in incoming/, or 0. */
uint32_t queue_segment_number(const char *name);

/*
 * Opens and reads the head (the copy where the first is bad). ERR_CORRUPT: no good head, the
 * segment is open all the same; ERR_NOT_FOUND, ERR_SYS: it is not.
 */
int queue_segment_open(const struct queue_root *root, uint32_t number, struct queue_segment *s);
int queue_segment_reload(struct queue_segment *s); /* reads the head again */
void queue_segment_close(struct queue_segment *s);
/* Writes both heads from s; does not sync. */
int queue_segment_write_head(struct queue_segment *s);
/* First and last (exclusive) place of records. */
static inline uint64_t queue_segment_begin(const struct queue_segment *s)
{
	return QUEUE_BLOCK;
}
static inline uint64_t queue_segment_end(const struct queue_segment *s)
{
	return s->size - QUEUE_BLOCK;
}

/* len bytes at offset, borrowed until the next call. ERR_SHORT, ERR_AGAIN (nowait), ERR_SYS. */
int queue_segment_get(
	struct queue_segment *s, uint64_t offset, size_t len, bool nowait, struct slice *out);
/* Forgets the window: the file may have changed. */
void queue_segment_forget(struct queue_segment *s);

/* The record at offset: its head is good, its end not behind limit. ERR_CORRUPT, ERR_AGAIN,
 * ERR_SYS. */
int queue_record_read(struct queue_segment *s, uint64_t offset, uint64_t limit, bool nowait,
	struct queue_record *r);
/* Payload bytes from 0 to len (rounded up to chunks), verified. ERR_CORRUPT, ERR_AGAIN, ERR_SYS. */
int queue_record_payload(struct queue_segment *s, const struct queue_record *r, size_t len,
	bool nowait, struct slice *out);
/*
 * The next record from *offset on, searching for the generation where there is none. *offset
 * goes behind it. *gap: bytes passed over that are neither a record nor the padding of a commit.
 * ERR_NOT_FOUND: none up to limit.
 */
int queue_record_next(struct queue_segment *s, uint64_t *offset, uint64_t limit, bool nowait,
	struct queue_record *r, uint64_t *gap);

/* The head for a record; out has room for queue_record_head_len bytes. */
static inline size_t queue_record_head_len(uint64_t payload)
{
	return QUEUE_RECORD_HEAD + (size_t)((payload + QUEUE_CHUNK - 1) / QUEUE_CHUNK) * 4;
}
void queue_record_head(char *out, const uint8_t generation[QUEUE_GENERATION],
	const struct queue_record *r, const uint32_t *crcs);

#endif
