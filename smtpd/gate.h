/* SPDX-License-Identifier: ISC */
#ifndef SMTPD_GATE_H
#define SMTPD_GATE_H

#include "smtpd/session.h"

/*
 * What is found out about a strange client before it is served: it must wait for its greeting
 * (smtpd_greet_wait), and meanwhile lists in the DNS are asked about it (smtpd_dnsbl_sites). Who
 * talks before the greeting ends is sent away with 521. A score from smtpd_dnsbl_threshold on is a
 * refusal of each recipient; a RCPT that comes before the score waits for it. Not for clients in
 * mynetworks or smtpd_safe_clients, local submission, nor (the score) clients that have
 * authenticated.
 *
 * What a client has passed is kept in tally's cache, so that it is not asked again before
 * smtpd_greet_ttl and smtpd_dnsbl_ttl are over. Without tally every client is asked.
 */
void gate_open(void);

/* done is called once, from inside or later: the client may be greeted. The session is GREETING. */
void gate_begin(struct session *s, void (*done)(struct session *s));
/* The client has said something, or has gone, while it was GREETING. */
void gate_input(struct session *s);
void gate_gone(struct session *s);
/* Forgets what is under way and what was found out. */
void gate_cancel(struct session *s);

/*
 * A recipient: decided is called once, from inside or later (the session is WAITING until then).
 * reply is "" when it may pass.
 */
void gate_ask(struct session *s, void (*decided)(struct session *s, const char *reply));

/*
 * A client has broken the protocol: a command with a protocol error, talk before the greeting, a
 * command that is none of SMTP. Whoever counts such things sets it.
 */
extern void (*gate_on_error)(struct session *s);
void gate_error(struct session *s);

#endif
