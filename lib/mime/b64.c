/* SPDX-License-Identifier: ISC */
#include "mime/b64.h"

#include "util/base64.h"

bool b64_encode(struct b64_encoder *b, struct slice *in, struct buf *line)
{
	struct slice more = slice_first(*in, B64_RAW - b->len);

	buf_reset(line);
	if (more.len > 0)
		memcpy(b->raw + b->len, more.p, more.len);
	b->len += more.len;
	*in = slice_from(*in, more.len);
	if (b->len < B64_RAW)
		return false;
	b64_end(b, line);
	return true;
}

void b64_end(struct b64_encoder *b, struct buf *line)
{
	buf_reset(line);
	base64_encode(line, slice_of(b->raw, b->len));
	b->len = 0;
}

bool b64_is_open(const struct b64_encoder *b)
{
	return b->len > 0;
}
