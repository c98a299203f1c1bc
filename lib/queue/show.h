/* SPDX-License-Identifier: ISC */
#ifndef QUEUE_SHOW_H
#define QUEUE_SHOW_H

#include "queue/store.h"

/*
 * Appends all that is known of a loaded message, for people: "name: value" lines, then a block for
 * each recipient with its state, its last event and its next attempt. queue: the name of the queue
 * that it is in. Text from outside is quoted as for the log.
 */
void queue_show(struct buf *out, const struct queue_message *m, const char *queue);
/* Appends one event as a line: when, what, of which recipients (indices), status, host, text. */
void queue_show_event(struct buf *out, const struct queue_event *ev);

#endif
