/* SPDX-License-Identifier: ISC */
#ifndef T_CLIENT_PEER_H
#define T_CLIENT_PEER_H

#include "net/addr.h"
#include "net/stream.h"

/*
 * A scripted SMTP or LMTP server on the test's own loop. A reply that is NULL is the usual one;
 * "drop" closes the connection instead; "hold" says nothing until peer_release. RCPT answers by
 * local part: r4… 450, r5… 550, else 250; LMTP's replies to the dot go by d4…, d5….
 */
struct peer {
	const char *greeting, *ehlo, *helo, *mail, *rcpt, *data, *dot, *rset;
	const char *keywords; /* "PIPELINING SIZE=1000" */
	bool lmtp;
	unsigned connections, messages;
	struct buf commands; /* verbs, "+" before one that came in one piece with the one before */
	struct buf content;  /* of the last message, as it came */
	struct buf mail_line, rcpt_line;
	/* private */
	int fd;
	struct loop_watch *watch;
	struct peer_conn *conn[64];
};

/* Listens at address (127.0.0.x) and port (0: any, then it is set); false: somebody has it. */
bool peer_start(struct peer *p, const char *address, uint16_t *port);
/* The usual replies again, counts and texts emptied. */
void peer_reset(struct peer *p);
/* Answers what was held. */
void peer_release(struct peer *p, const char *reply);
/* Says so unasked, on all connections, and waits until it is there; text with its line ends. */
void peer_say(struct peer *p, const char *text);
/* Closes all connections. */
void peer_cut(struct peer *p);
void peer_stop(struct peer *p);

#endif
