/* SPDX-License-Identifier: ISC */
#ifndef POLICY_TALLY_CLIENT_H
#define POLICY_TALLY_CLIENT_H

#include "ipc/ipc.h"
#include "net/range.h"

/*
 * smtpd's side of what tally keeps over all workers: counts, rates, failures, bans, the greylist,
 * and a cache of what was found out about clients and addresses. smtpd hands over its peer of the
 * role tally as it comes and goes, and that peer's frames.
 *
 * tally never holds a session up: a question is answered within TALLY_WAIT, always from the event
 * loop and once; is_known says whether tally did. Known bans hold without it.
 */
enum { TALLY_WAIT = 200 * 1000 }; /* microseconds */

/* What is counted: events, which have rates, and failures, which lead to bans. */
enum tally_kind {
	TALLY_CONNECTIONS,
	TALLY_MESSAGES,
	TALLY_RECIPIENTS,
	TALLY_AUTHS,
	TALLY_TLS_SESSIONS, /* new ones */
	TALLY_BYTES,        /* of content */
	TALLY_EVENTS,
	TALLY_BAD_AUTH = TALLY_EVENTS,
	TALLY_UNKNOWN_RECIPIENT,
	TALLY_ERROR,
	TALLY_KINDS
};

struct tally_reply {
	bool is_known;        /* false: tally is away or slow; all else is 0 */
	uint64_t connections; /* tally_enter: open ones, this one included */
	uint64_t rate;        /* tally_enter, tally_add: in anvil_rate_time_unit, these included */
	bool is_banned;       /* tally_enter */
	bool is_found;        /* tally_cache_get; tally_greylist: it may pass */
	int64_t seconds;      /* tally_greylist: how long it has to wait yet */
	struct slice value;   /* tally_cache_get; borrowed */
	int64_t until;        /* real time up to which that holds */
};

typedef void tally_answer(void *arg, const struct tally_reply *r);

void tally_client_add(struct ipc *c);
void tally_client_msg(struct ipc *c, struct ipc_msg *msg);
void tally_client_remove(struct ipc *c);
bool tally_client_is_there(void);

/*
 * A session registers itself when its client has connected and keeps the handle until it ends, so
 * that a tally that was started anew is told of all open sessions, and one that loses a worker
 * forgets the worker's sessions. service as in master.cf: what follows is counted per service and
 * client address. rate_limit: a connection above that rate is not counted in it; 0: all are.
 * Owned; tally_leave ends it: the client has gone, or is not to be counted.
 */
struct tally_session;
struct tally_session *tally_enter(struct slice service, struct slice client_addr,
	uint64_t rate_limit, tally_answer *answer, void *arg);
void tally_leave(struct tally_session **t); /* *t may be NULL */

/* A question under way. The asker forgets it when it is answered, or cancels it. */
struct tally_question;
void tally_cancel(struct tally_question **q);

/* What a client did, or a login (client_addr is empty then). */
struct tally_event {
	enum tally_kind kind;
	uint64_t count;
	struct slice service, client_addr, login;
};
void tally_tell(const struct tally_event *e);
/*
 * May it? The answer's rate is above the limit when it may not, and the event is not counted then:
 * who comes again too often is let in when its window has passed. A count of 0 only asks.
 */
struct tally_question *tally_add(
	const struct tally_event *e, uint64_t limit, tally_answer *answer, void *arg);

/*
 * A failure of a client: the limit-th within smtpd_ban_window bans it for ban_seconds. Of those
 * that have the same mark one counts. login for the log; may be empty.
 */
struct tally_failure {
	enum tally_kind kind;
	struct slice client_addr, login;
	uint64_t limit, ban_seconds, mark;
	bool has_mark;
};
void tally_fail(const struct tally_failure *f);

/*
 * Bans, as tally tells them without being asked. begun is called when some may have come; which
 * sessions they are for is the caller's to see.
 */
void tally_on_bans(void (*begun)(void));
bool tally_is_banned(const struct net_range *client);
/* Whether all of them have come once; before that tally_enter tells. */
bool tally_knows_bans(void);

/* is_found: this message may pass; else it is to come again, soonest in .seconds. */
struct tally_question *tally_greylist(struct slice client_addr, struct slice sender,
	struct slice recipient, int64_t delay_seconds, tally_answer *answer, void *arg);

/*
 * The cache: bytes to bytes, until a time (real, microseconds). It survives a restart, but is a
 * cache: the oldest goes when it is full. Keys begin with the name of their user: "probe:…".
 */
enum { TALLY_KEY_MAX = 2048, TALLY_VALUE_MAX = 4096 };
struct tally_question *tally_cache_get(struct slice key, tally_answer *answer, void *arg);
/* An empty value forgets the key. */
void tally_cache_put(struct slice key, struct slice value, int64_t until);

/*
 * What qmgr tells tally of a probe (PROBE_RESULT) is kept under "probe:" and the address in lower
 * case, as: u8 result (enum proto_result: OK, FAILED or DEFERRED), u64 real time, the text.
 */
#define TALLY_PROBE_KEY "probe:"
enum { TALLY_PROBE_HEAD = 9 };

#endif
