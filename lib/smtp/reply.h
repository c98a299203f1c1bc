/* SPDX-License-Identifier: ISC */
#ifndef SMTP_REPLY_H
#define SMTP_REPLY_H

#include "util/buf.h"

/*
 * A server's reply (RFC 5321, 4.2; RFC 2034), read from a stream by the client side of SMTP and
 * LMTP. Pure: bytes in, one reply out. Embedded by callers: reply_init, then for each reply
 * reply_feed until it is complete, use it, reply_reset.
 *
 * A hostile server is bounded: of the text REPLY_TEXT_LIMIT bytes are kept (the rest of a longer
 * reply is read and dropped, the last line is always kept), a line over REPLY_LINE_LIMIT or a reply
 * over REPLY_TOTAL_LIMIT is ERR_LIMIT. Control characters in the text become '?'.
 */
enum {
	REPLY_LINE_LIMIT = 2048, /* line_length_limit; RFC 5321 has 512 */
	REPLY_TEXT_LIMIT = 8192,
	REPLY_TOTAL_LIMIT = 262144,
};

struct reply {
	int code;        /* 200 to 599, that of the last line */
	char status[16]; /* "5.1.1"; made from the code ("5.0.0") when the server gave none */
	bool has_status; /* the server gave one whose class fits the code */
	bool truncated;  /* lines were dropped */
	struct buf text; /* the lines without their ends, with their codes, joined by '\n' */
	/*
	 * Changes a line (without its end) before it is read. 0: out has what it is read as;
	 * ERR_NOT_FOUND: it stays; ERR_LATER: it is asked once more by the next reply_feed; else
	 * what reply_feed then gives. NULL: none. Set behind reply_init.
	 */
	int (*filter)(struct slice line, struct buf *out, void *arg);
	void *filter_arg;
	/* private */
	struct buf line;
	size_t total;
	bool is_pending; /* line is whole and waits for the filter */
};

void reply_init(struct reply *r);
void reply_clear(struct reply *r);
/* Ready for the next reply; memory is kept. */
void reply_reset(struct reply *r);
/* Gives memory back (an idle session). */
void reply_release(struct reply *r);

/*
 * Reads on; *used says how many bytes of in belong to this reply (those behind it belong to the
 * next one). 0: complete. ERR_AGAIN: all of in was used, more is needed. ERR_SYNTAX: this is not an
 * SMTP reply (text holds what came, for the log). ERR_LIMIT. After an error the connection is of no
 * more use. A line ends at LF, a CR before it is dropped. ERR_LATER and other errors come from the
 * filter; behind ERR_LATER reply_is_pending, and reply_feed is called also without new input.
 */
int reply_feed(struct reply *r, struct slice in, size_t *used);

static inline bool reply_is_pending(const struct reply *r)
{
	return r->is_pending;
}

/* A part of it has come. */
static inline bool reply_has_begun(const struct reply *r)
{
	return r->total > 0 || r->is_pending;
}

/* First digit: 2 done, 3 go on, 4 later, 5 no. */
static inline int reply_class(const struct reply *r)
{
	return r->code / 100;
}

/* "550-5.1.1 line one 550 5.1.1 line two": all on one line, as logs and DSNs show it. */
void reply_add_text(struct buf *out, const struct reply *r);
/* Takes the next line, without code and separator, off *rest; begin with *rest = the whole text. */
bool reply_next_line(struct slice *rest, struct slice *line);

/*
 * An enhanced status code at the front of text ("5.1.1 text"): its length, 0 when there is none.
 * The class is 2, 4 or 5, the others have one to three digits (RFC 3463, 2).
 */
size_t reply_status_len(struct slice text);

#endif
