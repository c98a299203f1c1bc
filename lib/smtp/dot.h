/* SPDX-License-Identifier: ISC */
#ifndef SMTP_DOT_H
#define SMTP_DOT_H

#include "util/slice.h"

/*
 * Content on its way out through DATA (RFC 5321, 4.5.2): a dot more before each line that begins
 * with one, lines broken that are longer than the limit, the final dot. Without copying: the output
 * is a run of pieces, each either a part of the input or a constant. Content has CRLF line ends.
 *
 *   dot_encoder_init(&e, 998);
 *   for each chunk: while (dot_encode(&e, &chunk, &piece)) send(piece);
 *   send(dot_encoder_end(&e));
 */
struct dot_encoder {
	bool no_dots;    /* lines are broken alone, for BDAT (RFC 3030); set behind the init */
	bool line_start; /* the rest is private */
	bool pending_dot, pending_break;
	size_t line_limit, line_len;
};

/*
 * line_limit: a longer line is continued on the next one, which begins with a blank
 * (smtp_line_length_limit); 0: never. With 0 lines are not measured, which is faster: content whose
 * envelope says that it has no such line is sent so.
 */
void dot_encoder_init(struct dot_encoder *e, size_t line_limit);
/* Takes bytes off the front of *in and gives what to send for them; false when *in is used up. */
bool dot_encode(struct dot_encoder *e, struct slice *in, struct slice *piece);
/* ".\r\n", with a line end before it if the content ended without one. */
struct slice dot_encoder_end(const struct dot_encoder *e);

#endif
