/* SPDX-License-Identifier: ISC */
#ifndef CLIENT_TRANSCRIPT_H
#define CLIENT_TRANSCRIPT_H

#include "smtp-client/session.h"

/*
 * What was said in a session with a server that did not understand us, or that nobody could
 * understand, for the postmaster, when notify_classes has "protocol". Without it nothing is kept.
 * It goes to qmgr when the session ends or is used again, and from there to cleanup.
 */
/* At start. */
void transcript_init(void);
/* A command, with or without its end; never one with a password. */
void transcript_out(struct session *s, struct slice line);
/* The reply that has come; is_bad: it is none. */
void transcript_in(struct session *s, bool is_bad);
void transcript_end(struct session *s);

#endif
