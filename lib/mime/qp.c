/* SPDX-License-Identifier: ISC */
#include "mime/qp.h"

/* From this length on a line is broken before the next byte: that may take three, and "=" one. */
enum { FULL = 73 };

static void put_code(struct qp_encoder *q, unsigned char c)
{
	static const char digits[] = "0123456789ABCDEF";

	q->line[q->len++] = '=';
	q->line[q->len++] = digits[c >> 4];
	q->line[q->len++] = digits[c & 15];
}

static void put(struct qp_encoder *q, char c)
{
	unsigned char u = (unsigned char)c;

	if ((u < 32 && c != '\t') || c == '=' || u > 126)
		put_code(q, u);
	else
		q->line[q->len++] = c;
}

static void begin(struct qp_encoder *q)
{
	if (q->given)
		q->len = 0;
	q->given = false;
}

bool qp_encode(struct qp_encoder *q, struct slice *in, struct slice *line)
{
	size_t i = 0;

	begin(q);
	while (i < in->len && q->len < FULL)
		put(q, in->p[i++]);
	*in = slice_from(*in, i);
	if (in->len == 0)
		return false;
	q->line[q->len++] = '=';
	q->given = true;
	*line = slice_of(q->line, q->len);
	return true;
}

struct slice qp_end_line(struct qp_encoder *q)
{
	begin(q);
	if (q->len > 0 && (q->line[q->len - 1] == ' ' || q->line[q->len - 1] == '\t'))
		put_code(q, (unsigned char)q->line[--q->len]);
	q->given = true;
	return slice_of(q->line, q->len);
}

bool qp_is_open(const struct qp_encoder *q)
{
	return q->len > 0 && !q->given;
}
