/* SPDX-License-Identifier: ISC */
#ifndef QUEUE_STORE_PRIVATE_H
#define QUEUE_STORE_PRIVATE_H

#include <sys/queue.h>

#include "queue/keeper.h"
#include "queue/log.h"
#include "queue/order.h"
#include "queue/segment.h"
#include "queue/store.h"
#include "util/dict.h"

/*
 * Inside of the store (lib/queue only). store.c: life, time, syncs; store_order.c: orders for the
 * keeper; store_reply.c: its answers; store_table.c: messages by id; store_start.c: the log at
 * start; store_journal.c: segments, records; store_child.c: mail made from mail; store_message.c: a
 * message's life, ends, place; store_out.c: hand-outs and results; store_event.c: notes and what
 * they do to states.
 */
#define QUEUE_SEGMENTS 1024
#define QUEUE_SYNC_FAILURES 3
#define QUEUE_PIECES_KEPT 4
#define QUEUE_ORDERS_SENT 4
#define QUEUE_CALM (INT64_C(100000)) /* µs without a retry before files are removed */
#define QUEUE_ENDED_LIMIT 20000      /* messages whose files may wait for their removal */
#define QUEUE_SWEEP_AGE (INT64_C(3600) * 1000000) /* µs that a body of nothing is left alone */
#define QUEUE_RETRY (INT64_C(1000000)) /* µs until a busy or failed order is tried again */

/* A record that was read: 16 bytes each, kept while its segment's generation is open. */
struct srec {
	uint64_t key; /* hash of the id */
	uint32_t seq;
	bool done;
};

enum sseg_state {
	SEG_CLOSED, /* ended or never seen */
	SEG_LIVING, /* a worker holds it; durable says how far to read */
	SEG_LEFT,   /* its worker left it; durable is its end */
	SEG_LOST,   /* to be taken over */
	SEG_TAKEN,  /* taken over; durable is its end */
};

struct sseg {
	struct queue_segment seg;
	uint8_t state;  /* enum sseg_state */
	bool is_silent; /* found locked at start; its worker has not spoken yet */
	bool is_busy;   /* an order about it is under way */
	bool is_ending; /* its end is noted */
	bool is_held;   /* likewise, and its worker still had it locked */
	uint64_t worker;
	uint64_t durable;              /* to be read up to here */
	uint64_t known;                /* bad bytes below this are damage */
	uint64_t pos;                  /* read so far */
	uint64_t pos_before;           /* pos at the sync before */
	uint64_t floor;                /* the highest one ever noted (Q1) */
	uint64_t doubt_from, doubt_to; /* records of before an unclean start without a result */
	int64_t retry;                 /* real time of the next try */
	struct srec *recs;             /* owned */
	size_t n, cap, open;
	bool has_ended, has_cut;
	bool has_pickup, is_settling;    /* Q19: mail of maildrop; cleanup looks after its files */
	uint8_t ended[QUEUE_GENERATION]; /* the last one that has ended */
	struct queue_cut cut;
	struct dict *past_done; /* from the log at start: seq → itself; NULL: none */
	uint8_t past_generation[QUEUE_GENERATION]; /* that past_done and the floor are of */
	TAILQ_ENTRY(sseg) entry;
};
TAILQ_HEAD(sseg_list, sseg);

/* Plain events that its file does not have. */
struct shistory {
	struct buf events;
	size_t sent; /* bytes of it that an order under way carries */
};

/* Of a message; with it, its recipients and its encoded envelope one piece of memory. */
struct queue_store_private {
	struct queue_store *store;
	struct queue_message *m;
	struct queue_message *next; /* store_table.c */
	struct shistory *history;   /* owned; NULL: none */
	char **last;                /* per recipient, encoded and owned; NULL: none at all */
	uint32_t no;                /* of the last event */
	uint32_t first_piece;       /* of the log, that holds an event of it; 0: none */
	struct sseg *seg;           /* its record, until that is done */
	struct queue_ref ref;
	uint64_t wait; /* ticket that hand-outs wait for */
	uint32_t rec;  /* in seg */
	uint32_t envelope_len, rcpts_at;
	uint32_t out, asked;  /* recipients */
	uint32_t busy;        /* orders that name it */
	int64_t file_at;      /* real time at which it is written to a file */
	int64_t due;          /* for its mtime */
	int64_t unload_at;    /* not before, after a failure */
	uint8_t target;       /* of the move under way */
	bool is_given : 1;    /* calls->message was made */
	bool maybe_file : 1;  /* an interrupted move may have left one */
	bool is_ending : 1;   /* its end is noted */
	bool was_touched : 1; /* held, or recovered: never fresh again */
	bool is_moving : 1, is_unloading : 1, is_wanted : 1, is_corrupt : 1, is_removed : 1;
	bool is_ended_durable : 1, is_damaged : 1;
	bool is_aged : 1, is_backlog : 1, is_orphan : 1, is_to_unlink : 1; /* on these lists */
	TAILQ_ENTRY(queue_store_private) aged, backlog, orphan, to_unlink;
};

TAILQ_HEAD(splist, queue_store_private);

/* Loaded messages by id. */
struct stable {
	struct queue_message **slots;
	size_t size, count;
};

struct sorder {
	uint8_t type;
	struct buf bytes;
	struct queue_message *m[QUEUE_ORDER_ITEMS];
	uint32_t n;
	size_t weight; /* bytes of events, when it was filled */
	struct sseg *seg;
	int slot;
	char id[QUEUE_ID_MAX + 1];
	uint8_t place;
	char dir[3];
	const char *what;  /* ASIDE: the damage; NULL: it was told */
	uint64_t from, to; /* of it */
	bool for_content;
	bool is_written; /* complete as it is: of no loaded message */
	TAILQ_ENTRY(sorder) entry;
};
TAILQ_HEAD(sorder_list, sorder);

/* What is done when a ticket is durable, in order of tickets. */
enum swaiter_kind { WAIT_END, WAIT_MOVED, WAIT_SEGMENT_END, WAIT_DROP, WAIT_DROPPED };
struct swaiter {
	uint64_t ticket;
	uint8_t kind;
	struct queue_message *m;
	struct sseg *seg;
	size_t rec;
	int slot;
	TAILQ_ENTRY(swaiter) entry;
};
TAILQ_HEAD(swaiter_list, swaiter);

/* A worker that was lost, until all it had committed is read. */
struct slost {
	uint64_t worker;
	bool is_scanned;
	unsigned scans; /* replies until that of the first look that began behind its loss */
	TAILQ_ENTRY(slost) entry;
};
TAILQ_HEAD(slost_list, slost);

/* A directory to walk. */
struct sdir {
	uint8_t place;
	char dir[3];
	TAILQ_ENTRY(sdir) entry;
};
TAILQ_HEAD(sdir_list, sdir);

struct queue_store {
	struct queue_store_setup setup;
	struct queue_root root;
	const struct queue_store_calls *calls;
	void *arg;
	struct queue_log log;
	struct stable messages; /* owned */
	struct dict *past;      /* id → struct buf of plain events from the log at start, owned */
	struct dict *claims;    /* "id index" → this */
	struct sseg_list segs;
	struct splist backlog;   /* read, not yet given out */
	struct splist aged;      /* in the journal, oldest first */
	struct splist orphans;   /* children whose parent is not known yet */
	struct splist to_unlink; /* ended; their files go when the keeper has time */
	uint32_t to_unlink_n;
	struct sorder_list urgent, ready, sent;
	struct sorder_list held; /* loads, until the journal has been read */
	int sent_n;
	struct swaiter_list waiters;
	struct slost_list lost;
	struct sdir_list walk;
	bool was_clean, is_claimed, is_ingested, is_walking, is_walked;
	unsigned scans_sent;
	bool scans_again; /* the last look was not sure, or could not be made */
	bool scan_failed; /* the latter, which was said */
	bool sync_wanted, sync_ordered, piece_ordered, drop_ordered, is_scanning, is_warming;
	bool is_stopping, is_stopped, stop_noted, is_full;
	bool is_keeping;  /* an order KEEP is under way */
	bool has_no_room; /* a note found none since the last sync */
	bool looks_again; /* a reply may have ended what orphans or lost workers wait for */
	int sync_failures;
	int drop_slot; /* being carried; -1: none */
	uint32_t drop_number;
	uint64_t drop_end;
	int64_t unlink_at; /* monotonic; not before */
	int64_t now, mono, last_sync, piece_retry, scan_retry;
};

/* store_event.c */
int store_note(struct queue_store *s, struct queue_event *ev, uint64_t *ticket);
/* Notes an event of m for n recipients (NULL, 0: the whole) and changes its states. */
int store_note_message(struct queue_message *m, struct queue_event *ev, const uint32_t *rcpts,
	uint32_t n, uint64_t *ticket);
/* The same of recipients in doubt, with the road that each was on. */
int store_note_by_road(struct queue_message *m, struct queue_event *ev, const uint32_t *rcpts,
	uint32_t n, uint64_t *ticket);
void store_apply(struct queue_message *m, const struct queue_event *ev);
/* It says of a child that it was accepted (Q14). */
bool store_names_child(enum queue_event_type type);
/* All states at once, for compaction. */
int store_note_state(struct queue_message *m);
void store_problem(struct queue_store *s, bool is_error, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* Recipients without a result that may have been sent: noted as in doubt. 0 or errors of notes. */
int store_note_doubt(struct queue_message *m, bool above_floor);

/* store_journal.c */
struct sseg *store_segment(struct queue_store *s, uint32_t number); /* found or made */
int store_open_segment(struct queue_store *s, struct sseg *seg);
int store_ingest(struct queue_store *s, uint32_t max, uint32_t *n);
int store_ingest_start(struct queue_store *s);
void store_check_segment(struct queue_store *s, struct sseg *seg);
void store_check_lost(struct queue_store *s);
void store_record_done(struct queue_store *s, struct sseg *seg, size_t rec);
void store_close_segment(struct sseg *seg);
void store_give(struct queue_store *s, struct queue_message *m);
/* cleanup said that it is to be held, and nothing has happened to it yet. */
int store_hold_new(struct queue_message *m);
bool store_has_pending_segments(const struct queue_store *s);

/* store_child.c */
/* In the log at start: the parent's event names the child; one of its own does too. */
bool store_was_accepted(const struct queue_store *s, const struct queue_message *child);
void store_note_orphan(struct queue_store *s, struct queue_message *m);
void store_check_orphans(struct queue_store *s);

/* store_message.c */
struct queue_message *store_message_new(struct queue_store *s, struct slice id,
	struct slice envelope, enum queue_place place, int *err);
void store_message_free(struct queue_message *m);
void store_use_past(struct queue_message *m, uint32_t last_no);
void store_history_add(struct queue_message *m, const struct queue_event *ev);
struct slice store_history(const struct queue_message *m);
/* What was sent of it stands in the file. */
void store_history_kept(struct queue_message *m);
void store_settle(struct queue_message *m); /* orders the move that its state wants */
void store_try_remove(struct queue_message *m);
/* Off the lists of the store. */
void store_unlist(struct queue_message *m);

/* store_table.c. NULL: it is not loaded. */
struct queue_message *store_find(const struct queue_store *s, struct slice id);
void store_table_add(struct queue_store *s, struct queue_message *m);
void store_table_remove(struct queue_store *s, struct queue_message *m);
/* Until visit returns false; it may remove the one that it is given. */
void store_table_walk(
	struct queue_store *s, bool (*visit)(struct queue_message *m, void *arg), void *arg);

/* store_out.c */
bool store_has_rcpts(const struct queue_message *m, const uint32_t *rcpts, uint32_t n);
/* Takes back every hand-out of m that was not sent. */
int store_withdraw_unsent(struct queue_message *m, int64_t now);

/* store_order.c */
struct sorder *store_order_new(struct queue_store *s, enum queue_order type); /* owned */
void store_order_put(struct queue_store *s, struct sorder *o, bool is_urgent);
void store_order_free(struct sorder *o);

/* store.c */
/* The time of this call. The system's clock may have been set back meanwhile. */
void store_set_now(struct queue_store *s, int64_t now);
void store_wait(struct queue_store *s, uint64_t ticket, enum swaiter_kind kind,
	struct queue_message *m, struct sseg *seg, size_t rec);
void store_durable(struct queue_store *s);
int store_order_sync(struct queue_store *s);
void store_order_scan(struct queue_store *s);
void store_walk_step(struct queue_store *s);

/* store_reply.c: one that nobody has waits like any other file, to be loaded when there is room. */
void store_unload_backlog(struct queue_store *s, struct queue_message *m);

/* store_start.c */
int store_read_log(struct queue_store *s);

#endif
