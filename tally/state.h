/* SPDX-License-Identifier: ISC */
#ifndef TALLY_STATE_H
#define TALLY_STATE_H

#include "policy/tally_client.h"
#include "tally/bans.h"

/*
 * All that tally knows, but for open connections (count.h), with its store behind it. A change is
 * gathered for the store; state_flush writes it. Times are given, in microseconds since 1970.
 */
struct state_settings {
	int64_t rate_unit, ban_window; /* microseconds */
	size_t ban_limit, grey_limit;
	int64_t grey_retry, grey_age; /* seconds */
	uint64_t grey_auto;
};

/* Opened again it begins anew. dir: its data, taken over; -1: nothing is kept. gone: see bans_new.
 */
void state_open(
	const struct state_settings *s, int dir, int64_t now, void (*gone)(const struct ban *b));
void state_set(const struct state_settings *s);
/* Keeps what changes too often to be kept at each change; nothing is kept from then on. */
void state_close(int64_t now);
void state_flush(void);
/*
 * Whether a snapshot is due; begins one: the descriptor that can be read when it is done (then
 * state_compacted), or -1.
 */
bool state_is_due(void);
int state_compact(int64_t now);
void state_compacted(void);

uint64_t state_rate(const struct tally_event *e, uint64_t limit, int64_t now);
/* Notes a failure. The new ban, or NULL: not yet. login is not kept. */
const struct ban *state_fail(const struct tally_failure *f, int64_t now);
/* Seconds to wait yet; 0: it may pass. */
int64_t state_greylist(struct slice client, struct slice sender, struct slice recipient,
	int64_t delay, int64_t now);
void state_keep(struct slice name, struct slice value, int64_t until);
bool state_kept(struct slice name, int64_t now, struct slice *value, int64_t *until);

struct bans *state_bans(void);
const struct ban *state_ban(const struct net_range *client, enum ban_origin origin, int64_t since,
	int64_t until, struct slice reason);
bool state_unban(const struct net_range *client);
/* The smallest one that holds for an address or network; NULL: none. */
const struct ban *state_ban_of(struct slice client, int64_t now);

#endif
