/* SPDX-License-Identifier: ISC */
#ifndef SMTP_CONTENT_H
#define SMTP_CONTENT_H

#include "util/slice.h"

/*
 * Content on its way in: what a client sends behind DATA or in BDAT chunks becomes what is kept:
 * lines that end in CRLF, not dot-stuffed. Only CRLF.CRLF ends DATA (RFC 5321, 4.1.1.4), whatever a
 * bare LF looks like; a bare LF becomes CRLF; a CR that no LF follows becomes a blank, or stays
 * when the decoder is told so. Without copying: the output is a run of pieces, each a part of the
 * input or a constant, so for ordinary mail one piece a chunk.
 *
 *   content_init(&d, CONTENT_SMTP_DATA);
 *   while ((event = content_decode(&d, &chunk, &piece)) == CONTENT_PIECE) keep(piece);
 *   CONTENT_MORE: chunk is used up; CONTENT_END: chunk holds what came behind the final dot.
 *
 * For BDAT each chunk's bytes are handed over as they come; content_finish then gives what is
 * missing at the end (a line end, if any).
 */
enum {
	CONTENT_SMTP_DATA = 1, /* dots and the final dot are understood */
	CONTENT_KEEP_CR = 2,   /* cleanup_replace_stray_cr_lf = no */

	CONTENT_LINE_LIMIT = 998, /* RFC 5322, 2.1.1: without CRLF */
};

/* What was seen; the envelope keeps it, so that delivery need not look again. */
enum {
	CONTENT_8BIT = 1,      /* a byte over 127 */
	CONTENT_DOT_LINE = 2,  /* a line of the kept content begins with a dot */
	CONTENT_BARE_LF = 4,   /* a bare LF came */
	CONTENT_STRAY_CR = 8,  /* a CR came that no LF followed */
	CONTENT_NUL = 16,      /* a NUL came (it is kept) */
	CONTENT_LONG_LINE = 32 /* a line is longer than CONTENT_LINE_LIMIT */
};

enum content_event { CONTENT_MORE, CONTENT_PIECE, CONTENT_END };

struct content_decoder {
	unsigned seen; /* CONTENT_8BIT … */
	uint64_t size; /* bytes given out so far */
	/* private */
	int flags, state;
	bool standard; /* the line before ended in CRLF: a dot may end the content */
	struct slice pending;
	size_t line_len;
};

void content_init(struct content_decoder *d, int flags);
/* Takes bytes off the front of *in. piece is set with CONTENT_PIECE only and is never empty. */
enum content_event content_decode(struct content_decoder *d, struct slice *in, struct slice *piece);
/* BDAT LAST: the rest of the content, empty when it ended in a line end (or is empty). */
struct slice content_finish(struct content_decoder *d);

#endif
