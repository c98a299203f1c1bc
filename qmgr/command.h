/* SPDX-License-Identifier: ISC */
#ifndef QMGR_COMMAND_H
#define QMGR_COMMAND_H

#include <stdbool.h>

#include "queue/store.h"

/*
 * gateq: requests at public/qmgr (frames QUEUE_* of proto.def). Who asks is what the kernel says:
 * list for authorized_mailq_users, flush for authorized_flush_users, all else for root (and for
 * the user qmgr runs as, which can only be the same person). What changes the queue is
 * answered when it is durable; a request for a message that is not in memory waits until the
 * keeper has read it.
 */
void command_init(void); /* while user names can still be looked up */
void command_reload(void);
void command_listener(int fd, const char *address, bool is_unix);

/* What the store says; for requests that wait. */
void command_loaded(const char *id, int result, struct queue_message *m);
void command_content(struct queue_message *m, int result, struct slice content);
void command_ended(struct queue_message *m);
/* It lives on in a new one, which was accepted (0), or it does not and goes on as it is. */
void command_requeued(struct queue_message *m, int result);
/* A list waits for what stands in the journal and has not been read; it has been now. */
bool command_wants_unread(void);
void command_has_read(void);
/* A request is at work on it: it must stay in memory. */
bool command_uses(const struct queue_message *m);

#endif
