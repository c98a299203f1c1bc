/* SPDX-License-Identifier: ISC */
#ifndef QMGR_SHOW_H
#define QMGR_SHOW_H

#include "ipc/ipc.h"
#include "queue/store.h"

/* Messages of the queue for people. */

/* "active", "deferred", "hold" or "corrupt". */
const char *show_queue(const struct queue_message *m);

/* How much of a message is sent; zero at first. It holds for the same message read anew, too. */
struct show_place {
	bool is_begun;
	uint32_t index; /* of the next recipient */
};

/*
 * A QUEUE_MESSAGE frame, and a QUEUE_RCPT for each recipient that is not done, as far as the
 * connection has room. False: it is to go on from *place.
 */
bool show_list(struct ipc *c, uint64_t request, const struct queue_message *m, bool with_rcpts,
	struct show_place *place);

#endif
