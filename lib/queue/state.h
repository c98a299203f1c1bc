/* SPDX-License-Identifier: ISC */
#ifndef QUEUE_STATE_H
#define QUEUE_STATE_H

#include <stdbool.h>
#include <stdint.h>

/*
 * The states of a recipient and of a message, the events that change them, and the one table of
 * what is allowed (state.c). The store refuses what the table refuses (ERR_STATE); recovery
 * ignores it.
 *
 * Recipient                             by event
 *   WAIT       due now or later           (beginning), DEFERRED
 *   OUT        with a delivery worker     HANDOUT from WAIT, DOUBT
 *   DOUBT      may have been delivered    IN_DOUBT from OUT, WAIT
 *   DELIVERED                             DELIVERED from OUT, WAIT, DOUBT
 *   FAILED     permanently; wants notice  FAILED, EXPIRED from OUT, WAIT, DOUBT
 *   RETURNED   sender was told            NOTIFIED from FAILED, DELIVERED; or the next hop will
 *                                         tell of success (DELIVERED with QUEUE_HOW_TAKEN)
 *   PASSED     lives on in a child        PASSED from WAIT, DOUBT; forwards: OUT
 *   DELETED    by the operator            DELETED from any but the four final ones
 * Final: DELIVERED, RETURNED, PASSED, DELETED. A DELIVERED or FAILED recipient for which no
 * notice is wanted is final when the caller says so: ENDED of the message.
 *
 * Message
 *   LIVE  HELD (held by HELD, back by RELEASED)  ENDED (by ENDED, DELETED)
 */
enum queue_rstate {
	QUEUE_R_WAIT,
	QUEUE_R_OUT,
	QUEUE_R_DOUBT,
	QUEUE_R_DELIVERED,
	QUEUE_R_FAILED,
	QUEUE_R_RETURNED,
	QUEUE_R_PASSED,
	QUEUE_R_DELETED,
	QUEUE_R_STATES,
};

enum queue_mstate { QUEUE_M_LIVE, QUEUE_M_HELD, QUEUE_M_ENDED, QUEUE_M_STATES };

/* Numbers are on disk: never change one. */
enum queue_event_type {
	QUEUE_EV_NONE = 0,
	/* of the log itself */
	QUEUE_EV_START = 1,  /* a qmgr began */
	QUEUE_EV_STOP = 2,   /* clean; only as the last event (Q11) */
	QUEUE_EV_FLOOR = 3,  /* one segment's floor (Q1) */
	QUEUE_EV_SYNCED = 4, /* the log was durable up to here when this was written */
	/* of segments */
	QUEUE_EV_CUT = 8,         /* segment, generation ends at offset (Q18) */
	QUEUE_EV_SEGMENT_END = 9, /* generation has ended (Q7, Q9) */
	QUEUE_EV_DONE = 10, /* records of a segment that have ended or moved: a compact list */
	/* of a message */
	QUEUE_EV_ACCEPTED = 16, /* with parent and its recipients for a child (Q14) */
	QUEUE_EV_HANDOUT = 17,
	QUEUE_EV_IN_DOUBT = 18, /* Q16 */
	QUEUE_EV_DELIVERED = 19,
	QUEUE_EV_DEFERRED = 20,
	QUEUE_EV_FAILED = 21,
	QUEUE_EV_EXPIRED = 22,
	QUEUE_EV_NOTIFIED = 23, /* of the parent, in one event with the child's ACCEPTED */
	QUEUE_EV_PASSED = 24,   /* likewise */
	QUEUE_EV_HELD = 25,
	QUEUE_EV_RELEASED = 26,
	QUEUE_EV_DELETED = 27,
	QUEUE_EV_MOVED = 28, /* lives in a file from now on */
	QUEUE_EV_ENDED = 29,
	QUEUE_EV_DROPPED = 30,    /* a child that came too late (Q14) */
	QUEUE_EV_STATE = 31,      /* all states of a message at once: carried on by compaction */
	QUEUE_EV_EXPIRE_NOW = 32, /* the operator: no further attempt */
	QUEUE_EV_DELAY_TOLD = 33, /* the delay notice was accepted */
	QUEUE_EV_TRACED = 34,     /* the report of the first attempt was accepted */
	QUEUE_EV_COPIED = 35, /* a copy for the postmaster was accepted; its reason says which */
	QUEUE_EV_TYPES,
};

/*
 * What relay_attempts_limit counts an attempt by: whether it went through a relay. Numbers are on
 * disk, in flags of events and in STATE.
 */
enum queue_road {
	QUEUE_ROAD_UNKNOWN, /* as the next result says */
	QUEUE_ROAD_RELAY,
	QUEUE_ROAD_DIRECT,
	QUEUE_ROAD_BOTH, /* past a relay first, then through one: counts as RELAY */
};

/*
 * How a recipient was delivered, as its notice says (RFC 3464, 2.3.3); the reason of a DELIVERED
 * event. Numbers are on disk.
 */
enum queue_how {
	QUEUE_HOW_NONE,
	QUEUE_HOW_DELIVERED,   /* to its mailbox */
	QUEUE_HOW_RELAYED,     /* to a host that tells nobody of success */
	QUEUE_HOW_TAKEN,       /* to one that does: nothing is to be told here (RFC 3461, 5.2.1) */
	QUEUE_HOW_EXPANDED,    /* it stood for more than one address (5.2.7.3) */
	QUEUE_HOW_DELIVERABLE, /* it was only asked for: sendmail -bv */
	QUEUE_HOW_UNDELIVERABLE, /* and would be refused, or cannot be said now */
	QUEUE_HOW_BY, /* to a host, and its sender wants to hear of that (RFC 2852, 4.1.4) */
};

/* The state after ev, or -1 when not allowed. ev that do not concern recipients: -1. */
int queue_rstate_next(enum queue_rstate s, enum queue_event_type ev);
int queue_mstate_next(enum queue_mstate s, enum queue_event_type ev);
bool queue_rstate_is_final(enum queue_rstate s);
/* Constant names, lower case ("wait", "handed out"); never NULL. */
const char *queue_rstate_name(enum queue_rstate s);
const char *queue_mstate_name(enum queue_mstate s);
const char *queue_event_name(enum queue_event_type ev);

#endif
