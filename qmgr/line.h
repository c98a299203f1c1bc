/* SPDX-License-Identifier: ISC */
#ifndef QMGR_LINE_H
#define QMGR_LINE_H

#include "qmgr/active.h"

/* Log lines of qmgr, in Postfix's words. */

/* Appends seconds as Postfix prints delays: two significant digits, at most 10 ms fine. */
void line_add_delay(struct buf *out, int64_t delay);
/* from=<…>, size=…, nrcpt=… (queue active) */
void line_active(const struct queue_message *m);
/*
 * to=<…>, relay=none, delay=…, delays=…, dsn=…, status=… (text), as that program would log it:
 * for what qmgr answers itself.
 */
void line_result(const char *program, const struct active *a, const struct active_rcpt *r,
	const char *status, struct slice dsn, struct slice text);
/* from=<…>, status=expired, returned to sender (or force-expired); is_by: by its own deadline. */
void line_expired(const struct queue_message *m, bool is_forced, bool is_by);
/* to=<…>, status=expired, returned to sender: relay_attempts_limit after so many attempts. */
void line_relay_limit(const struct active *a, const struct active_rcpt *r, unsigned attempts);
/* Never dropped: *seq for log_is_written. */
uint64_t line_in_doubt(const struct queue_message *m, uint32_t index, struct slice reason);

#endif
