/* SPDX-License-Identifier: ISC */
#ifndef POLICY_RESTRICT_H
#define POLICY_RESTRICT_H

#include "map/match.h"
#include "policy/policy.h"
#include "route/route.h"

/* Inside lib/policy: the rows of restrictions and what they see of an evaluation. */

enum restrict_result {
	RESTRICT_DUNNO,  /* no decision: go on */
	RESTRICT_OK,     /* permitted as far as this list goes */
	RESTRICT_REFUSED /* policy_refuse was called */
};

struct policy_eval {
	struct policy *policy;
	const struct policy_facts *facts;
	struct later *later;
	struct policy_verdict *verdict;
	struct buf recipient; /* completed (address_complete) */
};

struct restriction {
	const char *name;
	bool guards_relay; /* counts as a relay decision at start-up */
	/* 0 with a result, ERR_TEMP or ERR_LATER. */
	int (*run)(struct policy_eval *e, enum restrict_result *result);
};

struct policy_list {
	const char *parameter;
	const struct restriction **rows;
	size_t n;
};

struct policy {
	struct policy_list relay, recipient;
	struct match *mynetworks, *safe;
	struct route *route;
	struct address_rules rules;
	uint64_t outgoing_limit; /* bytes for a recipient elsewhere; 0: none of its own */
	bool relay_first, untrusted_routing, reject_unlisted, show_table;
};

const struct restriction *restriction_find(struct slice name); /* NULL: none */

/* The verdict is a refusal: "<recipient>: text"; the class of status follows the code. */
void policy_refuse(struct policy_eval *e, int code, const char *status, const char *text);

#endif
