/* SPDX-License-Identifier: ISC */
#ifndef LOCAL_SPAWNER_H
#define LOCAL_SPAWNER_H

#include "local/delivery.h"

/* One delivery, as the front asks for it: fixed in size; behind it the body's checksums. */
struct request {
	uint64_t index, attempts, size, header_len, body_size, body_offset;
	int64_t arrival;
	uint32_t loops; /* Delivered-To: fields of the recipient that are no circle yet */
	uint32_t flags; /* QUEUE_FLAG_*, of the message */
	char id[40], address[1032], orig_to[1032], sender[1032], user[1032];
};

/* Descriptors of a request, in this order. */
enum { REQUEST_PIPE, REQUEST_CONTENT, REQUEST_BODY, REQUEST_FDS };

/*
 * In the front, as root: starts the spawner and waits until it has opened its tables. Gives
 * the front's end of the connection; the spawner ends with it. A datagram of one byte brings it a
 * new log: not 0, a file.
 */
int spawner_start(void);

/* child.c: a request's whole life, as root first; does not return. */
_Noreturn void child_run(
	const struct request *q, struct slice sums, const int fds[REQUEST_FDS], pid_t parent);

#endif
