/* SPDX-License-Identifier: ISC */
#include <string.h>

#include "queue/state.h"
#include "t/tap.h"

/* Written down a second time, on purpose: what a change of the table must be compared with. */
static const struct {
	enum queue_rstate from;
	enum queue_event_type ev;
	enum queue_rstate to;
} allowed[] = {
	{QUEUE_R_WAIT, QUEUE_EV_HANDOUT, QUEUE_R_OUT},
	{QUEUE_R_DOUBT, QUEUE_EV_HANDOUT, QUEUE_R_OUT},
	{QUEUE_R_WAIT, QUEUE_EV_IN_DOUBT, QUEUE_R_DOUBT},
	{QUEUE_R_OUT, QUEUE_EV_IN_DOUBT, QUEUE_R_DOUBT},
	{QUEUE_R_DOUBT, QUEUE_EV_IN_DOUBT, QUEUE_R_DOUBT},
	{QUEUE_R_WAIT, QUEUE_EV_DELIVERED, QUEUE_R_DELIVERED},
	{QUEUE_R_OUT, QUEUE_EV_DELIVERED, QUEUE_R_DELIVERED},
	{QUEUE_R_DOUBT, QUEUE_EV_DELIVERED, QUEUE_R_DELIVERED},
	{QUEUE_R_WAIT, QUEUE_EV_DEFERRED, QUEUE_R_WAIT},
	{QUEUE_R_OUT, QUEUE_EV_DEFERRED, QUEUE_R_WAIT},
	{QUEUE_R_DOUBT, QUEUE_EV_DEFERRED, QUEUE_R_WAIT},
	{QUEUE_R_WAIT, QUEUE_EV_FAILED, QUEUE_R_FAILED},
	{QUEUE_R_OUT, QUEUE_EV_FAILED, QUEUE_R_FAILED},
	{QUEUE_R_DOUBT, QUEUE_EV_FAILED, QUEUE_R_FAILED},
	{QUEUE_R_WAIT, QUEUE_EV_EXPIRED, QUEUE_R_FAILED},
	{QUEUE_R_OUT, QUEUE_EV_EXPIRED, QUEUE_R_FAILED},
	{QUEUE_R_DOUBT, QUEUE_EV_EXPIRED, QUEUE_R_FAILED},
	{QUEUE_R_FAILED, QUEUE_EV_NOTIFIED, QUEUE_R_RETURNED},
	{QUEUE_R_DELIVERED, QUEUE_EV_NOTIFIED, QUEUE_R_RETURNED},
	{QUEUE_R_WAIT, QUEUE_EV_PASSED, QUEUE_R_PASSED},
	{QUEUE_R_DOUBT, QUEUE_EV_PASSED, QUEUE_R_PASSED},
	{QUEUE_R_WAIT, QUEUE_EV_DELETED, QUEUE_R_DELETED},
	{QUEUE_R_OUT, QUEUE_EV_PASSED, QUEUE_R_PASSED},
	{QUEUE_R_OUT, QUEUE_EV_DELETED, QUEUE_R_DELETED},
	{QUEUE_R_DOUBT, QUEUE_EV_DELETED, QUEUE_R_DELETED},
	{QUEUE_R_FAILED, QUEUE_EV_DELETED, QUEUE_R_DELETED},
};

static int wanted(int from, int ev)
{
	for (size_t i = 0; i < sizeof(allowed) / sizeof(allowed[0]); i++) {
		if ((int)allowed[i].from == from && (int)allowed[i].ev == ev)
			return (int)allowed[i].to;
	}
	return -1;
}

/* From WAIT every state can be reached, and from every state that is not final an end can. */
static bool reaches(int from, int to, unsigned seen)
{
	if (from == to)
		return true;
	for (int ev = 0; ev < QUEUE_EV_TYPES; ev++) {
		int next = queue_rstate_next((enum queue_rstate)from, (enum queue_event_type)ev);

		if (next != -1 && !(seen & 1u << next) && reaches(next, to, seen | 1u << next))
			return true;
	}
	return false;
}

int main(void)
{
	for (int s = 0; s < QUEUE_R_STATES; s++) {
		int bad = 0;

		for (int ev = 0; ev < QUEUE_EV_TYPES; ev++)
			bad += queue_rstate_next((enum queue_rstate)s, (enum queue_event_type)ev) !=
			       wanted(s, ev);
		is_int(bad, 0, "every event in state %s", queue_rstate_name((enum queue_rstate)s));
		ok(reaches(QUEUE_R_WAIT, s, 1), "%s can be reached",
			queue_rstate_name((enum queue_rstate)s));
		ok(queue_rstate_is_final((enum queue_rstate)s) || reaches(s, QUEUE_R_DELETED, 0),
			"%s can be left", queue_rstate_name((enum queue_rstate)s));
	}
	is_int(queue_mstate_next(QUEUE_M_LIVE, QUEUE_EV_HELD), QUEUE_M_HELD, "hold");
	is_int(queue_mstate_next(QUEUE_M_HELD, QUEUE_EV_RELEASED), QUEUE_M_LIVE, "release");
	is_int(queue_mstate_next(QUEUE_M_HELD, QUEUE_EV_DELETED), QUEUE_M_ENDED, "delete held");
	is_int(queue_mstate_next(QUEUE_M_LIVE, QUEUE_EV_ENDED), QUEUE_M_ENDED, "end");
	for (int ev = 0; ev < QUEUE_EV_TYPES; ev++)
		is_int(queue_mstate_next(QUEUE_M_ENDED, (enum queue_event_type)ev), -1,
			"nothing follows an end: %s", queue_event_name((enum queue_event_type)ev));
	return done_testing();
}
