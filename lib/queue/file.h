/* SPDX-License-Identifier: ISC */
#ifndef QUEUE_FILE_H
#define QUEUE_FILE_H

#include "queue/envelope.h"
#include "queue/event.h"
#include "queue/io.h"

/*
 * Waiting files: deferred/HH/ID, hold/HH/ID, corrupt/HH/ID, where HH is the id's hash. Immutable
 * part: header block (magic, lengths, generation for events, checksums), envelope, content (for a
 * large message its header section); then, each append on a block of its own, events. A large body
 * is ID.body beside it, incoming/ID.body before, and incoming/ID.part, locked, while it is being
 * written: bytes, then a CRC-32C for each QUEUE_CHUNK. mtime
 * is when the message is due (a hint: wrong after a power cut, then it is tried early).
 */
enum queue_place {
	QUEUE_PLACE_JOURNAL,
	QUEUE_PLACE_DEFERRED,
	QUEUE_PLACE_HOLD,
	QUEUE_PLACE_CORRUPT,
	QUEUE_PLACES,
};

/* "incoming", "deferred", "hold", "corrupt". */
const char *queue_place_name(enum queue_place place);
#define QUEUE_PATH_MAX 96
/* "deferred/1F/0A2B…" and, with is_body, ".body" behind it. */
void queue_file_path(
	enum queue_place place, struct slice id, bool is_body, char path[QUEUE_PATH_MAX]);

/* A waiting file read whole: envelope, content and events, all verified. */
struct queue_file {
	struct buf bytes;      /* owned */
	struct slice envelope; /* borrowed from bytes, as the rest */
	struct slice content;
	struct slice events; /* for queue_file_event_next */
	uint64_t generation;
	uint64_t end; /* where the next append goes */
	bool is_torn; /* bytes that are no event stood behind the last good one */
};

/*
 * Reads it. with_content false: content stays empty and unverified. ERR_NOT_FOUND; ERR_CORRUPT,
 * ERR_RANGE (a newer version); ERR_SYS. On success the caller calls queue_file_clear.
 */
int queue_file_read(const struct queue_root *root, enum queue_place place, struct slice id,
	bool with_content, struct queue_file *f);
void queue_file_clear(struct queue_file *f);
/* Events with numbers above *last_no only, in order (start with 0). False at the end. */
bool queue_file_event_next(struct queue_file *f, uint32_t *last_no, struct queue_event *ev);
/* Finds in which of deferred, hold, corrupt the id is. ERR_NOT_FOUND, ERR_SYS. */
int queue_file_find(const struct queue_root *root, struct slice id, enum queue_place *place);

/* Everything below waits for the disk; the keeper does it. */

/* Creates (or replaces: the same id has the same message) and does not sync. fd stays open. */
int queue_file_write(const struct queue_root *root, enum queue_place place, struct slice id,
	struct slice envelope, struct slice content, struct slice events_plain, int64_t due,
	int *fd);

/*
 * Appends events on a block of their own behind the last good one and does not sync. fd stays
 * open. ERR_NOT_FOUND and the errors of queue_file_read.
 */
int queue_file_append(const struct queue_root *root, enum queue_place place, struct slice id,
	struct slice events_plain, int64_t due, int *fd);
/* Renames the message or its body; neither directory is synced. ERR_NOT_FOUND, ERR_FULL, ERR_SYS.
 */
int queue_file_rename(const struct queue_root *root, enum queue_place from, enum queue_place to,
	struct slice id, bool is_body);
/* Plain events (generation 0) in another generation. */
int queue_file_encode_events(struct slice plain, uint64_t generation, struct buf *out);

/* ---- Large bodies, written by cleanup before the commit, read by delivery workers. ---- */
struct queue_body;

/* incoming/ID.part. ERR_FULL, ERR_SYS. */
int queue_body_create(const struct queue_root *root, struct slice id, struct queue_body **b);
/* Write-back is started each 1 MB, nothing is waited for. A failed one poisons the body. */
int queue_body_append(struct queue_body *b, const struct iovec *iov, int n);
uint64_t queue_body_size(const struct queue_body *b);
/* Writes the checksums, syncs the file, names it ID.body and syncs that. After 0 the record may be
 * committed. */
int queue_body_sync(struct queue_body *b);
/* Closes; the file stays. To be called when the record is durable: while it is open its lock tells
 * sweepers that somebody is at it. */
void queue_body_close(struct queue_body **b);
/* Closes and unlinks: not committed. */
void queue_body_discard(struct queue_body **b);

/* Removes parts that no living process holds, last written before that real time: their writer was
 * killed. How many; ERR_SYS. */
int queue_body_sweep(const struct queue_root *root, int64_t before);

/* Opens ID.body for reading, wherever it is (place first). ERR_NOT_FOUND, ERR_SYS. */
int queue_body_open(
	const struct queue_root *root, enum queue_place place, struct slice id, int *fd);

/* Reads a body from a descriptor, each chunk verified before a byte of it is given out. */
struct queue_body_reader {
	const struct queue_io *io;
	int fd; /* borrowed */
	uint64_t len, offset;
	char *chunk; /* owned, QUEUE_CHUNK bytes */
};
void queue_body_reader_init(
	struct queue_body_reader *r, const struct queue_io *io, int fd, uint64_t len);
/* The next chunk, borrowed until the next call; empty at the end. ERR_CORRUPT, ERR_SHORT, ERR_SYS.
 */
int queue_body_reader_next(struct queue_body_reader *r, struct slice *chunk);
void queue_body_reader_clear(struct queue_body_reader *r);

#endif
