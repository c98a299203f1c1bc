/* SPDX-License-Identifier: ISC */
#ifndef MIME_B64_H
#define MIME_B64_H

#include "util/buf.h"

/*
 * Base64 (RFC 2045, 6.8) of data, as it comes: each line of output is 76 bytes, the last one what
 * is left. Line ends are data like all else; for text they have to be CRLF.
 *
 *   for each piece: while (b64_encode(&b, &piece, &line)) put(line), put(CRLF);
 *   at the end: b64_end(&b, &line); if it is not empty put(line), put(CRLF);
 */
enum { B64_LINE = 76, B64_RAW = B64_LINE / 4 * 3 };

struct b64_encoder {
	char raw[B64_RAW]; /* private, all */
	size_t len;
};

/*
 * Takes bytes off the front of *in. True: line, emptied first, is a line of output; false: *in is
 * used up, line is empty.
 */
bool b64_encode(struct b64_encoder *b, struct slice *in, struct buf *line);
/* The last line, or none; then another encoding may begin. */
void b64_end(struct b64_encoder *b, struct buf *line);
/* Bytes are waiting for more of them, or for the end. */
bool b64_is_open(const struct b64_encoder *b);

#endif
