/* SPDX-License-Identifier: ISC */
#ifndef SMTPD_DIALOGUE_H
#define SMTPD_DIALOGUE_H

#include "smtpd/session.h"

/*
 * What a client sends, taken piece by piece as the session's state says: a line and the command in
 * it (command.c), content (content.c), a part of an AUTH exchange (auth.c). Nothing is taken while
 * an answer is awaited, replies are unread, or an error's delay lasts. Here is also what the end of
 * its half of the connection, a broken one and a deadline mean.
 */

/* The events of the session's stream, and its task run: as much as can be done now. */
extern const struct stream_events dialogue_events;
void dialogue_run(void *arg);

#endif
