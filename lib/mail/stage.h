/* SPDX-License-Identifier: ISC */
#ifndef MAIL_STAGE_H
#define MAIL_STAGE_H

/*
 * How far an attempt to deliver came: at which point it was decided. Numbers go between processes;
 * their words are those of backoff_plans.
 */
enum stage {
	STAGE_NONE,     /* not known */
	STAGE_DNS,      /* no host could be found */
	STAGE_CONNECT,  /* no connection */
	STAGE_GREETING, /* the server's first reply */
	STAGE_TLS,      /* STARTTLS, the handshake, the certificate */
	STAGE_AUTH,
	STAGE_HELO,
	STAGE_MAIL,
	STAGE_RCPT,
	STAGE_DATA,
	STAGE_DOT, /* the reply to the content */
	STAGE_COUNT
};

/* "connect"; "none" for a number that is none. */
const char *stage_str(enum stage s);

#endif
