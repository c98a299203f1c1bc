/* SPDX-License-Identifier: ISC */
#ifndef QMGR_LATE_H
#define QMGR_LATE_H

#include "qmgr/active.h"

/*
 * Results that the log had no room for. They wait in memory, in order, until a sync has made room;
 * their recipients stay OUT, so the message does not end before. When qmgr dies meanwhile the
 * recipients are in doubt.
 */

/* Copies the result. */
void late_add(struct active *a, struct active_rcpt *r, const struct queue_result *result);
/* Tries them again; to be called when notes have become durable. */
void late_run(void);

#endif
