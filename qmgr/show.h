/* SPDX-License-Identifier: ISC */
#ifndef QMGR_SHOW_H
#define QMGR_SHOW_H

#include "ipc/ipc.h"
#include "queue/store.h"

/* Messages of the queue for people. */

/* "active", "deferred", "hold" or "corrupt". */
const char *show_queue(const struct queue_message *m);
/* A QUEUE_MESSAGE frame, and a QUEUE_RCPT for each recipient that is not done. */
void show_list(struct ipc *c, uint64_t request, const struct queue_message *m, bool with_rcpts);

#endif
