/* SPDX-License-Identifier: ISC */
#ifndef CLIENT_DELIVERY_H
#define CLIENT_DELIVERY_H

#include "dns/client.h"
#include "dns/nexthop.h"
#include "server/job.h"
#include "smtp-client/policy.h"
#include "smtp-client/problem.h"

/*
 * One attempt to deliver a job: the next hops one after the other (then smtp_fallback_relay), of
 * each the hosts and addresses in order, to each a session. It ends when every recipient is
 * reported.
 *
 *   start ──► policy of TLS ──► idle session to this next hop? ──yes──► transaction
 *     │no                                                 │
 *     ▼                                                   ▼
 *   hosts of the next hop (resolver) ──► connect ──► handshake ──► transaction ──► recipients left?
 *     │ none        ▲ next one               │ failed          │ failed             │yes    │no
 *     ▼             └────────────────────────┴─────────────────┴────────────────────┘       ▼
 *   next next hop, or: what is left fails or is deferred with the last problem             end
 */

struct session;

struct delivery {
	struct job *job;
	struct session *session; /* NULL: none now */
	struct slice sites; /* next hops that are left; of job->nexthop or smtp_fallback_relay */
	bool fallback;      /* it is the latter */
	bool is_self; /* this system is a host of the domain: only better MX hosts are tried */
	unsigned sites_taken;    /* of the former, the present one included */
	char *site;              /* owned: the present one as it was written */
	struct nexthop nexthop;  /* parsed; borrows from site */
	struct dns_query *query; /* open question, or NULL */
	struct later sifting;    /* tables that are asked for what it says */
	struct later later;      /* tables that are asked for its policy */
	struct policy *policy;   /* counted: how much TLS it gets; NULL: not known */
	enum tls_level level;    /* what that comes to for the present address */
	bool plain;              /* in clear text, since TLS has failed there */
	bool fall_back;          /* the present address once more, in clear text */
	uint64_t connecting;     /* handle of server_connect; 0: none */
	struct buf encoded;      /* what hosts borrows from */
	struct hosts *hosts;     /* owned; NULL: not known */
	char *tried;       /* owned: relay of a reused session, not to be tried again; or NULL */
	unsigned at;       /* index of the next address */
	unsigned sessions; /* that came through their handshake */
	unsigned site_sessions;   /* of these, to the present next hop */
	bool parked;              /* the last session stays open, idle */
	bool unreadable;          /* the message itself cannot be read */
	struct problem why;       /* the last one */
	int64_t begun, connected; /* real times; connected 0: not yet */

	struct later mapping;             /* tables that are asked for generic */
	struct generic_envelope *generic; /* owned: addresses on the wire; NULL: as they are */
};

void delivery_start(struct job *j);
/* Withdrawn: its session is closed, nothing is reported. Not after the dot. */
void delivery_abandon(struct delivery *d);

/* From servers.h: d->hosts is there; it is not, d->why says why. */
void delivery_found(struct delivery *d);
void delivery_not_found(struct delivery *d);
/* The port of the present next hop. */
uint16_t delivery_port(const struct delivery *d);
/* From the session: it has come through its handshake. */
void delivery_handshake_done(struct delivery *d);
/* A session that had been idle turned out to be dead: the same next hop by a new one. */
void delivery_retry(struct delivery *d);
/* The session is gone or parked; go on with what is left. */
void delivery_next(struct delivery *d);
/* The session is about to end; the same address is next, in clear text. */
void delivery_fall_back(struct delivery *d);
/* No other server will be tried after this one. */
bool delivery_is_last(const struct delivery *d);
/*
 * Whether a server that calls itself by our name is taken for ourselves: one at the SMTP port. A
 * second instance behind another port may well have the same name.
 */
bool delivery_may_loop(const struct delivery *d);
/* The present address is among the nearest to the domain. */
bool delivery_is_best(const struct delivery *d);
/* Towards a relay (relay_sender, relay_attempts_limit): as the route says, or the fall-back. */
bool delivery_is_relay(const struct delivery *d);
/* smtp_fallback_relay is set: mail may come to a relay wherever it goes first. */
bool delivery_falls_back(void);

#endif
