/* SPDX-License-Identifier: ISC */
#ifndef SMTP_COMMAND_H
#define SMTP_COMMAND_H

#include "util/buf.h"

/*
 * The server's half of the SMTP grammar (RFC 5321, 4.1; extensions as cited): lines, command words,
 * and what stands behind them. Pure. A parser that refuses writes the whole reply, without its line
 * end, into a buffer: "501 5.5.4 Syntax: RSET".
 */

/* In the order in which "disconnect from" counts them, which is Postfix's. */
enum smtp_verb {
	SMTP_HELO,
	SMTP_EHLO,
	SMTP_XCLIENT,
	SMTP_XFORWARD,
	SMTP_STARTTLS,
	SMTP_AUTH,
	SMTP_MAIL,
	SMTP_RCPT,
	SMTP_DATA,
	SMTP_BDAT,
	SMTP_RSET,
	SMTP_NOOP,
	SMTP_VRFY,
	SMTP_ETRN,
	SMTP_QUIT,
	SMTP_HELP,
	SMTP_EXPN,
	SMTP_UNKNOWN,
	SMTP_VERBS
};

struct smtp_command {
	enum smtp_verb verb;
	struct slice word; /* as it came; empty for an empty line */
	struct slice args; /* behind the word, blanks at both ends taken off */
};

/* line is without its end. */
void smtp_command_parse(struct slice line, struct smtp_command *c);
/* "ehlo", for counters; "EHLO", for texts. */
const char *smtp_verb_lower(enum smtp_verb verb);
const char *smtp_verb_name(enum smtp_verb verb);

/*
 * Lines out of a stream of bytes. A line ends at LF; bare says that no CR stood before it. A line
 * over limit bytes is read to its end and dropped: ERR_LIMIT, once, when its end has come; one over
 * SMTP_SKIP_LIMIT is ERR_RANGE: give up. ERR_AGAIN: no whole line yet; *used bytes are done with.
 */
enum { SMTP_SKIP_LIMIT = 131072 };

struct smtp_lines {
	size_t skipped; /* bytes of a line that is being dropped, or 0 */
};

int smtp_line_next(struct smtp_lines *l, struct slice in, size_t limit, struct slice *line,
	bool *bare, size_t *used);

/* What MAIL and RCPT may hold, as this listener offers it. */
enum {
	SMTP_OPT_STRICT = 1 << 0,      /* strict_rfc821_envelopes */
	SMTP_OPT_UTF8 = 1 << 1,        /* SMTPUTF8 is offered */
	SMTP_OPT_UTF8_STRICT = 1 << 2, /* strict_smtputf8 */
	SMTP_OPT_DSN = 1 << 3,         /* DSN is offered */
	SMTP_OPT_AUTH = 1 << 4,        /* MAIL may say AUTH= (RFC 4954, 5) */
	SMTP_OPT_SIZE = 1 << 5,
	SMTP_OPT_8BITMIME = 1 << 6,
	SMTP_OPT_REQUIRETLS = 1 << 7, /* RFC 8689 */
	SMTP_OPT_XVERP = 1 << 8,      /* XVERP and XVERP=xy are allowed */
	SMTP_OPT_REPORTS = 1 << 9,    /* local submission: XVERIFY, XTRACE (sendmail -bv, -v) */
	SMTP_OPT_DELIVERBY = 1 << 10, /* RFC 2852 */
};

enum smtp_body { SMTP_BODY_NONE, SMTP_BODY_7BIT, SMTP_BODY_8BITMIME };
enum smtp_ret { SMTP_RET_NONE, SMTP_RET_FULL, SMTP_RET_HDRS };
/* What is to be done with mail that is not delivered in time (RFC 2852, 4). */
enum smtp_by { SMTP_BY_NONE, SMTP_BY_RETURN, SMTP_BY_NOTIFY };
/* NOTIFY= (RFC 3461, 4.1), as bits. */
enum {
	SMTP_NOTIFY_NEVER = 1,
	SMTP_NOTIFY_SUCCESS = 2,
	SMTP_NOTIFY_FAILURE = 4,
	SMTP_NOTIFY_DELAY = 8,
};

enum { SMTP_ENVID_LIMIT = 100, SMTP_ORCPT_LIMIT = 500, SMTP_BY_LIMIT = 999999999 };

/* MAIL FROM:<reverse-path> [SP parameters] */
struct smtp_mail {
	struct buf *sender;  /* set by the caller; gets the internal form */
	struct slice shown;  /* the path as it came, for a log line; borrowed from the arguments */
	uint64_t size;       /* SIZE= (RFC 1870), 0 when not given */
	bool utf8;           /* SMTPUTF8 (RFC 6531) */
	bool requiretls;     /* REQUIRETLS (RFC 8689) */
	enum smtp_body body; /* BODY= (RFC 6152) */
	enum smtp_ret ret;   /* RET= (RFC 3461, 4.3) */
	bool has_auth;       /* AUTH= (RFC 4954, 5); auth: xtext as it came, checked; borrowed */
	struct slice auth;   /* empty for <> */
	struct slice envid;  /* ENVID= (4.4): xtext as it came, checked; borrowed */
	bool has_verp;       /* XVERP; verp: two characters, not checked, or empty; borrowed */
	struct slice verp;
	enum smtp_by by;    /* BY= (RFC 2852) */
	int64_t by_time;    /* with it: seconds, at most SMTP_BY_LIMIT; above 0 with RETURN */
	bool by_trace;      /* a report of each relay is wanted */
	bool verify, trace; /* XVERIFY: recipients are only asked for; XTRACE: a report is wanted */
};

/* RCPT TO:<forward-path> [SP parameters] */
struct smtp_rcpt {
	struct buf *recipient; /* as sender above */
	struct slice shown;
	unsigned notify;    /* 0 when not given */
	struct slice orcpt; /* ORCPT= (4.2): "type;text" as it came, checked; borrowed */
};

/* 0, or ERR_SYNTAX with the reply that says why. *bad_address: it is the address that is wrong. */
int smtp_mail_parse(struct slice args, unsigned options, struct smtp_mail *m, bool *bad_address,
	struct buf *reply);
/* utf8: MAIL said SMTPUTF8. */
int smtp_rcpt_parse(struct slice args, unsigned options, bool utf8, struct smtp_rcpt *r,
	bool *bad_address, struct buf *reply);

/* VRFY: an address and perhaps SMTPUTF8. */
int smtp_vrfy_parse(struct slice args, unsigned options, struct buf *address, bool *bad_address,
	struct buf *reply);
/* BDAT count [LAST] (RFC 3030, 2). After an error the stream cannot be read any further. */
int smtp_bdat_parse(struct slice args, uint64_t *size, bool *last, struct buf *reply);
/* EHLO and HELO: the name is cut at 255 bytes, control and 8-bit bytes become '?'. */
int smtp_helo_parse(enum smtp_verb verb, struct slice args, struct buf *name, struct buf *reply);

#endif
