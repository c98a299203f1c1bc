/* SPDX-License-Identifier: ISC */
#ifndef QMGR_LATE_H
#define QMGR_LATE_H

#include "qmgr/active.h"

/*
 * What became of recipients and the log has no room for. It waits in memory, in order, until a sync
 * has made room; the recipients stay OUT, so their message does not end before. When qmgr dies
 * meanwhile they are in doubt.
 */

/* Copies the result. */
void late_result(struct active *a, struct active_rcpt *r, const struct queue_result *result);
void late_back(struct active *a, struct active_rcpt *r, bool was_tried);
/* reason: a constant. */
void late_doubt(struct active *a, struct active_rcpt *r, const char *reason);
/* Tries them again; to be called when notes have become durable. */
void late_run(void);
/* Some wait: the workers that said it have been told that it is noted, so a stop that calls itself
 * clean must wait for it. */
bool late_waits(void);

#endif
