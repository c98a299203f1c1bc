/* SPDX-License-Identifier: ISC */
/* What an encoder of contents makes of a text. Lines of output are separated by '|'. */
#ifndef T_MIME_ROWS_H
#define T_MIME_ROWS_H

#include "t/tap.h"
#include "util/buf.h"

struct encoded_row {
	const char *text, *encoded;
};

/* encode takes the text in pieces of step bytes, into an empty buffer. The same for every step. */
static inline void check_rows(const struct encoded_row *rows, size_t count,
	void (*encode)(struct slice text, size_t step, struct buf *out))
{
	for (size_t i = 0; i < count; i++)
		for (size_t step = 1; step < 80; step = step * 3 + 1) {
			struct buf out = BUF_INIT(4096);

			encode(slice_str(rows[i].text), step, &out);
			is_slice(buf_slice(&out), rows[i].encoded, "\"%s\" by %zu", rows[i].encoded,
				step);
			buf_clear(&out);
		}
}

#endif
