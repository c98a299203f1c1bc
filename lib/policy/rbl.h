/* SPDX-License-Identifier: ISC */
#ifndef POLICY_RBL_H
#define POLICY_RBL_H

#include "util/buf.h"

/*
 * What an entry of a DNS list must answer: "127.0.0.2", "127.0.0.[2;4..11]"; each of four parts is
 * a number, or numbers and ranges between brackets.
 */
struct rbl_pattern {
	uint32_t part[4][8]; /* bit n of a part: n is wanted there */
};

/* ERR_SYNTAX with why. */
int rbl_pattern_parse(struct slice text, struct rbl_pattern *p, struct buf *why);
bool rbl_pattern_match(const struct rbl_pattern *p, const uint8_t address[4]);

/*
 * What is asked for an address (text): its bytes or half bytes backwards, and the zone. Into out;
 * ERR_SYNTAX when it is no address.
 */
int rbl_query_name(struct slice address, struct slice zone, struct buf *out);

#endif
