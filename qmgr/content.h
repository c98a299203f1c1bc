/* SPDX-License-Identifier: ISC */
#ifndef QMGR_CONTENT_H
#define QMGR_CONTENT_H

#include "queue/store.h"

/*
 * What a job sends of a message, as queue_store_content reads it. The jobs of several messages come
 * in turns, so that of the last few is kept: at most CONTENT_KEPT, of CONTENT_BYTES together.
 */
#define CONTENT_KEPT 32
#define CONTENT_BYTES (4u << 20)

/* Results are those of queue_store_content; content: borrowed until the next call. */
int content_read(struct queue_message *m, struct slice *content);

#endif
