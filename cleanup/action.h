/* SPDX-License-Identifier: ISC */
#ifndef CLEANUP_ACTION_H
#define CLEANUP_ACTION_H

#include "route/route.h"

/*
 * What an access table has asked for a message (policy/policy.h: POLICY_HOLD and what follows it).
 * It is kept when it comes, and carried out at the commit.
 */
struct message;

struct actions {
	char *filter, *redirect; /* owned; NULL. The last of several counts */
	struct buf copies;       /* addresses, each behind a u32 length */
	bool is_discarded;
};

void action_init(struct message *m);
void action_clear(struct message *m);
void action_add(struct message *m, uint64_t kind, struct slice text);
/* The recipients become what was asked for. ERR_LIMIT: too many. */
int action_recipients(struct message *m);
/* filter (transport:nexthop) in place of the route; an empty next hop is the recipient's domain. */
void action_filter(struct slice filter, struct route_result *route);

#endif
