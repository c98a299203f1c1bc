/* SPDX-License-Identifier: ISC */
#ifndef QUEUE_JOURNAL_H
#define QUEUE_JOURNAL_H

#include "queue/id.h"
#include "queue/io.h"
#include "util/slice.h"

/*
 * The journal, writer's half: what a cleanup worker needs. (qmgr reads through queue/store.h.)
 *
 * A worker holds one segment under its lock (Q7), appends whole messages, and makes everything
 * that was appended since the last sync durable with one fdatasync: a commit. A commit begins on
 * a block of its own. Appending writes to the page cache and does not wait; take, sync and
 * prepare wait for the disk.
 *
 *   queue_journal_open, queue_journal_take
 *   per message: queue_journal_append   (ERR_LIMIT: sync what is pending, take, append again)
 *   when nothing more is complete: queue_journal_sync; then, and only then, each 250.
 *       Tell qmgr {segment, durable offset} of queue_journal_position.
 *   in idle moments, while queue_journal_wants_prepare: queue_journal_prepare
 *
 * A failed append or sync (ERR_SYS): the segment takes nothing more and is kept locked. Ask
 * qmgr to note the cut (Q18) that queue_journal_cut gives; when qmgr says that it is durable call
 * queue_journal_cut_done and answer the messages behind the last sync with 451; when qmgr cannot
 * say so, close their sessions without a reply and call queue_journal_cut_abandon. Meanwhile
 * queue_journal_take begins another segment and other messages go on. Nothing is written again.
 */
struct queue_journal;

struct queue_journal_setup {
	struct queue_root root;
	uint64_t segment_size; /* 0: 64 MB; a multiple of QUEUE_BLOCK, at least 16 of them */
	uint64_t limit;        /* queue_journal_limit in bytes, over all segments; 0: 1 GB */
	uint64_t reserve;      /* bytes of the last free room for notices alone; 0: 1/8 segment */
};

#define QUEUE_GENERATION 16
/* "Segment S, generation G ends at O". A plain value; sent to qmgr as it is. */
struct queue_cut {
	uint32_t segment;
	uint8_t generation[QUEUE_GENERATION];
	uint64_t offset;
};

/* Where a record is. Unique while the segment's generation lasts. */
struct queue_ref {
	uint32_t segment;
	uint32_t seq; /* number of the record in the segment */
	uint64_t offset;
	uint32_t length; /* of envelope and content */
	uint32_t envelope_len;
};

/* What is appended: all borrowed, written straight from there. */
struct queue_append {
	struct slice id;
	const struct iovec *envelope; /* encoded (queue/envelope.h) */
	int envelope_n;
	const struct iovec *content; /* for a large message its header section alone */
	int content_n;
	bool is_notice; /* may use the reserve */
};

#define QUEUE_RECORD_IOV_MAX 1000
#define QUEUE_RECORD_MAX (128u << 20) /* envelope and content of one record */

int queue_journal_open(const struct queue_journal_setup *setup, struct queue_journal **j);
/* Leaves all segments; they must be durable (what is not is lost or found by takeover). */
void queue_journal_close(struct queue_journal **j);

/*
 * Begins a segment: a free one, or a new one while the limit allows it. An old current segment is
 * left and unlocked; it must have nothing pending (ERR_STATE). ERR_FULL: limit reached or no
 * space (answer 452), the old one stays current; ERR_SYS.
 */
int queue_journal_take(struct queue_journal *j);
bool queue_journal_has_segment(const struct queue_journal *j);

/*
 * Appends a message to the present commit. ERR_LIMIT: does not fit the segment (see above);
 * ERR_FULL: only the reserve is left and there is no next segment (nothing was written: 452);
 * ERR_RANGE: larger than any segment can hold; ERR_STATE: no segment; ERR_SYS: see above.
 */
int queue_journal_append(
	struct queue_journal *j, const struct queue_append *a, struct queue_ref *ref);
/* Whether ordinary mail would find room now, for credit and 452 at MAIL. */
bool queue_journal_has_room(const struct queue_journal *j);

/* Bytes appended since the last sync. */
uint64_t queue_journal_pending(const struct queue_journal *j);
/* One fdatasync. 0: everything appended is durable. ERR_SYS: see above. Nothing pending: 0. */
int queue_journal_sync(struct queue_journal *j);

/* The current segment and the offset up to which it is durable. False: no segment. */
bool queue_journal_position(const struct queue_journal *j, uint32_t *segment, uint64_t *durable);

/* The oldest failed segment not yet done or abandoned. False: none. */
bool queue_journal_cut(const struct queue_journal *j, struct queue_cut *cut);
/* qmgr has it durably: the segment is unlocked. */
void queue_journal_cut_done(struct queue_journal *j, uint32_t segment);
/* qmgr could not be asked: the same, and what lies behind the cut may yet be delivered. */
void queue_journal_cut_abandon(struct queue_journal *j, uint32_t segment);

/*
 * Makes the next segment ready, at most 1 MB of writing a call, so that a later take does not
 * wait. 0, ERR_FULL, ERR_SYS (try later). wants_prepare: no next one yet and the present one is
 * half full.
 */
bool queue_journal_wants_prepare(const struct queue_journal *j);
int queue_journal_prepare(struct queue_journal *j);

#endif
