/* SPDX-License-Identifier: ISC */
#ifndef CLIENT_XACT_H
#define CLIENT_XACT_H

#include "smtp-client/content.h"
#include "smtp-client/session.h"

/*
 * A transaction: MAIL, RCPT…, DATA, content, dot, with every recipient's outcome. It is a row of
 * commands, some sent and not yet answered (all of them together where the server has PIPELINING,
 * RFC 2920; else one):
 *
 *   RSET (after a broken transaction) · XFORWARD · MAIL · RCPT for each · DATA · content and dot
 *
 * With PIPELINING, DATA is sent before it is known whether anybody is accepted. When the server
 * says 354 though nobody is, a lone dot is sent, whose reply counts for nothing; when it refused
 * MAIL but took a recipient, the connection is dropped instead, so that no empty mail can come of
 * it. With CHUNKING (RFC 3030) content goes out by BDAT, without DATA and dots, once the replies to
 * RCPT are there: see body.h.
 */
struct xact {
	struct session *session;
	struct job_rcpt **to; /* owned array, borrowed recipients */
	size_t n, start, sent, answered;
	size_t accepted; /* recipients that the server took and that have no outcome yet */
	size_t lmtp_next;
	unsigned forward; /* XFORWARD commands that are sent: xforward_commands */
	bool pipelining, chunking;
	bool aborted; /* no further command; the replies on their way are read */
	bool odd;     /* MAIL refused, yet a recipient accepted */
	bool lone;    /* a dot for nobody */

	/* Of body.c. */
	TAILQ_ENTRY(xact) dots; /* while the dot frame is on its way to qmgr */
	bool dotting;           /* it is in this list */
	bool dot_sent;          /* the dot, or the last chunk */
	bool sending;           /* content goes out */
	bool with_content;      /* content is still to be written, together with the dot */
	bool all_read;          /* chunk is the last one */
	bool rested;            /* the delay before a late dot is over */
	unsigned open_chunks;   /* whose replies are awaited; the last one does not count */
	struct content content;
	struct buf chunk;
	size_t part;           /* bytes of content on their way */
	int64_t content_until; /* with smtp_per_request_deadline */
	struct loop_timer again;
};

/* Begins with the recipients of the session's delivery that are OPEN. */
void xact_start(struct session *s);
void xact_free(struct xact **x);
/* A whole reply has come (session->reply). */
void xact_reply(struct session *s);
/* The connection is at its end, or a deadline has passed. */
void xact_lost(struct session *s, int err);
/* Output is with the kernel again. */
void xact_drained(struct session *s);
/* Nothing was answered in this transaction yet. */
bool xact_is_untouched(const struct xact *x);

/* From body.c: what is awaited next has its time from now on. */
void xact_set_deadline(struct session *s);
/*
 * Content cannot be had, or not be changed as it must (content_write says err): what was sent is no
 * message. The session and the attempt end.
 */
void xact_break_off(struct session *s, int err);

#endif
