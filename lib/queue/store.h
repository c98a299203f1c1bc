/* SPDX-License-Identifier: ISC */
#ifndef QUEUE_STORE_H
#define QUEUE_STORE_H

#include "queue/envelope.h"
#include "queue/event.h"
#include "queue/file.h"
#include "queue/io.h"
#include "queue/journal.h"
#include "queue/state.h"

/*
 * The store: all that qmgr knows durably, and the order in which it may become so. The rules Q1
 * to Q19 of gatepost-queue(5) live here and in the keeper, not in callers.
 *
 * Nothing here waits for the disk after queue_store_start: notes are written to the log's page
 * cache, and everything that waits leaves as an order (queue_store_order) that the keeper, another
 * process, executes (queue/keeper.h); its reply comes back by queue_store_reply. A note survives
 * the death of qmgr at once, and a power cut when its ticket is durable: tickets grow, and
 * queue_store_durable says up to which one. All times are given by the caller: now is real time
 * in microseconds, mono monotonic.
 *
 * Calls back (struct queue_store_calls) are made from queue_store_read, _reply, _claims_done and
 * _tick only, never from inside another call; they may call the store.
 *
 *   queue_store_lock, (fork the keeper), queue_store_start
 *   living delivery workers of before: queue_store_claim for each job they hold; then
 *   queue_store_claims_done: notes what is in doubt (Q5, Q10, Q16), begins the background walk
 *   loop:  queue_store_read(room)              → calls->message for each
 *          queue_store_handout, queue_store_send, queue_store_result, … queue_store_end
 *          queue_store_tick when its time has come; orders and replies
 *   queue_store_stop, drain orders until queue_store_is_stopped, queue_store_free
 *
 * A program without a second process (gateq while qmgr is down) runs the keeper itself:
 * queue_store_run.
 */
struct queue_store;
struct queue_keeper;

/* One recipient of a loaded message. */
struct queue_rstatus {
	uint8_t state;       /* enum queue_rstate */
	bool is_asked : 1;   /* a notice or child is asked for: no job (Q14) */
	bool is_told : 1;    /* a delay notice was accepted */
	bool is_out : 1;     /* a job is out, also when it was deleted meanwhile */
	bool is_unsent : 1;  /* noted as handed out, not yet sent (Q17) */
	bool is_waiting : 1; /* not to be sent before its note is durable (Q1, Q16) */
	bool was_doubt : 1;  /* OUT: in doubt before, and again if it comes back unsent (Q16) */
	bool is_traced : 1;  /* the report of its first attempt was accepted */
	bool is_copied : 1;  /* the postmaster's copy of its bounce was accepted */
	bool is_delay_copied : 1; /* and that of the notice of its delay */
	uint8_t road : 2;         /* OUT: enum queue_road */
	uint8_t doubts;           /* attempts in doubt behind the last result, by an unknown road */
	uint16_t attempts;        /* so far; one in doubt counts, one that was not sent does not */
	uint16_t relayed;         /* of them, through a relay */
	uint32_t where;           /* private: its place in the envelope */
	int64_t due;              /* WAIT: next attempt (real µs); 0: never tried, now */
};

/* What of an envelope is at hand while its message is loaded, which may be one of very many. */
struct queue_brief {
	struct slice sender, parent; /* borrowed from memory of the store */
	int64_t arrival, deadline, delay_warning;
	uint64_t size, body_len;
	uint32_t header_len, flags, recipients;
	uint8_t ret, reason;
	bool has_verp;
};

/* A loaded message. Callers read it and own `user` alone. Freed after calls->ended or unload. */
struct queue_message {
	char id[QUEUE_ID_MAX + 1];
	struct queue_brief env;
	struct queue_rstatus *r; /* env.recipients of them */
	uint8_t state;           /* enum queue_mstate */
	uint8_t place;           /* enum queue_place: where it is stored now */
	bool is_recovered;       /* came from before this start */
	bool expire_now;         /* the operator wants no further attempt */
	void *user;
	struct queue_store_private *p;
};

/* The whole envelope, but for the number of its recipients; borrowed from memory of the store. */
void queue_store_envelope(const struct queue_message *m, struct queue_envelope *env);
void queue_store_recipient(
	const struct queue_message *m, uint32_t index, struct queue_recipient *to);

/* What a delivery worker, or qmgr itself, reports of one recipient. */
struct queue_result {
	enum queue_event_type type; /* DELIVERED, DEFERRED, FAILED or EXPIRED */
	struct slice dsn, host,
		text;    /* cut to QUEUE_EVENT_TEXT_MAX; control characters become '?' */
	int64_t due;     /* DEFERRED: next attempt */
	uint8_t how;     /* DELIVERED: enum queue_how */
	bool is_untried; /* no attempt was made, and none is counted */
	bool by_relay;   /* it was made through a relay */
};

struct queue_store_calls {
	/* A live message for the scheduler: new, or recovered with states from before. */
	void (*message)(void *arg, struct queue_message *m);
	/* Answer to queue_store_load: 0 and m, or ERR_NOT_FOUND, ERR_CORRUPT (it was moved to
	 * corrupt/ and the log says so), ERR_SYS (try later). */
	void (*loaded)(void *arg, const char *id, int result, struct queue_message *m);
	/* The background walk found a message that is not loaded. May come twice. */
	void (*waiting)(void *arg, const char *id, enum queue_place place, int64_t due);
	void (*walk_done)(void *arg);
	/* Content asked for by queue_store_content that did not come at once; valid in the call. */
	void (*content)(void *arg, struct queue_message *m, int result, struct slice content);
	/* A child was accepted for recipients of m (their states have changed) or, result
	 * ERR_STATE, dropped because it came too late. One of reason FORWARD may come before the
	 * delivery worker that made it has reported. */
	void (*child)(void *arg, struct queue_message *m, const char *child,
		enum queue_reason reason, int result);
	/* m has a new place (moved to a file): it may be unloaded now. */
	void (*moved)(void *arg, struct queue_message *m);
	/* The end of m is durable and its storage is gone; m is freed when this returns. */
	void (*ended)(void *arg, struct queue_message *m);
	/* Notes up to ticket are durable. */
	void (*durable)(void *arg, uint64_t ticket);
	/* Takeover of a lost worker is complete: what it had committed has been given to message;
	 * an ask that it took and did not answer may be repeated (queue_store_ask_failed). */
	void (*worker_done)(void *arg, uint64_t worker);
	/* For the log, one line each; is_error false: a warning. */
	void (*problem)(void *arg, bool is_error, const char *line);
	/* An order is ready. */
	void (*order)(void *arg);
};

struct queue_store_setup {
	struct queue_root root;
	uint64_t segment_size;                 /* 0: 64 MB */
	uint64_t journal_limit;                /* 0: 1 GB */
	uint64_t piece_size;                   /* of the log; 0: 8 MB */
	int64_t sync_interval;                 /* queue_sync_interval, µs; 0: 1 s */
	int64_t file_delay;                    /* queue_file_delay, µs; 0: 30 s; negative: none */
	const struct queue_store_calls *calls; /* all members set */
	void *arg;
};

/* The queue's one lock (log/lock), to be held by qmgr and keeper together: inherit the descriptor
 * (Q13). ERR_AGAIN: another holds it; ERR_SYS. */
int queue_store_lock(const struct queue_root *root, int *fd);

/*
 * Recovers: reads the log and the segments, syncs what must be, writes again what must be (Q2,
 * Q4, Q10), notes the start durably (Q11). Waits for the disk. ERR_SYS, ERR_FULL: cannot start;
 * damage is reported by calls->problem and set aside, never a failure.
 */
int queue_store_start(const struct queue_store_setup *setup, int64_t now, struct queue_store **s);
void queue_store_free(struct queue_store **s);
/* New journal_limit, sync_interval and file_delay, as in the setup; a shorter delay holds for mail
 * that is in the journal already, too. */
void queue_store_set(struct queue_store *s, const struct queue_store_setup *setup);
/* Whether the last stop was clean: then nothing is in doubt. */
bool queue_store_was_clean(const struct queue_store *s);

/* A living delivery worker holds recipient index of id (Q5). Unknown ids are ignored. */
void queue_store_claim(struct queue_store *s, struct slice id, uint32_t index);
int queue_store_claims_done(struct queue_store *s, int64_t now);

/* ---- The journal's segments, by worker (a number of the caller's choice, never reused) ---- */

/* The worker's current segment is durable up to this offset. Earlier ones of it are left. */
int queue_store_worker_position(
	struct queue_store *s, uint64_t worker, uint32_t segment, uint64_t durable);
/* The worker has left a segment, all of it durable up to the offset (Q9). */
int queue_store_worker_left(
	struct queue_store *s, uint64_t worker, uint32_t segment, uint64_t durable);
/* Notes a cut, urgently (Q18); tell the worker when ticket is durable. */
int queue_store_worker_cut(
	struct queue_store *s, uint64_t worker, const struct queue_cut *cut, uint64_t *ticket);
/* The connection ended: its segments are taken over under their locks (Q2, Q7, Q8). */
void queue_store_worker_lost(struct queue_store *s, uint64_t worker);
/* Q6: the message is durable, waiting or already ended. False means nothing. */
bool queue_store_knows(const struct queue_store *s, struct slice id);

/*
 * Q19: a file in maildrop has the id of the message that it becomes. cleanup leaves a segment only
 * when the files of what it picked up into it are unlinked durably. A segment that was taken over
 * does not end, and its ids stay known, until a living cleanup has seen to what is left of them.
 * settle: true when there are such segments that no cleanup was asked for yet; they count as asked
 * until settled, which says that it is done, or (not is_done) is to be asked for again.
 */
bool queue_store_settle(struct queue_store *s);
void queue_store_settled(struct queue_store *s, bool is_done);
/* All that lost workers had committed is read: of their ids queue_store_knows' false is a no, while
 * their segments have not ended. */
bool queue_store_has_read_lost(const struct queue_store *s);

/*
 * Reads up to max messages that are durable and not yet given out, oldest first; returns how many
 * calls->message it made, or ERR_SYS. ERR_AGAIN: the disk must be asked; tried again by itself,
 * calls->order then calls->message follow when read is called after the reply.
 */
int queue_store_read(struct queue_store *s, uint32_t max, int64_t now);
/*
 * Messages (recovered or in segments) that read could give out now, or children and lost workers
 * that it could be done with, though nothing new has come.
 */
bool queue_store_has_unread(const struct queue_store *s);

/* ---- A message's life ---- */

/*
 * Notes that these recipients (indices, n of them) are handed out as one job. ERR_STATE: not
 * allowed by queue/state.h, held, or a child is asked for. ERR_FULL. *wait: the ticket that must be
 * durable before the job is sent, 0 for fresh mail (Q1, Q16). road: where the job may come through.
 */
int queue_store_handout(struct queue_message *m, const uint32_t *rcpts, uint32_t n,
	enum queue_road road, int64_t now, uint64_t *wait);
/* More is known of the road of one that is out. */
void queue_store_set_road(struct queue_message *m, uint32_t index, enum queue_road road);
/* False: the log has only the room that results of what is out may need. Calls->durable comes. */
bool queue_store_may_hand_out(const struct queue_store *s);
/*
 * To be called right before the job's first frame leaves. 0: send it. ERR_AGAIN: its notes are
 * not durable yet. ERR_FULL: they could not be written; try again later. ERR_STATE: withdrawn
 * meanwhile by hold, delete (Q17): drop the job.
 */
int queue_store_send(struct queue_message *m, const uint32_t *rcpts, uint32_t n);
/* A job that was noted and will not be sent: its recipients wait again. */
int queue_store_withdraw(struct queue_message *m, const uint32_t *rcpts, uint32_t n, int64_t now);
/*
 * A job was sent, and nothing became of this recipient, for certain: it waits again, and may go at
 * once. was_tried: it counts as an attempt all the same (its worker has died before the dot); else
 * the worker says that it has done nothing for it. ERR_STATE: it is not handed out.
 */
int queue_store_give_back(struct queue_message *m, uint32_t index, bool was_tried, int64_t now);
int queue_store_result(struct queue_message *m, uint32_t index, const struct queue_result *result,
	int64_t now, uint64_t *ticket);
/*
 * The worker has made a child of the recipient (reason FORWARD), and cleanup told it that this is
 * durable. The recipient counts as asked for (is_asked) until the child is read: then calls->child
 * comes; when it was read before, it is passed on already.
 */
int queue_store_passed(struct queue_message *m, uint32_t index);
/* The worker died after `dot`: noted; send again after the next hand-out's ticket (Q16). */
int queue_store_in_doubt(struct queue_message *m, const uint32_t *rcpts, uint32_t n,
	const char *reason, int64_t now, uint64_t *ticket);
/* The last result of a recipient, from memory; slices borrowed until the next call for m. False:
 * none. Its type is a result's or QUEUE_EV_IN_DOUBT. That of a delivered one is kept when somebody
 * may want to be told of it: NOTIFY=SUCCESS, a delay that was told, QUEUE_FLAG_TRACE. */
bool queue_store_last(const struct queue_message *m, uint32_t index, struct queue_event *ev);
/* The events of m that its file does not have (all of them while it lives in the journal), oldest
 * first. */
void queue_store_history(const struct queue_message *m,
	void (*visit)(const struct queue_event *ev, void *arg), void *arg);

/*
 * A notice or child for these recipients is being asked of cleanup: no job of them, no second ask
 * meanwhile. The envelope of the child names parent, recipients, reason. ERR_STATE.
 */
int queue_store_ask(
	struct queue_message *m, const uint32_t *rcpts, uint32_t n, enum queue_reason reason);
/* cleanup refused, or was lost and calls->worker_done has come. */
int queue_store_ask_failed(struct queue_message *m, const uint32_t *rcpts, uint32_t n);

/* Nothing is left to do: every recipient is delivered, failed, returned, passed or deleted, none
 * asked for. ERR_STATE otherwise. calls->ended comes when all is durable and removed. */
int queue_store_end(struct queue_message *m, int64_t now, uint64_t *ticket);

/*
 * The system's clock was set by that much (microseconds): the times of those who wait, or may
 * again, are moved with it, and noted as far as the log has room.
 */
void queue_store_shift(struct queue_message *m, int64_t change);

/* Operators' commands: acknowledge when the ticket is durable (a sync is begun at once). */
int queue_store_hold(struct queue_message *m, int64_t now, uint64_t *ticket);
int queue_store_release(struct queue_message *m, int64_t now, uint64_t *ticket);
int queue_store_expire(struct queue_message *m, int64_t now, uint64_t *ticket);
/* Also with jobs out: their reports are taken and change nothing. Followed by calls->ended. */
int queue_store_delete(struct queue_message *m, int64_t now, uint64_t *ticket);
/* Damaged: to corrupt/, with the reason. Held there. */
int queue_store_corrupt(struct queue_message *m, const char *reason, int64_t now, uint64_t *ticket);

/* ---- Loading ---- */

/* Asks for a waiting message; answered by calls->loaded. One that is loaded is answered with it. */
int queue_store_load(struct queue_store *s, struct slice id, enum queue_place place);
/* NULL: not loaded, or being unloaded: ask for it by queue_store_load. */
struct queue_message *queue_store_get(const struct queue_store *s, struct slice id);
/*
 * The caller forgets m; memory is freed when its events are in its file. ERR_STATE: lives in the
 * journal (calls->moved will come), has a job out or asked. due: its next attempt, kept as mtime.
 */
int queue_store_unload(struct queue_message *m, int64_t due);

/*
 * The content that goes on the wire (of a large message its header section), verified. 0: added
 * to out. ERR_LATER: calls->content will come. ERR_CORRUPT: call queue_store_corrupt.
 */
int queue_store_content(struct queue_message *m, struct buf *out);
/* The large body's file, for reading (queue_body_reader). The caller closes it. */
int queue_store_body(struct queue_message *m, int *fd);

/*
 * Has a small file written beside the log (queue/kept.h), as a whole; a failure is told by
 * calls->problem. False: the one before is still being written, and this one need not be (must).
 * bytes: at most QUEUE_KEPT_MAX.
 */
bool queue_store_keep(struct queue_store *s, struct slice bytes, bool must);

/* ---- Time, orders ---- */

/* Work by time: syncs, moves to files, compaction. *next: monotonic µs of the next call. */
void queue_store_tick(struct queue_store *s, int64_t now, int64_t mono, int64_t *next);
uint64_t queue_store_durable(const struct queue_store *s);
uint64_t queue_store_noted(const struct queue_store *s); /* the last ticket given */
/* Asks for a sync now rather than at the next interval. */
void queue_store_sync(struct queue_store *s);
/* The next order into out (reset first); false: none now. Up to 4 may be under way at a time. */
bool queue_store_order(struct queue_store *s, struct buf *out);
/* ERR_CORRUPT: not a reply to the oldest order. ERR_SYS: the log cannot be written any more (two
 * pieces failed): nothing durable can be promised, end the program. */
int queue_store_reply(struct queue_store *s, struct slice reply, int64_t now);
/* Writes gathered notes to the page cache; made by send, order and tick, too. */
int queue_store_flush(struct queue_store *s);
/* Full disk or full log: hand-outs go on, but nothing new should be accepted. */
bool queue_store_is_full(const struct queue_store *s);

/* Begins a clean stop (Q11): no job may be out, no call but order, reply and is_stopped follows. */
int queue_store_stop(struct queue_store *s, int64_t now);
bool queue_store_is_stopped(const struct queue_store *s);

/* Executes all orders with k in this process until none is left. */
int queue_store_run(struct queue_store *s, struct queue_keeper *k, int64_t now);

#endif
