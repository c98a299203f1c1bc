/* SPDX-License-Identifier: ISC */
#ifndef CLIENT_TRANSCRIPT_H
#define CLIENT_TRANSCRIPT_H

#include "smtp-client/session.h"

/*
 * What was said in a session in which something went wrong, for the postmaster, of the classes in
 * notify_classes: "protocol", a server did not understand us, or nobody can understand it; "data",
 * a table failed. Without them nothing is kept. It goes to qmgr when the session ends or is used
 * again, and from there to cleanup.
 */
/* At start. */
void transcript_init(void);
/* A command, with or without its end; never one with a password. */
void transcript_out(struct session *s, struct slice line);
/* The reply that has come, or what came instead of one. */
void transcript_in(struct session *s);
/* Something has gone wrong: enum mail_class. */
void transcript_class(struct session *s, unsigned class);
/* The reply is why mail does not go through: it may be of class "protocol". */
void transcript_failed(struct session *s);
void transcript_end(struct session *s);

#endif
