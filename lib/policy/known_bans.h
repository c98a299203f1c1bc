/* SPDX-License-Identifier: ISC */
#ifndef POLICY_KNOWN_BANS_H
#define POLICY_KNOWN_BANS_H

#include "net/range.h"

/*
 * A worker's copy of tally's bans: client and end. What tally sends (TALLY_BANS) is a run of
 * entries: a range as it is in memory, u64 until (microseconds since 1970; 0: it is not banned any
 * more). When a connection begins tally sends all: what is not among them is forgotten behind the
 * last piece, so that nobody slips through while they come.
 */
struct known_bans;

enum { KNOWN_BAN_ENTRY = NET_RANGE_WIRE + 8, KNOWN_BANS_MAX = 2000000 };

void known_bans_put(struct buf *out, const struct net_range *client, int64_t until);

struct known_bans *known_bans_new(void); /* owned */
void known_bans_free(struct known_bans **k);
/* first, last: of all. Whether any ban has come. */
bool known_bans_take(struct known_bans *k, struct slice entries, bool first, bool last);
bool known_bans_has(const struct known_bans *k, const struct net_range *client, int64_t now);
size_t known_bans_count(const struct known_bans *k);
size_t known_bans_bytes(const struct known_bans *k);

#endif
