/* SPDX-License-Identifier: ISC */
#ifndef TALLY_SHARE_H
#define TALLY_SHARE_H

#include "server/server.h"
#include "tally/bans.h"

/*
 * Every worker of smtpd knows every ban: all of them when it connects, in pieces as its connection
 * takes them, and then each that begins or ends.
 */
struct sharer; /* of one worker */

struct sharer *share_new(struct server_peer *peer); /* owned; begins */
void share_free(struct sharer **s);
/* The connection has room again. */
void share_go_on(struct sharer *s);
/* until 0: it has ended. */
void share_ban(const struct net_range *client, int64_t until);

#endif
