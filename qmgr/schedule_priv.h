/* SPDX-License-Identifier: ISC */
#ifndef QMGR_SCHEDULE_PRIV_H
#define QMGR_SCHEDULE_PRIV_H

#include <sys/tree.h>

#include "qmgr/schedule.h"

/*
 * Inside the scheduler. Modules: schedule.c (messages, decisions), schedule_job.c (jobs),
 * schedule_turn.c (whose turn it is), schedule_dest.c (destinations and their places),
 * schedule_window.c (windows, death), schedule_timer.c (timers, suspension, revival),
 * schedule_site.c (sites), schedule_rate.c (token buckets), schedule_memory.c (what a restart
 * keeps), schedule_index.c (deferred).
 *
 * Time inside is that of the caller until that goes back; from then on it is ahead by the step, so
 * that no delay gets longer by it (schedule_clock).
 *
 * States of a destination and where its groups are:
 *   open       window > jobs, no delay     some of them are offers in its lane
 *   queued     the same, its site is full  groups wait in it, it waits in its site
 *   full       window = jobs               groups wait in it; on the prepare list when the next
 *                                          one is a retry and few are prepared
 *   delayed    rate delay, or no token     groups wait in it, timer set
 *   dead       window = 0                  groups leave by the drain list, timer set
 * While a transport is suspended all its destinations drain.
 *
 * A group that waits stands in its destination: senders in turn (flows), in each its groups in
 * turn. One that is offered stands with its message, that with its sender, and its destination in
 * the lane. All turns are lists to whose end goes who was served; a stamp says since when each
 * waits, so that the lanes of a transport can be read as one list.
 */
enum schedule_lane_number { SCHEDULE_QUICK, SCHEDULE_NEW, SCHEDULE_BAD, SCHEDULE_LANES };

#define SCHEDULE_SLOW (5 * CLOCK_SEC) /* a job that takes this long */

struct schedule_group;
struct schedule_flow;
struct schedule_share;

enum schedule_timer_of { SCHEDULE_OF_DEST, SCHEDULE_OF_TRANSPORT, SCHEDULE_OF_SITE };
struct schedule_timer {
	RB_ENTRY(schedule_timer) link;
	int64_t due; /* CLOCK_NEVER: not set */
	void *owner;
	enum schedule_timer_of of;
};
RB_HEAD(schedule_timers, schedule_timer);

/*
 * When it is full again, exactly: full_at and part / count microseconds. Each job moves that on by
 * per / count, and may go while it is no further than per from now.
 */
struct schedule_bucket {
	int64_t full_at;
	uint32_t part;
};

/* A sender that is offered something in a transport. */
struct schedule_turn {
	TAILQ_ENTRY(schedule_sender) turn; /* in the lane while it has messages */
	TAILQ_HEAD(, schedule_share) messages;
	uint64_t stamp;
};
struct schedule_sender {
	RB_ENTRY(schedule_sender) link;
	struct schedule_transport *transport;
	uint64_t hash;
	struct schedule_turn lane[SCHEDULE_LANES];
};
RB_HEAD(schedule_senders, schedule_sender);

/* What a message offers in a lane; it exists while there is something. */
struct schedule_share {
	struct schedule_share *next; /* of the message */
	struct schedule_sender *sender;
	TAILQ_ENTRY(schedule_share) turn;
	TAILQ_HEAD(, schedule_group) offers;
	uint8_t lane;
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

/* What a message has for a destination: it waits in its flow, or is offered with a share. */
struct schedule_group {
	struct schedule_message *message;
	struct schedule_dest *dest;
	LIST_ENTRY(schedule_group) of_message;
	struct schedule_rcpts rcpts;
	TAILQ_ENTRY(schedule_group) link; /* of the flow, or of the destination's offers */
	TAILQ_ENTRY(schedule_group) of_share;
	struct schedule_flow *flow;
	struct schedule_share *share;
	unsigned count;
};
TAILQ_HEAD(schedule_ring, schedule_group);

/* A sender's groups that wait in a destination. In its ring while none of them is offered. */
struct schedule_flow {
	RB_ENTRY(schedule_flow) by_sender;
	TAILQ_ENTRY(schedule_flow) ring;
	uint64_t sender;
	struct schedule_ring groups;
	bool is_offered;
};
RB_HEAD(schedule_flows, schedule_flow);

enum schedule_place {
	SCHEDULE_IN_NONE,
	SCHEDULE_IN_LANE,
	SCHEDULE_IN_SITE,
	SCHEDULE_IN_DRAIN,
	SCHEDULE_IN_PREPARE,
	/* Without mail: forgotten in this order. */
	SCHEDULE_IN_IDLE,  /* that it answers, its window or its site is known */
	SCHEDULE_IN_USED,  /* its bucket is not full */
	SCHEDULE_IN_GRAVE, /* it is dead, or a rate delay runs */
	SCHEDULE_PLACES
};
#define SCHEDULE_RANKS (SCHEDULE_PLACES - SCHEDULE_IN_IDLE)

struct schedule_dest {
	struct schedule_transport *transport;
	char *key;
	uint64_t hash;
	RB_ENTRY(schedule_dest) by_key;
	TAILQ_ENTRY(schedule_dest) list; /* of its place */
	uint64_t stamp;                  /* of its place in the lane */
	struct schedule_flows flows;
	TAILQ_HEAD(, schedule_flow) ring;
	struct schedule_ring offers;
	struct schedule_group *recent; /* the last one made, NULL when it has gone */
	struct schedule_timer timer;   /* revival, the end of a rate delay, a token */
	char *reason;
	struct schedule_site *site; /* NULL: not needed yet */
	int64_t site_until;         /* it is to be asked for again; 0: nothing was said */
	struct schedule_bucket bucket;
	double success, failure, cohorts;
	uint32_t key_len;
	uint32_t pace;            /* milliseconds that a job takes */
	uint32_t flushes;         /* before it died */
	unsigned groups, offered; /* groups: with those */
	unsigned jobs, window;    /* window 0: dead */
	unsigned ahead;           /* jobs made, not counted in jobs */
	uint8_t place, lane;
	bool counted;   /* in the lane's dests */
	bool admitted;  /* by its site: it may have an offer */
	bool proven;    /* reached since it was last forgotten */
	bool tried;     /* it had a job */
	bool probing;   /* was dead: one delivery has to show that it lives */
	bool for_token; /* that is what the timer is for */
};
RB_HEAD(schedule_dests, schedule_dest);
TAILQ_HEAD(schedule_list, schedule_dest);

/* Destinations that share a limit. One of which no site was said has one by its own key. */
struct schedule_site {
	RB_ENTRY(schedule_site) by_name;
	struct schedule_transport *transport;
	char *name;
	uint64_t hash;
	size_t name_len;
	struct schedule_list ring; /* destinations that could send */
	struct schedule_timer timer;
	struct schedule_bucket bucket;
	unsigned dests, jobs, admitted;
	bool is_own; /* of a destination: the name is its key */
};
RB_HEAD(schedule_sites, schedule_site);

/*
 * A transport has three: of destinations that answer, and soon; of those of which that is not
 * known; and of those that were dead, or take their time. When room is short the latter two may not
 * take what the first could use.
 */
struct schedule_lane {
	struct schedule_list dests; /* with offers, in turn */
	TAILQ_HEAD(, schedule_sender) senders;
	TAILQ_HEAD(, schedule_job) jobs; /* the oldest first */
	unsigned busy;                   /* jobs */
	unsigned members;                /* destinations with mail or jobs */
};

struct schedule_transport {
	TAILQ_ENTRY(schedule_transport) link;
	TAILQ_ENTRY(schedule_transport) runnable;
	char *name, *reason;
	struct schedule_limits limits;
	struct schedule_dests dests;
	struct schedule_sites sites;
	struct schedule_senders senders;
	struct schedule_lane lane[SCHEDULE_LANES];
	struct schedule_timer timer; /* the end of a suspension or of a rate delay */
	uint64_t stamp;
	unsigned capacity, busy;
	uint32_t flushes; /* before it was suspended */
	bool suspended, delayed, is_runnable;
	bool by_sender; /* whose turn the last decision was */
};
TAILQ_HEAD(schedule_transports, schedule_transport);

struct schedule_index;

struct schedule {
	struct schedule_settings settings;
	struct schedule_transports transports, runnable;
	struct schedule_list drain, prepare, idle[SCHEDULE_RANKS];
	struct schedule_timers timers;
	struct schedule_index *index;
	size_t messages, recipients, jobs, loading, dests, sites, idle_count;
	size_t ahead;            /* recipients */
	int64_t now, last, skew; /* now = last + skew; last: what the caller said */
	bool new_waiting, last_was_new;
	uint32_t flushes; /* schedule_flush_id and _name */
	double feedback;  /* schedule_last_feedback */
};

RB_PROTOTYPE(schedule_dests, schedule_dest, by_key, schedule_dest_cmp)
RB_PROTOTYPE(schedule_sites, schedule_site, by_name, schedule_site_cmp)
RB_PROTOTYPE(schedule_timers, schedule_timer, link, schedule_timer_cmp)

/* A tree for one file. */
#define SCHEDULE_TREE(name, type, field, cmp) \
	RB_GENERATE_INTERNAL(name, type, field, cmp, static __attribute__((unused)))

/* schedule.c. Takes the caller's time; returns the time inside. */
int64_t schedule_clock(struct schedule *s, int64_t now);

/* schedule_job.c. The next that may be made; NULL: none. */
struct schedule_job *schedule_job_next(struct schedule *s);

/* schedule_turn.c */
struct schedule_group *schedule_group_new(struct schedule_message *m, struct schedule_dest *d);
void schedule_group_free(struct schedule_group *g);
/* Behind the others of its destination. */
void schedule_group_wait(struct schedule_group *g);
/* Out of its places; it stays allocated and with its message. */
void schedule_group_leave(struct schedule_group *g);
/* The group that is next in d, not offered; NULL: none. peek leaves it where it is. */
struct schedule_group *schedule_dest_take(struct schedule_dest *d);
struct schedule_group *schedule_dest_peek(const struct schedule_dest *d);
/* Makes so many offers, or takes back what are too many. d stands in its lane. */
void schedule_dest_offer(struct schedule_dest *d, unsigned most);
/* Of the offers of t the one whose turn it is, taken out; NULL: none may go. */
struct schedule_group *schedule_turn_take(struct schedule_transport *t);

/* schedule_dest.c */
struct schedule_dest *schedule_dest_find(struct schedule_transport *t, struct slice key);
struct schedule_dest *schedule_dest_get(
	struct schedule *s, struct schedule_transport *t, struct slice key);
/* Puts d where it belongs after a change; may free it. served: it goes behind its equals. */
void schedule_dest_place(struct schedule *s, struct schedule_dest *d, bool served);
/* Out of all places; schedule_dest_place is to follow. */
void schedule_dest_leave(struct schedule *s, struct schedule_dest *d);
void schedule_dest_enter_lane(struct schedule_dest *d);
void schedule_dest_drop(struct schedule *s, struct schedule_dest *d);
/* A new one would know the same. */
bool schedule_dest_is_plain(const struct schedule_dest *d, int64_t now);
size_t schedule_memory_limit(const struct schedule *s);

/* schedule_window.c */
unsigned schedule_window_first(const struct schedule_transport *t);
void schedule_window_feedback(struct schedule *s, struct schedule_dest *d,
	enum schedule_outcome outcome, int64_t took, struct slice reason);
void schedule_window_limit(struct schedule_dest *d);
void schedule_window_dead(
	struct schedule *s, struct schedule_dest *d, int64_t until, struct slice reason);
/* It is not dead any more: one delivery is to show whether it lives. */
void schedule_window_probe(struct schedule_dest *d);

/* schedule_timer.c */
void schedule_transport_place(struct schedule *s, struct schedule_transport *t);
/* Jobs that take long count as those of bad destinations from now on. */
void schedule_lane_age(const struct schedule *s, struct schedule_transport *t);
/* When that may let another job go; CLOCK_NEVER: not. */
int64_t schedule_lane_next(const struct schedule *s);
/* Whether the lane may have one more job. */
bool schedule_lane_may(const struct schedule_transport *t, int lane);
void schedule_timer_init(struct schedule_timer *timer, enum schedule_timer_of of, void *owner);
void schedule_timer_set(struct schedule *s, struct schedule_timer *timer, int64_t due);
void schedule_timers_run(struct schedule *s);
int64_t schedule_timers_next(const struct schedule *s);

/* schedule_site.c */
bool schedule_site_is_limited(const struct schedule_transport *t);
/* That of d, made when it has none yet. */
struct schedule_site *schedule_site_of(struct schedule *s, struct schedule_dest *d);
struct schedule_site *schedule_site_get(
	struct schedule *s, struct schedule_transport *t, struct slice name, bool is_own);
/* Lets in as many of its destinations as its limits allow. */
void schedule_site_run(struct schedule *s, struct schedule_site *site);
/* It is not used by one more; frees it when nothing needs it. */
void schedule_site_release(struct schedule *s, struct schedule_site *site);
/* May one more job start now, outside of what was let in? */
bool schedule_site_has_room(const struct schedule *s, const struct schedule_site *site);

/* schedule_rate.c: no limit always has one. */
int64_t schedule_bucket_next(
	const struct schedule_bucket *b, const struct schedule_rate *rate, int64_t now);
void schedule_bucket_take(struct schedule_bucket *b, const struct schedule_rate *rate, int64_t now);
bool schedule_bucket_is_full(
	const struct schedule_bucket *b, const struct schedule_rate *rate, int64_t now);
int64_t schedule_bucket_tokens(
	const struct schedule_bucket *b, const struct schedule_rate *rate, int64_t now);
void schedule_bucket_restore(struct schedule_bucket *b, const struct schedule_rate *rate,
	int64_t now, int64_t tokens, int64_t age);

/* schedule_index.c */
struct schedule_index *schedule_index_new(void);
void schedule_index_free(struct schedule_index **x);
int64_t schedule_index_next(const struct schedule_index *x); /* microseconds or CLOCK_NEVER */
struct schedule_deferred schedule_index_pop(struct schedule_index *x);
void schedule_index_count(const struct schedule_index *x, struct schedule_counts *c);

#endif
