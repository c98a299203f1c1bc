/* SPDX-License-Identifier: ISC */
#ifndef MIME_MIME_H
#define MIME_MIME_H

#include "util/buf.h"

/*
 * The structure of content (RFC 5322, 2; RFC 2045, 5 and 6; RFC 2046, 5), line by line: which bytes
 * are a header field, of which section; which are body, of what type and encoding. Pure: bytes in,
 * events out, no recursion; nothing is changed and nothing is lost: the bytes of all events, one
 * behind the other, are those that came. However the input was cut, the events are the same.
 *
 *   mime_init(&m, &limits, 0);
 *   for each chunk: while ((event = mime_next(&m, &chunk, is_last, &e)) != MIME_MORE) …
 *   With is_last: until MIME_END.
 *
 *   PRIMARY ─no field─► BODY ─boundary─► MULTIPART ─no field─► BODY
 *      (the same)        ▲ └─last boundary─► BODY of what is around it
 *                        └── NESTED ◄─ empty line behind a section of type message/rfc822
 *
 * Malformed input is understood as Postfix does: a line that is no field ends a section, as if an
 * empty line stood before it; text behind a boundary on its line does not count; a missing last
 * boundary is made up for by that of an outer part; all boundary parameters of a field count.
 * Boundaries are known by their first mime_boundary_length_limit bytes. Parts are entered to a
 * depth of mime_nesting_limit, deeper ones are text. A field is held to header_size_limit; the rest
 * of a longer one comes as MIME_REST. A body line is one event up to MIME_LINE bytes, else several.
 * So memory is bounded by the limits.
 */
enum mime_type { MIME_OTHER_TYPE, MIME_TEXT, MIME_MESSAGE, MIME_MULTIPART_TYPE };
enum mime_subtype { MIME_OTHER_SUBTYPE, MIME_PLAIN, MIME_RFC822, MIME_PARTIAL, MIME_EXTERNAL_BODY };
/* Encodings. The first three are domains, too: what an encoding's data is when it is decoded. */
enum mime_encoding { MIME_7BIT, MIME_8BIT, MIME_BINARY, MIME_QUOTED_PRINTABLE, MIME_BASE64 };

/* Of the present part, or the one whose section ends. */
struct mime_part {
	enum mime_type type;
	enum mime_subtype subtype;
	enum mime_encoding encoding, domain;
};

/* Where a header section stands: of the message, behind a boundary, in a part of message/rfc822. */
enum mime_section { MIME_PRIMARY, MIME_MULTIPART, MIME_NESTED };

enum mime_field {
	MIME_OTHER_FIELD,
	MIME_CONTENT_TYPE,
	MIME_CONTENT_TRANSFER_ENCODING,
	MIME_CONTENT_FIELD, /* Content-Description, -Disposition, -ID */
	MIME_VERSION
};

enum mime_event {
	MIME_MORE,     /* the chunk is used up */
	MIME_HEADER,   /* text: a whole field, folding and line ends included; name; field */
	MIME_REST,     /* text: more of a field that is over the limit */
	MIME_HEAD_END, /* the section ends here; no bytes */
	MIME_BODY,     /* text, and eol when the line ends with it */
	MIME_END
};

struct mime_data {
	struct slice text; /* borrowed until the next call */
	struct slice name; /* of a field, without blanks before the colon */
	struct slice eol;  /* "\r\n", "\n", or empty: the line goes on, or content ends without */
	enum mime_section section; /* of MIME_HEADER and MIME_HEAD_END */
	enum mime_field field;
	bool begins;   /* MIME_BODY: at the begin of a line */
	bool is_blank; /* MIME_HEAD_END: an empty line follows, as it should */
};

/* What was malformed, or over a limit. */
enum {
	MIME_ERR_NESTING = 1,
	MIME_ERR_LONG_HEADER = 2,
	MIME_ERR_8BIT_HEADER = 4, /* with MIME_LOOK_8BIT */
	MIME_ERR_8BIT_BODY = 8,   /* in what is said to be, or defaults to, 7bit; the same */
	MIME_ERR_ENCODING = 16, /* a type of several parts with an encoding that it may not have */
};

/* Options. */
enum {
	MIME_PRIMARY_ONLY = 1, /* behind the first section MIME_BODY is what there is, no lines */
	MIME_LOOK_8BIT = 2,
	MIME_ALL_MESSAGES = 4, /* enter message/partial and the like as message/rfc822 */
};

enum { MIME_LINE = 2048 };

struct mime_limits {
	size_t header, boundary; /* bytes */
	unsigned nesting;
};

struct mime_level;

struct mime {
	struct mime_part part; /* may be read; the rest is private */
	unsigned errors;       /* MIME_ERR_*, the same */
	struct mime_limits limits;
	int options;
	enum mime_section section;
	bool in_body, in_field, in_rest;
	bool has_piece; /* of the input: taken, not given out */
	bool is_ended, after_line;
	bool at_blank; /* the empty line behind a section comes next */
	struct slice text, eol;
	bool begins;
	struct buf line, field;
	size_t taken;              /* bytes of line that were given out */
	struct mime_level *levels; /* owned; outermost first */
	unsigned depth, room;
};

void mime_init(struct mime *m, const struct mime_limits *limits, int options);
void mime_clear(struct mime *m);
/*
 * Takes bytes off the front of *in, whose memory must stay until MIME_MORE or MIME_END. m->part is
 * that of the event: with MIME_HEAD_END what the section has said, with MIME_BODY that of the body
 * (of a boundary's line: 7bit).
 */
enum mime_event mime_next(struct mime *m, struct slice *in, bool is_last, struct mime_data *e);

/* "quoted-printable" and its kin. */
const char *mime_encoding_name(enum mime_encoding e);
/* Postfix's words for the gravest of the errors (not 0), and its enhanced status code. */
const char *mime_error_text(unsigned errors, const char **status);

/* Private: the values of fields (RFC 2045, 5.1 and 6.1). */
void mime_take_type(struct mime *m, struct slice value);
void mime_take_encoding(struct mime *m, struct slice value);
/* The line's boundary, if it is one: ends parts, sets the next one's defaults. */
bool mime_take_boundary(struct mime *m, struct slice line);

#endif
