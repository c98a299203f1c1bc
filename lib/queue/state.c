/* SPDX-License-Identifier: ISC */
#include "queue/state.h"

#include <stddef.h>

/* One row an allowed change; what has no row is refused. */
static const struct {
	uint8_t from, event, to;
} rtable[] = {
	{QUEUE_R_WAIT, QUEUE_EV_HANDOUT, QUEUE_R_OUT},
	{QUEUE_R_WAIT, QUEUE_EV_IN_DOUBT, QUEUE_R_DOUBT},
	{QUEUE_R_WAIT, QUEUE_EV_DELIVERED, QUEUE_R_DELIVERED},
	{QUEUE_R_WAIT, QUEUE_EV_DEFERRED, QUEUE_R_WAIT},
	{QUEUE_R_WAIT, QUEUE_EV_FAILED, QUEUE_R_FAILED},
	{QUEUE_R_WAIT, QUEUE_EV_EXPIRED, QUEUE_R_FAILED},
	{QUEUE_R_WAIT, QUEUE_EV_PASSED, QUEUE_R_PASSED},
	{QUEUE_R_WAIT, QUEUE_EV_DELETED, QUEUE_R_DELETED},
	{QUEUE_R_OUT, QUEUE_EV_IN_DOUBT, QUEUE_R_DOUBT},
	{QUEUE_R_OUT, QUEUE_EV_DELIVERED, QUEUE_R_DELIVERED},
	{QUEUE_R_OUT, QUEUE_EV_DEFERRED, QUEUE_R_WAIT},
	{QUEUE_R_OUT, QUEUE_EV_FAILED, QUEUE_R_FAILED},
	{QUEUE_R_OUT, QUEUE_EV_EXPIRED, QUEUE_R_FAILED},
	{QUEUE_R_OUT, QUEUE_EV_PASSED, QUEUE_R_PASSED},
	{QUEUE_R_OUT, QUEUE_EV_DELETED, QUEUE_R_DELETED},
	{QUEUE_R_DOUBT, QUEUE_EV_HANDOUT, QUEUE_R_OUT},
	{QUEUE_R_DOUBT, QUEUE_EV_IN_DOUBT, QUEUE_R_DOUBT},
	{QUEUE_R_DOUBT, QUEUE_EV_DELIVERED, QUEUE_R_DELIVERED},
	{QUEUE_R_DOUBT, QUEUE_EV_DEFERRED, QUEUE_R_WAIT},
	{QUEUE_R_DOUBT, QUEUE_EV_FAILED, QUEUE_R_FAILED},
	{QUEUE_R_DOUBT, QUEUE_EV_EXPIRED, QUEUE_R_FAILED},
	{QUEUE_R_DOUBT, QUEUE_EV_PASSED, QUEUE_R_PASSED},
	{QUEUE_R_DOUBT, QUEUE_EV_DELETED, QUEUE_R_DELETED},
	{QUEUE_R_DELIVERED, QUEUE_EV_NOTIFIED, QUEUE_R_RETURNED},
	{QUEUE_R_FAILED, QUEUE_EV_NOTIFIED, QUEUE_R_RETURNED},
	{QUEUE_R_FAILED, QUEUE_EV_DELETED, QUEUE_R_DELETED},
};

static const struct {
	uint8_t from, event, to;
} mtable[] = {
	{QUEUE_M_LIVE, QUEUE_EV_HELD, QUEUE_M_HELD},
	{QUEUE_M_LIVE, QUEUE_EV_ENDED, QUEUE_M_ENDED},
	{QUEUE_M_LIVE, QUEUE_EV_DELETED, QUEUE_M_ENDED},
	{QUEUE_M_HELD, QUEUE_EV_RELEASED, QUEUE_M_LIVE},
	{QUEUE_M_HELD, QUEUE_EV_ENDED, QUEUE_M_ENDED},
	{QUEUE_M_HELD, QUEUE_EV_DELETED, QUEUE_M_ENDED},
};

int queue_rstate_next(enum queue_rstate s, enum queue_event_type ev)
{
	for (size_t i = 0; i < sizeof(rtable) / sizeof(rtable[0]); i++) {
		if (rtable[i].from == s && rtable[i].event == ev)
			return rtable[i].to;
	}
	return -1;
}

int queue_mstate_next(enum queue_mstate s, enum queue_event_type ev)
{
	for (size_t i = 0; i < sizeof(mtable) / sizeof(mtable[0]); i++) {
		if (mtable[i].from == s && mtable[i].event == ev)
			return mtable[i].to;
	}
	return -1;
}

bool queue_rstate_is_final(enum queue_rstate s)
{
	return s == QUEUE_R_DELIVERED || s == QUEUE_R_RETURNED || s == QUEUE_R_PASSED ||
	       s == QUEUE_R_DELETED;
}

const char *queue_rstate_name(enum queue_rstate s)
{
	static const char *const names[QUEUE_R_STATES] = {"wait", "out", "in doubt", "delivered",
		"failed", "returned", "passed on", "deleted"};

	return s < QUEUE_R_STATES ? names[s] : "unknown";
}

const char *queue_mstate_name(enum queue_mstate s)
{
	static const char *const names[QUEUE_M_STATES] = {"live", "held", "ended"};

	return s < QUEUE_M_STATES ? names[s] : "unknown";
}

const char *queue_event_name(enum queue_event_type ev)
{
	static const char *const names[QUEUE_EV_TYPES] = {
		[QUEUE_EV_START] = "start",
		[QUEUE_EV_STOP] = "stop",
		[QUEUE_EV_FLOOR] = "floor",
		[QUEUE_EV_SYNCED] = "synced",
		[QUEUE_EV_CUT] = "segment cut",
		[QUEUE_EV_SEGMENT_END] = "segment ended",
		[QUEUE_EV_DONE] = "records done",
		[QUEUE_EV_ACCEPTED] = "accepted",
		[QUEUE_EV_HANDOUT] = "handed out",
		[QUEUE_EV_IN_DOUBT] = "in doubt",
		[QUEUE_EV_DELIVERED] = "delivered",
		[QUEUE_EV_DEFERRED] = "deferred",
		[QUEUE_EV_FAILED] = "failed",
		[QUEUE_EV_EXPIRED] = "expired",
		[QUEUE_EV_NOTIFIED] = "notified",
		[QUEUE_EV_PASSED] = "passed on",
		[QUEUE_EV_HELD] = "held",
		[QUEUE_EV_RELEASED] = "released",
		[QUEUE_EV_DELETED] = "deleted",
		[QUEUE_EV_MOVED] = "moved",
		[QUEUE_EV_ENDED] = "ended",
		[QUEUE_EV_DROPPED] = "dropped",
		[QUEUE_EV_STATE] = "state",
		[QUEUE_EV_EXPIRE_NOW] = "expire now",
		[QUEUE_EV_DELAY_TOLD] = "delay told",
		[QUEUE_EV_TRACED] = "traced",
		[QUEUE_EV_COPIED] = "copied",
	};

	return ev < QUEUE_EV_TYPES && names[ev] != NULL ? names[ev] : "unknown";
}
