/* SPDX-License-Identifier: ISC */
#ifndef T_CLIENT_WORKER_H
#define T_CLIENT_WORKER_H

#include "ipc/ipc.h"

/*
 * smtp-client as a child process, with the test in the places of master, qmgr and resolver. The
 * resolver knows one.test (127.0.0.1), two.test (127.0.0.1, then 127.0.0.2), down.test (127.0.0.3,
 * then 127.0.0.1), also.test (the host of one.test), nohost.test (an MX host without address),
 * nx.test, null.test, fail.test.
 */
struct worker {
	pid_t pid;
	struct ipc *master, *qmgr, *old_qmgr, *resolver;
	struct buf log;    /* what it has logged so far: worker_read_log */
	struct buf events; /* what it has told qmgr, a word an event: see worker.c */
	struct buf facts;  /* of reports: "stage/code/flags", a word each */
	unsigned room, ended, asked;
	bool ready, gone;
	char log_path[64];
	uint64_t last_id; /* of a job's request */
};

struct job_spec {
	const char *nexthop;
	const char *rcpts; /* local parts, blank-separated */
	const char *sender, *content;
	size_t content_len; /* 0: by strlen */
	unsigned flags;
	const char *envid, *orcpt;
	unsigned notify, ret;
	int body_fd; /* 0: none */
	uint64_t body_size;
};

void worker_start(struct worker *w, bool lmtp, const char *settings);
void worker_stop(struct worker *w);
/* Sends a job; its reports appear in events. */
void worker_job(struct worker *w, const struct job_spec *spec);
/* Runs the loop until *n reaches want, or 20 s have passed. */
void worker_wait(const unsigned *n, unsigned want);
void worker_wait_true(const bool *flag);
/* The same until text is among the events. */
void worker_wait_event(const struct worker *w, const char *text);
/* A new qmgr connects; the old connection ends. */
void worker_new_qmgr(struct worker *w);
const char *worker_read_log(struct worker *w);

#endif
