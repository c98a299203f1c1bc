/* SPDX-License-Identifier: ISC */
#include "mime/qp.h"

#include "t/mime/rows.h"

static const struct encoded_row rows[] = {
	{"", ""},
	{"plain, with ~ and \t inside", "plain, with ~ and \t inside"},
	{"a=b", "a=3Db"},
	{"gr\xc3\xbc\xc3\x9f", "gr=C3=BC=C3=9F"},
	{"\x7f\x01\xff", "=7F=01=FF"},
	{"blank ", "blank=20"},
	{"tab\t", "tab=09"},
	{"two  ", "two =20"},
	{" ", "=20"},
	{"0123456789012345678901234567890123456789012345678901234567890123456789012",
		"0123456789012345678901234567890123456789012345678901234567890123456789012"},
	{"01234567890123456789012345678901234567890123456789012345678901234567890123",
		"0123456789012345678901234567890123456789012345678901234567890123456789012=|3"},
	{"012345678901234567890123456789012345678901234567890123456789012345678901\xe9x",
		"012345678901234567890123456789012345678901234567890123456789012345678901=E9=|x"},
	{"012345678901234567890123456789012345678901234567890123456789012345678901 ",
		"012345678901234567890123456789012345678901234567890123456789012345678901=20"},
};

static void encode(struct slice text, size_t step, struct buf *out)
{
	struct qp_encoder q = {0};
	struct slice line;

	buf_reset(out);
	while (text.len > 0) {
		struct slice piece = slice_first(text, step);

		text = slice_from(text, piece.len);
		while (qp_encode(&q, &piece, &line)) {
			if (line.len > QP_LINE)
				fail("a line of %zu", line.len);
			buf_add_slice(out, line);
			buf_add_char(out, '|');
		}
	}
	line = qp_end_line(&q);
	if (line.len > QP_LINE || qp_is_open(&q))
		fail("an end of %zu", line.len);
	buf_add_slice(out, line);
}

int main(void)
{
	check_rows(rows, COUNT_OF(rows), encode);
	return done_testing();
}
