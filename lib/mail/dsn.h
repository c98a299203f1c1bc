/* SPDX-License-Identifier: ISC */
#ifndef MAIL_DSN_H
#define MAIL_DSN_H

#include "util/buf.h"

/*
 * Delivery reports: the content of a bounce, delay or success notice (RFC 3461, 6; 3462; 3464; RFC
 * 6533 for internationalised mail), with CRLF line ends. Pure. A report has a text for people, a
 * part for programs, and the message or its header section; the first two are gathered a recipient
 * at a time. All strings are borrowed and hold no control characters.
 */
enum dsn_kind {
	DSN_FAILED,
	DSN_DELAYED,
	DSN_DELIVERED,
	DSN_TRACED /* what became of a first attempt, or of a question: sendmail -v and -bv */
};

struct template;

struct dsn_report {
	enum dsn_kind kind;
	const struct template *template; /* its headers */
	struct slice intro;              /* its text, $name replaced; lines that end in LF */
	bool is_copy;                    /* for the postmaster */
	bool is_utf8;                    /* the message asked for SMTPUTF8 */
	bool is_8bit;                    /* content has bytes over 127 */
	bool is_complete;                /* content is the message, else its header section */
	struct slice to;                 /* who gets it, internal form */
	struct slice host, mail_name;    /* myhostname, mail_name */
	struct slice origin;             /* myorigin */
	struct slice id;                 /* of the message that is reported on */
	struct slice sender;             /* its sender, internal form */
	struct slice envid;              /* decoded; empty: none */
	struct slice new_id;             /* of the notice */
	int64_t arrival, now;            /* real µs */
	int64_t deadline;                /* DSN_DELAYED: when it is given up; 0: not said */
	int64_t deliver_by;              /* its sender's time for it (RFC 2852, 5); 0: none */
	struct slice message_id; /* of the message, with its brackets, to refer to; empty: not */
};

/* action: "failed", "delayed", "delivered", "relayed", "expanded" (RFC 3464, 2.3.3). */
struct dsn_recipient {
	const char *action;
	struct slice address, orig_to; /* internal form; orig_to empty: the same */
	struct slice orcpt;            /* "rfc822;address", decoded; empty: none */
	struct slice status;           /* "5.1.1" */
	struct slice remote;     /* "mx.example.com[192.0.2.1]:25"; empty: no host was asked */
	struct slice diagnostic; /* that host's reply */
	struct slice text;       /* what happened, as in the log */
	int64_t last_attempt;    /* real µs; 0: not said */
};

/* Appends a recipient to the two parts. */
void dsn_add_text(struct buf *text, const struct dsn_report *r, const struct dsn_recipient *rcpt);
void dsn_add_status(
	struct buf *status, const struct dsn_report *r, const struct dsn_recipient *rcpt);

/* Everything before the returned content, and what stands behind it. ERR_LIMIT. */
int dsn_begin(struct buf *out, const struct dsn_report *r, struct slice text, struct slice status);
int dsn_end(struct buf *out, const struct dsn_report *r);

#endif
