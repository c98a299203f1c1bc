/* SPDX-License-Identifier: ISC */
#ifndef MIME_QP_H
#define MIME_QP_H

#include "util/slice.h"

/*
 * Quoted-printable (RFC 2045, 6.7) of text that has its own lines, as they come: each line of
 * output is at most 76 bytes, and the line ends stay where they are. Bytes that stand for
 * themselves are those that Postfix leaves: 32 to 126 but '=', and tabs; a blank at the end of a
 * line is encoded.
 *
 *   for each piece of a line: while (qp_encode(&q, &piece, &out)) put(out), put(CRLF);
 *   at its end: put(qp_end_line(&q)), put(CRLF);
 */
enum { QP_LINE = 76 };

struct qp_encoder {
	char line[QP_LINE + 4]; /* private, all */
	size_t len;
	bool given;
};

/*
 * Takes bytes off the front of *in. True: *line is a line of output, that goes on in the next one;
 * false: *in is used up.
 */
bool qp_encode(struct qp_encoder *q, struct slice *in, struct slice *line);
/* The rest of the line: borrowed until the next call. */
struct slice qp_end_line(struct qp_encoder *q);
/* Bytes of the present line are waiting for its end. */
bool qp_is_open(const struct qp_encoder *q);

#endif
