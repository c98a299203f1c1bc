/* SPDX-License-Identifier: ISC */
#ifndef SERVER_DESK_H
#define SERVER_DESK_H

#include <sys/queue.h>

#include "ipc/ipc.h"

/*
 * The socket at which commands (gateq, gatepost ban) ask a daemon: who asks is known by the uid
 * that the kernel tells. One for a program; at most DESK_CLIENTS at a time, more are closed, and so
 * that nobody keeps others out: DESK_KEPT of these are for operators alone, and another user has no
 * more than DESK_EACH.
 */
enum { DESK_CLIENTS = 64, DESK_KEPT = 16, DESK_EACH = 8 };

/* The first member of what a program keeps of a client; size bytes, zero at first, are its own. */
struct desk_client {
	TAILQ_ENTRY(desk_client) next;
	struct ipc *ipc;
	uid_t uid;
};

struct desk_spec {
	enum role role; /* of the program */
	size_t size;
	void (*msg)(struct desk_client *c, struct ipc_msg *msg);
	void (*room)(struct desk_client *c); /* its connection takes more again */
	void (*gone)(struct desk_client *c); /* c is freed behind the call */
};

/* A listening socket (owned), at the start or in place of the last; others than UNIX are closed. */
void desk_listener(const struct desk_spec *spec, int fd, bool is_unix);
void desk_open(void);  /* from now on clients are let in */
void desk_close(void); /* no more are */
/* Root, or the user that the program runs as. */
bool desk_is_operator(const struct desk_client *c);

#endif
