/* SPDX-License-Identifier: ISC */
#ifndef QMGR_WORKER_H
#define QMGR_WORKER_H

#include "qmgr/active.h"
#include "server/server.h"

/*
 * Delivery workers (smtp-client, local, virtual) and the jobs that they hold.
 *
 * A job: the scheduler decides (worker_job); the hand-out is noted and a worker chosen, but not
 * yet for a job made ahead; then it goes from list to list until nothing keeps it back:
 *
 *   NOTING   its notes must be durable first (Q1, Q16): a retry, or one in doubt
 *   LINING   a line "in doubt" must be with the log first
 *   READING  its content comes from the keeper
 *   READY    made ahead: the scheduler says that it may start, and a worker is chosen;
 *            the worker's connection has room → its frames are sent
 *   SENT     waits for reports; what is left of the content goes as credit comes
 *
 * A worker that ends: recipients without report are in doubt if the job's dot was sent, else they
 * are simply scheduled again.
 */

/* Decided by the scheduler. */
void worker_job(struct schedule_job *sj);
/* Sends what can be sent now. After the notes of the iteration were flushed. */
void worker_run(void);
/* The content of a message came, or cannot. */
void worker_content(struct queue_message *m, int result, struct slice content);

void worker_new(struct server_peer *peer);
void worker_msg(struct server_peer *peer, struct ipc_msg *msg);
void worker_gone(struct server_peer *peer);
void worker_room(struct server_peer *peer);

/* Every worker has named the jobs that it holds since before this start (Q5). */
bool worker_all_named(void);
/* A report, of a job or of one from before: gives r its result, or sends it on. */
struct worker_result {
	uint64_t result; /* enum proto_result */
	struct slice status, remote, text, transport, nexthop;
};
void worker_result(struct active *a, struct active_rcpt *r, const struct worker_result *result);
/* Lines "in doubt" wait for the log. */
bool worker_has_lines(void);

/* Takes back jobs of a message that are not yet sent (Q17); all (NULL) at the end. */
void worker_withdraw(struct active *a);
/* Takes back what was prepared by old settings. */
void worker_withdraw_ahead(void);
/* Jobs that are with workers. */
size_t worker_jobs(void);
/* Asks workers to give back what has no dot. */
void worker_cancel_all(void);

#endif
