/* SPDX-License-Identifier: ISC */
#ifndef SMTPD_FAREWELL_H
#define SMTPD_FAREWELL_H

#include "smtpd/author.h"
#include "util/buf.h"

/*
 * What is logged when a session ends before the queue ID of its message has come from cleanup: the
 * lines of that message wait for the ID alone, and the session's own last lines wait for these, so
 * that a log has them in the order of the events. It is only the log that waits: client and session
 * are gone meanwhile. After FAREWELL_MSEC the session's lines are written, whatever is missing.
 *
 *   WARNING TEXT    how a line of a message says that it is a warning
 */
enum { FAREWELL_MSEC = 1000 };
#define FAREWELL_WARNING "warning: "

/* Of one session; made by the first of its messages that has to wait. */
struct farewell;

/* Lines behind "ID: ". */
void farewell_lines(struct buf *lines, const char *id);
/* What a message's log begins with; local: as pickup says it. */
void farewell_first(bool is_local, const char *id, const char *line);

/*
 * A message that ends without its ID. first is what its log begins with; both buffers and the
 * message are taken over. False: no ID will come, and nothing is taken.
 */
bool farewell_begin(struct farewell **f, struct message *message, bool is_local, struct buf *first,
	struct buf *lines);
/* A last line of the session: at once, when nothing waits. */
void farewell_say(struct farewell *f, const char *line);
/* The session is no more. */
void farewell_end(struct farewell **f);
/* The program ends: all that waits is written as it is. */
void farewell_end_all(void);

#endif
