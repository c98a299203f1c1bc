/* SPDX-License-Identifier: ISC */
#ifndef QMGR_SCHEDULE_H
#define QMGR_SCHEDULE_H

#include <sys/queue.h>

#include "util/clock.h"
#include "util/slice.h"

/*
 * The scheduler: who is sent next, and when. It does no I/O, reads no clock and keeps no text of
 * a message: events go in, decisions come out, and `now` is an argument (microseconds that never
 * go back; the same scale as arrival times).
 *
 * Words. A message has recipients, each for a destination: (transport, key). What one message
 * has for one destination is a group; up to `recipients` of a group leave as one job. A
 * destination has a window (jobs at once) that adapts; a transport has a capacity.
 *
 * Fairness. Decisions are by turns: one goes to the destination that has waited longest since it
 * was last served, the next one to the sender that has, and in that to the message that has. So
 * each sender and each destination gets at least half of its fair share of a transport while it has
 * mail that may go; a note waits for one job of each newsletter of its sender, not for their
 * recipients; and where many senders wait for one destination they take turns there. A message that
 * has recipients left after a job waits another turn. Each step costs the same whatever waits, but
 * for trees of the destinations, senders and timers that are active.
 *
 * Room. A transport keeps an eighth of its capacity for destinations that were reached and take
 * less than five seconds a job. When no more than that is free, the first jobs of new destinations
 * get what is theirs by number (at least a quarter), and destinations that have not answered yet,
 * were dead or are slow half of that; a job that takes longer than five seconds counts as one of
 * those. Who lets us wait does not make everybody wait.
 *
 * Death. A destination dies when as many cohorts of deliveries failed as its transport allows.
 * After minimal_backoff one delivery goes out; when that fails it is dead for another such time,
 * when it succeeds the window grows from one.
 *
 * Ahead. A retry's hand-out must be noted durably before it is sent, and its content comes from a
 * file: jobs of loaded messages are made ahead of a full window, so that the caller can prepare
 * them together; schedule_job_start says when one may go. What is prepared goes before what still
 * waits, so there is never much of it: SCHEDULE_AHEAD windows of a destination, of one that has
 * been reached since it was last thought dead, and SCHEDULE_AHEAD_RCPTS recipients in all (which
 * an unclean end calls in doubt). As soon as new mail is next in the destination no more is made.
 *
 * Ownership. Messages and jobs are made and freed here; a recipient (struct schedule_rcpt) is
 * embedded in an object of the caller, which gets it back in exactly one job or by
 * schedule_withdraw. Nothing is called back.
 */
struct schedule;
struct schedule_transport;
struct schedule_dest;
struct schedule_message;
struct schedule_site;

struct schedule_settings {
	size_t message_limit;   /* qmgr_message_active_limit */
	size_t recipient_limit; /* qmgr_message_recipient_limit; the last message may go over it */
	int64_t minimal_backoff, maximal_backoff;
	int64_t lifetime, bounce_lifetime; /* bounce: messages of the null sender */
	size_t memory_limit; /* destinations without mail that are remembered; 0: SCHEDULE_MEMORY */
};
#define SCHEDULE_MEMORY 20000

/* base, base/concurrency or base/sqrt(concurrency). */
enum schedule_shape { SCHEDULE_CONSTANT, SCHEDULE_INVERSE, SCHEDULE_INVERSE_SQRT };
struct schedule_feedback {
	double base;
	enum schedule_shape shape;
};

/*
 * A token bucket: count jobs in per microseconds, up to count of them at once; so no more than
 * count * (1 + T / per) in any time T. Counted in whole parts of a job: nothing is rounded, and a
 * clock that goes back neither gives nor takes. count 0: no limit. Both at most 1,000,000 and
 * SCHEDULE_PER_MAX.
 */
struct schedule_rate {
	uint32_t count;
	int64_t per;
};
#define SCHEDULE_COUNT_MAX 1000000
#define SCHEDULE_PER_MAX (INT64_C(100) * 86400 * CLOCK_SEC)

/* What main.cf says of a transport; 0 is no limit where not said otherwise. */
struct schedule_limits {
	unsigned recipients; /* of a job */
	unsigned initial_concurrency, concurrency;
	unsigned failed_cohorts; /* 0: a destination never dies */
	struct schedule_feedback positive, negative;
	int64_t rate_delay;           /* between the end of a job and the next, per destination */
	int64_t transport_rate_delay; /* between the starts of two jobs of the transport */
	struct schedule_rate rate;    /* per destination */
	struct schedule_rate site_rate;
	unsigned site_concurrency; /* jobs at once for all destinations of a site */
};

struct schedule_rcpt {
	STAILQ_ENTRY(schedule_rcpt) next;
};
STAILQ_HEAD(schedule_rcpts, schedule_rcpt);

struct schedule_job {
	struct schedule_message *message;
	struct schedule_dest *dest;
	struct schedule_rcpts rcpts;
	unsigned count;
	bool suspended; /* not to be sent: the destination rests, see schedule_dest_reason */
	bool ahead;     /* to be prepared; sent when schedule_job_start says so */
	void *owner;    /* the caller's */

	/* Private. */
	struct schedule_site *site;     /* whose jobs it is one of; NULL: none */
	TAILQ_ENTRY(schedule_job) link; /* while it is out, in the order of starts */
	int64_t since;
	uint8_t lane;
};

enum schedule_what { SCHEDULE_JOB, SCHEDULE_LOAD, SCHEDULE_WAIT };
struct schedule_decision {
	enum schedule_what what;
	struct schedule_job *job; /* JOB: owned by the caller until schedule_job_done */
	uint64_t id;              /* LOAD: this deferred message is due; it has left the index */
	uint8_t flags;            /* LOAD: what the index had of it, */
	uint64_t cookie;          /* and what the caller had put there */
	int64_t until; /* WAIT: nothing before this without an event; may be CLOCK_NEVER */
};

#define SCHEDULE_AHEAD 4
#define SCHEDULE_AHEAD_RCPTS 1000

/* What a job showed of its destination. */
enum schedule_outcome {
	SCHEDULE_REACHED, /* it talked to us, whatever it said */
	SCHEDULE_FAILED,  /* no session could be had; a reason is given */
	SCHEDULE_NEUTRAL, /* says nothing: a worker died, the job was withdrawn or suspended */
};

struct schedule *schedule_new(const struct schedule_settings *settings);
void schedule_free(struct schedule **s);
void schedule_set(struct schedule *s, const struct schedule_settings *settings);

/* The transport of that name, made when it is new; limits are set anew. Capacity is 0 at first. */
struct schedule_transport *schedule_transport_set(
	struct schedule *s, struct slice name, const struct schedule_limits *limits);
struct schedule_transport *schedule_transport_find(struct schedule *s, struct slice name);
/* Jobs that may be out at once: what its workers have room for in all. */
void schedule_transport_capacity(struct schedule *s, struct schedule_transport *t, unsigned jobs);
/*
 * All that waits for the transport leaves as suspended jobs, as does what comes, until then.
 * Ends by itself, or with until <= now.
 */
void schedule_transport_suspend(struct schedule *s, struct schedule_transport *t, int64_t now,
	int64_t until, struct slice reason);
struct slice schedule_transport_name(const struct schedule_transport *t);
unsigned schedule_transport_busy(const struct schedule_transport *t);

/* New messages that may be added now. With waiting, due deferred messages get every other place. */
size_t schedule_room(struct schedule *s, int64_t now, bool waiting);
/*
 * sender: any number that stands for who sent it (fairness). loaded: it was asked for by LOAD.
 * It is freed by schedule_message_free, which panics while jobs of it are out.
 */
struct schedule_message *schedule_message_add(
	struct schedule *s, void *owner, uint64_t sender, bool loaded);
void schedule_message_free(struct schedule *s, struct schedule_message **m);
/* A message that was asked for by LOAD is not there any more. */
void schedule_load_failed(struct schedule *s);
/* Each job of it has one recipient, whatever the transport's limit. */
void schedule_message_set_single(struct schedule_message *m);
void *schedule_message_owner(const struct schedule_message *m);
/* Nothing of it waits here and no job of it is out. */
bool schedule_message_is_idle(const struct schedule_message *m);
unsigned schedule_message_jobs(const struct schedule_message *m);

/* key: the bytes that name the destination within its transport; copied when it is new. */
void schedule_rcpt_add(struct schedule *s, struct schedule_message *m, struct schedule_transport *t,
	struct slice key, struct schedule_rcpt *r);
/* Takes back all recipients of m that are in no job; appended to out. */
unsigned schedule_withdraw(
	struct schedule *s, struct schedule_message *m, struct schedule_rcpts *out);

/* One decision; call again until it is WAIT. */
void schedule_next(struct schedule *s, int64_t now, struct schedule_decision *d);
/*
 * May this job, made ahead, go now? 0: yes, it counts from now on; ERR_AGAIN: not yet; ERR_STATE:
 * its destination rests, it is a suspended job from now on. 0 for any other job.
 */
int schedule_job_start(struct schedule *s, struct schedule_job *job, int64_t now);
/* The job is over, its recipients are the caller's. Frees it. reason is for FAILED; copied. */
void schedule_job_done(struct schedule *s, struct schedule_job **job, int64_t now,
	enum schedule_outcome outcome, struct slice reason);

struct schedule_transport *schedule_dest_transport(const struct schedule_dest *d);
struct slice schedule_dest_key(const struct schedule_dest *d);
/* Why it or its transport is suspended; empty when it is not. */
struct slice schedule_dest_reason(const struct schedule_dest *d);
unsigned schedule_dest_window(const struct schedule_dest *d);
/*
 * Sites. Where a transport has a limit for sites, its destinations share those of the site that
 * was said for them; one of which none was said is a site of its own.
 *
 * wants_site: the site is to be asked for: the transport has such a limit, and for this destination
 * nothing was said that still holds. Whoever asks calls set_site with what comes, or with the empty
 * site when nothing comes: that holds for SCHEDULE_NO_SITE_LIFE.
 */
#define SCHEDULE_SITE_LIFE_MIN (60 * CLOCK_SEC)
#define SCHEDULE_SITE_LIFE (3600 * CLOCK_SEC)
#define SCHEDULE_NO_SITE_LIFE (300 * CLOCK_SEC)
bool schedule_dest_wants_site(
	struct schedule *s, int64_t now, struct schedule_transport *t, struct slice key);
/*
 * site: copied; empty: a site of its own. It holds for life (microseconds), not less than
 * SCHEDULE_SITE_LIFE_MIN and not more than SCHEDULE_SITE_LIFE. May be said anew; jobs that are out
 * count where they did.
 */
void schedule_dest_set_site(struct schedule *s, int64_t now, struct schedule_transport *t,
	struct slice key, struct slice site, int64_t life);
/* A site of its own, which it shares with other destinations for which the same name is said. */
void schedule_dest_set_own_site(struct schedule *s, int64_t now, struct schedule_transport *t,
	struct slice key, struct slice name);
/* What was said, for a destination that is known; else empty. Borrowed until the next call. */
struct slice schedule_dest_site(struct schedule_transport *t, struct slice key);
/*
 * Forgets that destinations are dead and transports suspended: all (NULL), or the destination of
 * one transport and key, and its transport with it if it is known.
 */
void schedule_revive(
	struct schedule *s, int64_t now, struct schedule_transport *t, struct slice key);
/* The same for one, of what was so before the last schedule_flush_id: what has died of flushed mail
 * stays dead for the rest of it. */
void schedule_revive_flushed(
	struct schedule *s, int64_t now, struct schedule_transport *t, struct slice key);

/*
 * Deferred messages: an index by due time, by id, by site and by domain of the recipients, at most
 * 64 bytes a message, of which nothing else is in memory. A site is a hash of a destination; two of
 * them are kept and a small hash of one domain. A message with more, and any of a domain that is
 * flushed, is only asked for: the caller looks whether it is meant.
 */
enum {
	SCHEDULE_HELD = 1,    /* never due */
	SCHEDULE_BOUNCE = 2,  /* null sender: bounce_lifetime */
	SCHEDULE_REVIVE = 4,  /* by its id: its destinations are to be revived */
	SCHEDULE_ASKED = 8,   /* made due, since a flush may mean it */
	SCHEDULE_MANY = 16,   /* more than two sites or one domain, or not known */
	SCHEDULE_FLUSHED = 64 /* made due by a flush, or the caller's */
};
struct schedule_deferred {
	uint64_t id;
	uint64_t cookie;       /* the caller's */
	uint32_t arrival, due; /* seconds */
	uint32_t site[2];      /* 0: none */
	uint32_t place;        /* private */
	uint32_t flags : 8, domain : 24;
};

/* Microseconds after the first attempt, the second, …; the last one repeats. At least a second. */
struct schedule_plan {
	const int64_t *steps; /* borrowed */
	unsigned n;
};
/*
 * When to try again after attempt number `attempts` (1 is the first): by the plan, or without one
 * (NULL, or no step) the time it has waited, within minimal and maximal back-off. Never behind its
 * end. With expired set it has had its life (and at least this attempt) and is returned.
 */
int64_t schedule_backoff(const struct schedule *s, int64_t now, int64_t arrival,
	const struct schedule_plan *plan, unsigned attempts, bool bounce, bool *expired);
int64_t schedule_lifetime_end(const struct schedule *s, int64_t arrival, bool bounce);
/* Adds, or replaces what stands under that id. */
void schedule_defer(struct schedule *s, const struct schedule_deferred *d);
/* Borrowed until the next change of the index; NULL: not deferred. */
const struct schedule_deferred *schedule_deferred_find(const struct schedule *s, uint64_t id);
bool schedule_deferred_remove(struct schedule *s, uint64_t id);
/*
 * Makes due now: all that are not held; those of these sites or of a domain; one (with
 * SCHEDULE_REVIVE). Returns how many, each counted once; those that are only asked for are among
 * them.
 */
size_t schedule_flush_all(struct schedule *s, int64_t now);
size_t schedule_flush_name(
	struct schedule *s, int64_t now, const uint32_t *sites, size_t n_sites, uint32_t domain);
/* One with SCHEDULE_ASKED. */
bool schedule_ask(struct schedule *s, int64_t now, uint64_t id);
bool schedule_flush_id(struct schedule *s, int64_t now, uint64_t id);
uint32_t schedule_site(struct slice transport, struct slice key);
uint32_t schedule_domain(struct slice domain);
/* Some wait to be loaded that are asked for. */
bool schedule_has_asked(const struct schedule *s);
/* Calls visit for each in no order until it returns false; visit changes nothing. */
void schedule_deferred_walk(const struct schedule *s,
	bool (*visit)(const struct schedule_deferred *d, void *arg), void *arg);

/*
 * What was learnt of destinations and sites, for a life after this one. Walk calls visit for each
 * of which something was learnt, until it returns false; the slices are borrowed for that call, and
 * visit changes nothing. Restore takes one back; as it says when a bucket had how much, a restart
 * fills none. ERR_NOT_FOUND: no such transport (schedule_transport_set makes it); ERR_RANGE: what
 * it says cannot be; ERR_LIMIT: as many are remembered as may be.
 */
struct schedule_memory {
	struct slice transport, key; /* of a site: its name */
	struct slice site;           /* of a destination; empty: none was said */
	struct slice reason;         /* of a dead one */
	bool is_site;                /* only tokens and tokens_at say something */
	bool proven;                 /* reached since it was last thought dead */
	unsigned window;             /* 0: dead */
	double success, failure, cohorts;
	int64_t dead_until;
	int64_t tokens; /* millionths of a job that could go at tokens_at; -1: no bucket */
	int64_t tokens_at;
};
void schedule_memory_walk(const struct schedule *s, int64_t now,
	bool (*visit)(const struct schedule_memory *m, void *arg), void *arg);
int schedule_memory_restore(struct schedule *s, int64_t now, const struct schedule_memory *m);
/* By how much of a window the last job that ended moved its destination; negative: by nothing. */
double schedule_last_feedback(const struct schedule *s);
/* What is known of one destination, as walk would say it. False: there is none. */
bool schedule_memory_find(struct schedule *s, int64_t now, struct schedule_transport *t,
	struct slice key, struct schedule_memory *m);

struct schedule_counts {
	size_t messages, recipients; /* active; recipients that are in no job */
	size_t jobs, deferred, held, loading, dests;
	size_t index_bytes; /* memory of the deferred index */
};
void schedule_count(const struct schedule *s, struct schedule_counts *c);

#endif
