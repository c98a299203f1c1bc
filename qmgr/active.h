/* SPDX-License-Identifier: ISC */
#ifndef QMGR_ACTIVE_H
#define QMGR_ACTIVE_H

#include "qmgr/schedule.h"
#include "qmgr/transport.h"
#include "queue/store.h"

/*
 * A message that is being worked on. It comes from the store (new, recovered or due again), its
 * open recipients get routes (from the envelope, or afresh from cleanup when time has passed) and
 * go to the scheduler or are answered here; results come back; when nothing is under way the pass
 * is over: failed recipients are told of by a notice, then the message ends or is deferred.
 *
 * A recipient of a pass, and what takes it on:
 *
 *   RESOLVING  cleanup was asked for its route   → QUEUED or a result
 *   QUEUED     in the scheduler                  → OUT, or back by hold, delete, reload
 *   OUT        in a job                          → a result, or QUEUED again
 *   DONE       has its result, or was taken away by the operator
 */
enum active_state { ACTIVE_RESOLVING, ACTIVE_QUEUED, ACTIVE_OUT, ACTIVE_DONE };

struct active_rcpt {
	struct schedule_rcpt link; /* the first member */
	uint32_t index;            /* in the message */
	uint8_t state;             /* enum active_state */
	uint16_t via;              /* QUEUE_VIA_*, with nexthop */
	uint8_t deaths;            /* workers that died over it in this pass */
	bool is_asked;             /* RESOLVING: a request for its route is under way */
	bool is_told;              /* a probe: its result is with tally */
	uint8_t how;               /* enum queue_how, once it is delivered */
	struct transport *transport;
	struct site_waiter *waiter; /* RESOLVING: until the site of its destination is said */
	char *nexthop;              /* owned; NULL: that of the envelope */
	char *plan; /* with nexthop: owned, name of a plan of back-off; NULL: none */
};

struct active {
	TAILQ_ENTRY(active) link;
	struct queue_message *m; /* NULL: it was deleted, jobs are still out */
	struct schedule_message *scheduled;
	uint32_t count;
	uint32_t open;         /* recipients that are not DONE */
	uint32_t resolving;    /* recipients */
	uint32_t held;         /* recipients that a worker held from before */
	uint32_t index, taken; /* what is taken on next; how many were the last time */
	uint32_t unasked;      /* those before this place need no question for a route */
	int64_t until;         /* those due until then belong to this pass */
	int64_t since;
	bool has_more; /* recipients of this pass that are not taken on yet */
	bool is_probe;
	bool revives;    /* its destinations count as dead no longer: flushed by its id */
	bool is_asking;  /* a notice is under way, or a forward has not been read yet */
	bool is_forward; /* the latter */
	bool is_requeue; /* cleanup makes it anew, or the new one has not been read yet */
	bool is_passing; /* active_check is at work: not again from inside */
	bool has_failed_ask;
	unsigned told; /* bits of enum queue_reason: cleanup says that nobody is to be told */
	struct active_rcpt rcpts[]; /* those that are open when it begins */
};

/* A message from the store, new or recovered. */
void active_begin(struct queue_message *m);
/* One that the scheduler had asked for; flags: of its row in the index; set: by how much the clock
 * had been set when it went there. */
void active_begin_due(struct queue_message *m, uint8_t flags, int64_t set);
/* To be tried now, whatever its recipients wait for: the operator wants it. */
void active_flush(struct queue_message *m);
/* While it is on, messages from the store go into the index of what waits, to be tried when there
 * is room: a list wants to know of all. */
void active_park_new(bool is_on);
/* The store has given it up: its end is durable. */
void active_ended(struct queue_message *m);
/* NULL: not being worked on. */
struct active *active_of(struct queue_message *m);
/* The keys of all that is being worked on, or is on its way into memory for that. */
void active_walk(void (*visit)(uint64_t key, void *arg), void *arg);

/* Routes from cleanup for recipient r; an empty text is no failure. */
void active_route(struct active *a, struct active_rcpt *r, struct slice transport,
	struct slice nexthop, struct slice plan, unsigned via);
/* Its worker says where it is to go instead; active_back follows. */
void active_set_route(
	struct active *a, struct active_rcpt *r, struct slice transport, struct slice nexthop);
/* No route could be had: all that resolve are deferred with the text. */
void active_unrouted(struct active *a, struct slice text);

/* More of an attempt; zero: not known. */
struct active_facts {
	unsigned code, stage; /* of the reply that decided; enum stage */
	bool by_relay;
};

/*
 * The result of a recipient that is OUT, by a worker's report. type: DELIVERED, FAILED, DEFERRED,
 * EXPIRED. The caller calls active_check when it has given all.
 */
void active_report(struct active *a, struct active_rcpt *r, enum queue_event_type type,
	struct slice dsn, struct slice host, struct slice text, const struct active_facts *facts);
/* The same without an attempt: it is counted for none. r may be in no job. */
void active_result(struct active *a, struct active_rcpt *r, enum queue_event_type type,
	struct slice dsn, struct slice host, struct slice text);
/* Its worker made a new message of it, which is durable: done, with the child. */
void active_passed(struct active *a, struct active_rcpt *r);
/* Messages whose children have not all been read. */
size_t active_forwards(void);
/* A result as it is: noted now, or when the log has room. */
void active_note(struct active *a, struct active_rcpt *r, const struct queue_result *result);
/* Not delivered and not its fault: into the scheduler again. */
void active_again(struct active *a, struct active_rcpt *r);
/* The same where the log had no room for its hand-out: that is nobody's fault. */
void active_again_later(struct active *a, struct active_rcpt *r);
/* Its job came back and nothing became of it, for certain: noted, and again. was_tried: it counts
 * as an attempt. */
void active_back(struct active *a, struct active_rcpt *r, bool was_tried);
/* It may have been delivered: noted, and again, which the log will say first (Q16). */
void active_doubt(struct active *a, struct active_rcpt *r, const char *reason);
/* Ends the pass when nothing is under way. May free a. */
void active_check(struct active *a);

/* Its route is to be asked for: ask_routes follows. */
void active_unasked(struct active *a, struct active_rcpt *r);
/* What was asked for of its recipients does not come. active_check is to follow. */
void active_unask(struct active *a, const uint32_t *rcpts, uint32_t n);
/* A notice is not wanted by anybody (was_made), or could not be made now. */
void active_notice_done(struct active *a, enum queue_reason reason, bool was_made,
	const uint32_t *rcpts, uint32_t n);
void active_child(struct queue_message *m, enum queue_reason reason, int result);

/*
 * Operators. Asks cleanup to make it anew for all recipients that are in no sent job; the answer is
 * command_requeued. ERR_AGAIN: a notice or a requeue is under way. ERR_STATE: there is none.
 */
int active_requeue(struct queue_message *m);
void active_requeue_failed(struct active *a, const uint32_t *rcpts, uint32_t n);
bool active_is_requeued(struct queue_message *m);
/* Takes back what is in no sent job. May free a. */
void active_withdraw(struct active *a);
/* Now and then: messages whose time is over while they wait for their turn. */
void active_sweep(void);
/* No attempt of it may be made any more, and one was; or its sender wants none (RFC 2852). */
bool active_is_over(const struct active *a);
/* The clock was set by so much: who waits for his time goes on waiting as long as he would have. */
void active_clock_set(int64_t change);
/* New settings: what has not been handed out is routed afresh. */
void active_reroute(void);

struct queue_recipient active_recipient(const struct active *a, const struct active_rcpt *r);
struct slice active_nexthop(const struct active *a, const struct active_rcpt *r);
unsigned active_via(const struct active *a, const struct active_rcpt *r);
/* Where an attempt by its present route comes through. */
enum queue_road active_road(const struct active *a, const struct active_rcpt *r);
/* Empty: none was named. */
struct slice active_plan(const struct active *a, const struct active_rcpt *r);
/* What stands for the sender in the scheduler's fairness. */
bool active_is_bounce(const struct queue_message *m);

#endif
