/* SPDX-License-Identifier: ISC */
#ifndef SERVER_SERVER_PRIV_H
#define SERVER_SERVER_PRIV_H

#include "map/map.h"
#include "priv/priv.h"
#include "server/server.h"

/* The state of this process's link to master, for the files of this folder. */
struct server_self {
	const struct server_spec *spec;
	struct ipc *control;
	struct server_peer_list peers[ROLE_COUNT], early;
	struct buf settings;
	struct priv priv;
	struct loop_timer last_moment;
	char *service, *program, *root;
	uint64_t worker, limit, sessions;
	unsigned slot, flags;
	bool log_is_file, hello, configured, started, ready, stopping;
	int status;
};

extern struct server_self server_self;

/* peers.c */
void server_take_peer(struct ipc_msg *m);
void server_admit_early_peers(void);

/* ask.c: answers of master, and the opener of lib/map. */
void server_answered(struct ipc_msg *m);

/* nss_client.c: the asker of lib/map, and what comes of its peers. */
int server_ask_nss(const char *spec, struct slice key, struct later *l, struct buf *value);
void server_nss_msg(struct ipc_msg *msg);
void server_nss_new(struct server_peer *peer);
void server_nss_gone(const struct server_peer *peer);

#endif
