/* SPDX-License-Identifier: ISC */
#ifndef MAIL_HEADER_H
#define MAIL_HEADER_H

#include "util/buf.h"

/*
 * The header section of content on its way: fields are found one after the other in a text that
 * grows, each as a whole with its exact bytes (folded lines and the line end included). Pure;
 * copies nothing; each byte is looked at about once, however the text was cut.
 *
 *   header_scan_init(&s);
 *   for each new piece: append it to text; while (header_next(&s, text, false, &f) == HEADER_FIELD)
 * … HEADER_MORE: wait for more text. At its end go on with is_last until HEADER_END. HEADER_END:
 * s.end is where the section ends, s.body where the body begins.
 *
 * A section ends before an empty line, before a line that is no header field (RFC 5322, 2.2; blanks
 * before the colon are allowed, 4.5.8), and at the end of the text. As in Postfix a text that
 * begins with a blank has no header section, and a first line "From …" or ">From …" (of a mailbox
 * file) is a field of its own kind.
 */
enum header_kind {
	HEADER_OTHER,
	HEADER_RECEIVED,
	HEADER_DELIVERED_TO,
	HEADER_MESSAGE_ID,
	HEADER_DATE,
	HEADER_FROM,
	HEADER_SENDER,
	HEADER_REPLY_TO,
	HEADER_TO,
	HEADER_CC,
	HEADER_BCC,
	HEADER_RESENT_MESSAGE_ID,
	HEADER_RESENT_DATE,
	HEADER_RESENT_FROM,
	HEADER_RESENT_SENDER,
	HEADER_RESENT_TO,
	HEADER_RESENT_CC,
	HEADER_RESENT_BCC,
	HEADER_RETURN_PATH,
	HEADER_SUBJECT,
	HEADER_TLS_REQUIRED, /* RFC 8689, 5 */
	HEADER_MAILBOX_LINE, /* "From user date": no header field at all */
	HEADER_KINDS
};

struct header_field {
	enum header_kind kind;
	size_t start, len;  /* in the text, with the last line end */
	struct slice name;  /* without blanks before the colon; empty for HEADER_MAILBOX_LINE */
	struct slice value; /* behind the colon, untrimmed, with its folding and last line end */
};

enum header_event { HEADER_MORE, HEADER_FIELD, HEADER_END };

struct header_scan {
	size_t end, body; /* with HEADER_END */
	bool has_blank;   /* an empty line stands between them */
	/* private */
	size_t field;      /* where the present field begins; all before it has been given out */
	size_t line, seen; /* begin of the present line; no line end in [line, seen) */
	bool in_field, is_done;
};

void header_scan_init(struct header_scan *s);
/* text is all of it from the begin on. is_last: nothing will follow. */
enum header_event header_next(
	struct header_scan *s, struct slice text, bool is_last, struct header_field *f);
/* Bytes of text that no event has been given for: from here to the end. */
size_t header_pending(const struct header_scan *s);
/* n bytes in front of header_pending were taken out of the text. */
void header_shift(struct header_scan *s, size_t n);
/* The text was cut at header_pending: the field that was not complete is forgotten. */
void header_cut(struct header_scan *s);

/* Length of the field's name when line begins with one and a colon, else 0. */
size_t header_name_len(struct slice line);
enum header_kind header_kind(struct slice name);
/* Whether senders or recipients stand in it, which are completed and rewritten. */
bool header_holds_addresses(enum header_kind kind, struct slice name);

/*
 * The addresses of an address list (RFC 5322, 3.4) as From: and To: hold them: display names,
 * comments, groups and routes are left out. Internal form (mail/address.h), at most limit of them;
 * those that are malformed are left out. Calls add for each; the number of calls.
 */
size_t header_addresses(
	struct slice value, size_t limit, void (*add)(struct slice address, void *arg), void *arg);
/*
 * The same for who must know all of them: *is_odd says that the list holds something else than the
 * addresses that were told: one that is malformed or over the limit, a group, two in one element.
 */
size_t header_addresses_all(struct slice value, size_t limit,
	void (*add)(struct slice address, void *arg), void *arg, bool *is_odd);
/*
 * Rewrites the addresses of a list in their places; names, comments, groups and folding stay as
 * they are. change gets each address in internal form and says whether *to (reset) holds another
 * one; those that are malformed, empty or behind a route are passed over. Two addresses that only a
 * blank keeps apart get the comma that is missing when the first is changed. The number of changes;
 * with 0 nothing is appended to out. The caller looks at buf_failed(out).
 */
typedef bool (*header_edit_fn)(struct slice address, struct buf *to, void *arg);
size_t header_edit_addresses(struct slice value, header_edit_fn fn, void *arg, struct buf *out);

#endif
