/* SPDX-License-Identifier: ISC */
#ifndef SMTPD_AUTH_H
#define SMTPD_AUTH_H

#include "smtpd/session.h"

/*
 * AUTH (RFC 4954): the dialogue between client and backend (auth_backend.h). A session is WAITING
 * while the backend thinks, and in RESPONSE while the client does. What the client says goes to the
 * backend and is overwritten; it is never logged.
 */

/* From the settings in force, before rights are dropped. May log_fatal. */
void auth_open(void);
/* Rights are gone. */
void auth_start(void);

/* The lines of EHLO's reply for this client, "250-AUTH …" with its end; none when it is not
 * offered. */
void auth_add_ehlo(const struct session *s, struct buf *lines);
/* Whether MAIL may say AUTH=. */
bool auth_is_enabled(void);

void auth_command(struct session *s, struct slice args);
/* A line in RESPONSE. */
void auth_line(struct session *s, struct slice line);
/* A line in RESPONSE that was longer than smtpd_sasl_response_limit. */
void auth_long_line(struct session *s);
void auth_cancel(struct session *s);

/* A login failed. has_mark: mark is the same for the same wrong password of the same login. */
struct auth_failure {
	struct session *session;
	struct slice login; /* empty when it is not known */
	bool has_mark;
	uint64_t mark;
};
extern void (*auth_on_failure)(const struct auth_failure *f);

#endif
