/* SPDX-License-Identifier: ISC */
#ifndef QMGR_WORKER_H
#define QMGR_WORKER_H

#include "qmgr/job.h"
#include "server/server.h"

/*
 * Delivery workers (smtp-client, local, virtual): one lives as long as its connection. It borrows
 * the jobs that it holds (job.h).
 *
 * A worker that ends: recipients without report are in doubt if the job's dot was sent, else they
 * are simply scheduled again.
 */
struct worker {
	TAILQ_ENTRY(worker) link;
	struct server_peer *peer; /* borrowed */
	struct transport *transport;
	unsigned room;
	struct dict *idle; /* owned; next hop → number of idle sessions (uint32_t) */
	TAILQ_HEAD(, job) jobs;
	bool has_named;
	bool is_leaving; /* it takes no more jobs */
};

void worker_new(struct server_peer *peer);
void worker_msg(struct server_peer *peer, struct ipc_msg *msg);
void worker_gone(struct server_peer *peer);
void worker_room(struct server_peer *peer);

/* Every worker has named the jobs that it holds since before this start (Q5). */
bool worker_all_named(void);

/* Chooses a worker for j. There is one with room: the scheduler knows how much there is. */
void worker_assign(struct job *j);
/* A job that was not sent leaves room. */
void worker_release(struct job *j);

#endif
