/* SPDX-License-Identifier: ISC */
#ifndef SERVER_DEATH_H
#define SERVER_DEATH_H

#include <stdbool.h>
#include <sys/types.h>

/* How a worker has ended: the log lines about it. */
struct death {
	const char *service, *directory, *program;
	pid_t pid;
	int status; /* of wait(2) */
	bool was_ready;
	const void *counters; /* its service's page, and its slot there */
	unsigned slot;
};

/* Also names the forbidden system call that ended it, or a process of its own. */
void death_log(const struct death *d);
/* For a worker, one of whose own processes has died: the call, if it was that. */
void death_of_child(const char *service);

#endif
