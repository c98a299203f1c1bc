/* SPDX-License-Identifier: ISC */
#ifndef T_CLEANUP_HARNESS_H
#define T_CLEANUP_HARNESS_H

#include "ipc/ipc.h"
#include "queue/envelope.h"
#include "queue/io.h"

/*
 * One program under test without the others: this process plays master and every peer. The queue
 * is in a temporary directory that goes with harness_stop.
 */
struct harness {
	char dir[64];
	struct queue_root root;
	struct ipc *master;
	int pid;
	bool is_ready, has_ended;
	char *log; /* owned; what the program logged, read by harness_log */
	uint64_t workers;
	const char *inject; /* strace's -e, e.g. "inject=fdatasync:error=EIO:when=3"; NULL: none */
	const char *inject_path; /* below the directory: of calls with that alone; NULL: of all */
};

/* settings: "name = value\n…". Of h only inject and inject_path are read. */
void harness_start(struct harness *h, const char *program, enum role role, const char *settings);
/* Ends it: STOP when it is alive, then its directory is removed. Its wait status. */
int harness_stop(struct harness *h);
/* Kills it and starts it again with the same directory. */
void harness_restart(struct harness *h, const char *program, enum role role);
/* A connection of the program to a peer of that role; asks: the program is the side that asks. */
struct ipc *harness_peer(
	struct harness *h, enum role role, bool asks, const struct ipc_events *events, void *arg);
/* The same as a bare descriptor, for what no program would send. */
int harness_peer_fd(struct harness *h, enum role role, bool asks);
/* Runs the loop until the condition holds; fails the test file after 20 s. */
void harness_wait(const bool *condition);
/* Runs the loop for a moment, for what must not come. */
void harness_idle(void);
const char *harness_log(struct harness *h);
/* Waits until the log has the text; where it begins, or NULL after 20 s. */
const char *harness_wait_log(struct harness *h, const char *text);
/* Path below the harness's directory. Static buffer. */
const char *harness_path(const struct harness *h, const char *name);

/* A record of the journal. */
struct harness_record {
	char id[32];
	struct buf bytes; /* owned; what follows is borrowed from it */
	struct queue_envelope env;
	struct slice content;
};
/* Finds the record of an id in any segment; false: there is none. */
bool harness_record(struct harness *h, const char *id, struct harness_record *r);
void harness_record_clear(struct harness_record *r);

#endif
