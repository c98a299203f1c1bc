/* SPDX-License-Identifier: ISC */
#ifndef CLIENT_COMMAND_H
#define CLIENT_COMMAND_H

#include "queue/envelope.h"
#include "smtp-client/session.h"

/*
 * MAIL and RCPT with the parameters that this server understands (RFC 5321, 4.1.1; 1870 SIZE; 6152
 * BODY; 6531 SMTPUTF8; 3461 RET, ENVID, NOTIFY, ORCPT; 2852 BY).
 */
enum { COMMAND_MAX = 8192 };

/* Once, with the settings at hand. */
void command_init(void);
void command_mail(struct buf *out, const struct session *s);
void command_rcpt(struct buf *out, const struct session *s, const struct job_rcpt *r);
/* Seconds that are left for its delivery; below one: the time is over. */
int64_t command_time_left(const struct job *j);
/* The message has addresses or headers in UTF-8. */
bool command_needs_utf8(const struct session *s);

#endif
