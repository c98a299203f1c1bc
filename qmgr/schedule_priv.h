/* SPDX-License-Identifier: ISC */
#ifndef QMGR_SCHEDULE_PRIV_H
#define QMGR_SCHEDULE_PRIV_H

#include <sys/tree.h>

#include "qmgr/schedule.h"

/*
 * Inside the scheduler. Modules: schedule.c (messages, jobs, decisions), schedule_fair.c (whose
 * turn it is), schedule_dest.c (windows, death, revival, timers), schedule_rate.c (token buckets),
 * schedule_memory.c (what a restart keeps), schedule_index.c (deferred).
 *
 * Time inside is that of the caller until that goes back; from then on it is ahead by the step, so
 * that no delay gets longer by it (schedule_clock).
 *
 * States of a destination and where its groups are:
 *   open       window > jobs, no delay      in the transport's ready tree when it has groups
 *   full       window = jobs                groups wait in it; on the prepare list when the next
 *                                          one is a retry and few are prepared
 *   delayed    rate delay                   groups wait in it, timer set
 *   dead       window = 0                   groups leave by the drain list, timer set
 * While a transport is suspended all its destinations drain.
 */
#define SCHEDULE_TURN 64    /* virtual time of a job */
#define SCHEDULE_MIGRATE 64 /* groups whose turn has come that one step looks at */

struct schedule_group;
struct schedule_flow;

struct schedule_timer {
	RB_ENTRY(schedule_timer) link;
	int64_t due; /* CLOCK_NEVER: not set */
	struct schedule_dest *dest;
	struct schedule_transport *transport; /* one of the two */
};
RB_HEAD(schedule_timers, schedule_timer);

/* A sender with messages for a transport. */
struct schedule_sender {
	RB_ENTRY(schedule_sender) link;
	uint64_t hash;
	uint64_t finish; /* where its next message begins */
	unsigned shares;
};
RB_HEAD(schedule_senders, schedule_sender);

/* What a message has for a transport. */
struct schedule_share {
	struct schedule_share *next;
	struct schedule_transport *transport;
	struct schedule_sender *sender;
	uint64_t tag, spacing;
};

struct schedule_message {
	void *owner;
	uint64_t sender;
	struct schedule_share *shares;
	LIST_HEAD(, schedule_group) groups;
	unsigned waiting, jobs;
	bool loaded;
	bool is_single; /* one recipient a job */
};

/*
 * When it is full again, exactly: full_at and part / count microseconds. Each job moves that on by
 * per / count, and may go while it is no further than per from now.
 */
struct schedule_bucket {
	int64_t full_at;
	uint32_t part;
};

/* What a message has for a destination. In the tree `future`, or in the ring of a flow. */
struct schedule_group {
	struct schedule_message *message;
	struct schedule_share *share;
	struct schedule_dest *dest;
	LIST_ENTRY(schedule_group) of_message;
	struct schedule_rcpts rcpts;
	uint64_t tag;
	struct schedule_flow *flow; /* NULL: in future */
	union {
		RB_ENTRY(schedule_group) future;
		TAILQ_ENTRY(schedule_group) ring;
	};
	unsigned count;
};
RB_HEAD(schedule_future, schedule_group);
TAILQ_HEAD(schedule_ring, schedule_group);

/* A sender's groups in a destination whose turn has come. */
struct schedule_flow {
	RB_ENTRY(schedule_flow) by_sender;
	TAILQ_ENTRY(schedule_flow) ring;
	uint64_t sender;
	struct schedule_ring groups;
};
RB_HEAD(schedule_flows, schedule_flow);

enum schedule_place {
	SCHEDULE_IN_NONE,
	SCHEDULE_IN_READY,
	SCHEDULE_IN_DRAIN,
	SCHEDULE_IN_IDLE,
	SCHEDULE_IN_PREPARE
};

struct schedule_dest {
	struct schedule_transport *transport;
	char *key;
	uint64_t hash;
	RB_ENTRY(schedule_dest) by_key;
	enum schedule_place place;
	union {
		RB_ENTRY(schedule_dest) ready;
		TAILQ_ENTRY(schedule_dest) list; /* drain, idle or prepare */
	};
	uint64_t tag, seq; /* of the place in ready */
	struct schedule_future future;
	struct schedule_flows flows;
	TAILQ_HEAD(, schedule_flow) ring;
	struct schedule_group *recent; /* the last one made, NULL when it has gone */
	struct schedule_timer timer;   /* revival, or the end of a rate delay */
	char *reason, *site;
	int64_t site_said; /* 0: never */
	struct schedule_bucket bucket;
	double success, failure, cohorts;
	uint32_t key_len;
	unsigned groups, jobs, window; /* window 0: dead */
	unsigned ahead;                /* jobs made, not counted in jobs */
	bool proven;                   /* reached since it was last forgotten */
};
RB_HEAD(schedule_ready, schedule_dest);
RB_HEAD(schedule_dests, schedule_dest);
TAILQ_HEAD(schedule_list, schedule_dest);

struct schedule_transport {
	TAILQ_ENTRY(schedule_transport) link;
	TAILQ_ENTRY(schedule_transport) runnable;
	char *name, *reason;
	struct schedule_limits limits;
	struct schedule_dests dests;
	struct schedule_ready ready;
	struct schedule_senders senders;
	struct schedule_timer timer; /* the end of a suspension or of a rate delay */
	uint64_t vtime, seq;
	unsigned capacity, busy;
	bool suspended, delayed, is_runnable;
};
TAILQ_HEAD(schedule_transports, schedule_transport);

struct schedule_index;

struct schedule {
	struct schedule_settings settings;
	struct schedule_transports transports, runnable;
	struct schedule_list drain, idle, prepare;
	struct schedule_timers timers;
	struct schedule_index *index;
	size_t messages, recipients, jobs, loading, dests, idle_count;
	size_t ahead;            /* recipients */
	int64_t now, last, skew; /* now = last + skew; last: what the caller said */
	bool new_waiting, last_was_new;
};

RB_PROTOTYPE(schedule_dests, schedule_dest, by_key, schedule_dest_cmp)
RB_PROTOTYPE(schedule_ready, schedule_dest, ready, schedule_ready_cmp)
RB_PROTOTYPE(schedule_timers, schedule_timer, link, schedule_timer_cmp)

/* A tree for one file. */
#define SCHEDULE_TREE(name, type, field, cmp) \
	RB_GENERATE_INTERNAL(name, type, field, cmp, static __attribute__((unused)))

/* schedule_fair.c */
void schedule_group_enqueue(struct schedule *s, struct schedule_group *g);
/* Out of its destination's waiting places; it stays allocated and with its message. */
void schedule_group_dequeue(struct schedule_group *g);
/* The group whose turn it is in d; it is taken out. NULL: none. */
struct schedule_group *schedule_dest_take(struct schedule_dest *d);
/* The one that would be taken, left in its place. */
struct schedule_group *schedule_dest_peek(struct schedule_dest *d);
/* The tag of the first group in d; only when it has any. */
uint64_t schedule_dest_first(struct schedule_dest *d);
struct schedule_share *schedule_share_get(
	struct schedule *s, struct schedule_message *m, struct schedule_transport *t);
void schedule_shares_free(struct schedule_message *m);

/* schedule_dest.c */
struct schedule_dest *schedule_dest_find(struct schedule_transport *t, struct slice key);
size_t schedule_memory_limit(const struct schedule *s);
bool schedule_dest_is_plain(const struct schedule_dest *d, int64_t now);
struct schedule_dest *schedule_dest_get(
	struct schedule *s, struct schedule_transport *t, struct slice key);
/* Puts d where it belongs after a change; may free it. served: it goes behind its equals. */
void schedule_dest_place(struct schedule *s, struct schedule_dest *d, bool served);
void schedule_dest_feedback(struct schedule *s, struct schedule_dest *d, int64_t now,
	enum schedule_outcome outcome, struct slice reason);
void schedule_dest_drop(struct schedule *s, struct schedule_dest *d);
void schedule_transport_place(struct schedule *s, struct schedule_transport *t);
void schedule_timer_set(struct schedule *s, struct schedule_timer *timer, int64_t due);
void schedule_timers_run(struct schedule *s, int64_t now);
int64_t schedule_timers_next(const struct schedule *s);

/* Takes the caller's time; returns the time inside. */
int64_t schedule_clock(struct schedule *s, int64_t now);

/* schedule_rate.c: no limit always has one. */
int64_t schedule_bucket_next(
	const struct schedule_bucket *b, const struct schedule_rate *rate, int64_t now);
void schedule_bucket_take(struct schedule_bucket *b, const struct schedule_rate *rate, int64_t now);
int64_t schedule_bucket_tokens(
	const struct schedule_bucket *b, const struct schedule_rate *rate, int64_t now);
void schedule_bucket_restore(struct schedule_bucket *b, const struct schedule_rate *rate,
	int64_t now, int64_t tokens, int64_t age);

/* schedule_index.c */
struct schedule_index *schedule_index_new(void);
void schedule_index_free(struct schedule_index **x);
int64_t schedule_index_next(const struct schedule_index *x); /* microseconds or CLOCK_NEVER */
uint64_t schedule_index_pop(struct schedule_index *x, uint8_t *flags);
void schedule_index_count(const struct schedule_index *x, struct schedule_counts *c);

#endif
