/* SPDX-License-Identifier: ISC */
#ifndef IPC_IPC_PRIV_H
#define IPC_IPC_PRIV_H

#include "ipc/ipc.h"
#include "util/dict.h"

/* A connection, for the files of this folder: ipc.c moves bytes, request.c keeps states, message.c
 * reads and builds frames. */
struct request {
	enum proto_state state;
	size_t credit;
	void *arg;
};

/* A descriptor on its way, with its place in the stream of bytes. */
struct passing {
	uint64_t at;
	int fd;
};

struct ipc {
	int fd;
	enum role self, peer;
	const struct ipc_events *events;
	void *arg;
	struct loop_watch *watch;
	struct loop_task flush, again;
	struct buf in, out;
	size_t out_limit, frame; /* where the frame under construction begins in out */
	unsigned type;
	uint64_t id;
	uint64_t put, sent; /* bytes ever */
	struct passing *leaving;
	size_t leaving_n, leaving_cap;
	int *arrived;
	size_t arrived_n, arrived_cap;
	struct dict *mine, *theirs;
	uint64_t last_mine, last_theirs;
	bool reading, blocked, ended, over, overrun, secret;
	unsigned busy; /* callbacks under way: ipc_free then waits for them */
	bool freed;
};

/* request.c. Whether a frame of the peer's may come now: 0 and *drop, or ERR_SYNTAX (logged). */
int ipc_admit(struct ipc *c, struct ipc_msg *m, const struct proto_row *row, bool *drop);
/* Whether a frame of this side's may leave; 0, ERR_STATE, ERR_LIMIT. Against the rules: log_panic.
 */
int ipc_check_outgoing(struct ipc *c, const struct proto_row *row, struct slice body);
/* Logs why a frame is refused; ERR_SYNTAX. */
int ipc_refuse(struct ipc *c, const struct ipc_msg *m, const char *why);

#endif
