/* SPDX-License-Identifier: ISC */
#ifndef SMTPD_RECIPIENT_H
#define SMTPD_RECIPIENT_H

#include "smtp/command.h"

/*
 * RCPT, VRFY and EXPN behind their syntax: the policy is asked, and an accepted recipient is given
 * to cleanup. Where none is connected just now it waits for one, RECIPIENT_WAIT_SEC at most.
 */
enum { RECIPIENT_WAIT_SEC = 10 };

struct session;
struct recipient;

/* All copied. Replies, now or later. */
void recipient_begin(struct session *s, struct slice address, struct slice orcpt, unsigned notify);
void recipient_verify(struct session *s, enum smtp_verb verb, struct slice address);
/* Borrowed. */
struct slice recipient_address(const struct recipient *r);
/* Withdraws the one that waits. */
void recipient_cancel(struct session *s);

#endif
