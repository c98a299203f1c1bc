/* SPDX-License-Identifier: ISC */
#ifndef MAP_PEER_H
#define MAP_PEER_H

#include "map/driver.h"

/*
 * Tables that are asked over a socket:
 *
 *   socketmap:inet:HOST:PORT:NAME, socketmap:unix:PATH:NAME
 *       Sendmail's protocol: the netstring "NAME KEY"; the answer is the netstring "OK VALUE",
 *       "NOTFOUND", or "TEMP", "TIMEOUT", "PERM" with a reason.
 *   tcp:HOST:PORT
 *       Postfix's tcp_table(5): "get KEY\n"; "200 VALUE", "500 …" not found, "400 …" failed; bytes
 *       that are not printable, blanks and '%' are written %XX.
 *
 * Whatever is not one of these answers, and no answer in time, is a failed lookup. The transport
 * (peer_net.c) is set by those programs that have an event loop: map_peers_init.
 */
enum peer_protocol { PEER_SOCKETMAP, PEER_TCP };

struct map_peer {
	enum peer_protocol protocol;
	char *spec;    /* owned; for the log */
	char *service; /* owned; "inet:HOST:PORT", "unix:PATH" or "tcp:HOST:PORT" */
	char *name;    /* owned; of the table at the service; socketmap alone */
};

/* request: with its framing; reply: without. 0, ERR_TEMP (it has been logged), ERR_LATER. */
typedef int map_peer_asker(
	const struct map_peer *peer, struct slice request, struct later *l, struct buf *reply);
extern map_peer_asker *map_peer_ask;

#endif
