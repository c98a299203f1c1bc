/* SPDX-License-Identifier: ISC */
#include "t/tap.h"

#include "smtp/dot.h"
#include "util/buf.h"

static const struct {
	size_t limit;
	const char *in, *out;
} cases[] = {
	{0, "", ".\r\n"},
	{0, "a\r\n", "a\r\n.\r\n"},
	{0, "a", "a\r\n.\r\n"},
	{0, ".\r\n", "..\r\n.\r\n"},
	{0, "...\r\n.a\r\nb.c\r\n", "....\r\n..a\r\nb.c\r\n.\r\n"},
	{0, "\r\n\r\n.\r\n\r\n", "\r\n\r\n..\r\n\r\n.\r\n"},
	{0, ".", "..\r\n.\r\n"},
	{0, "a.\r\n.", "a.\r\n..\r\n.\r\n"},
	{4, "abcd\r\n", "abcd\r\n.\r\n"},
	{4, "abcde\r\n", "abcd\r\n e\r\n.\r\n"},
	{4, "abcdefghij\r\n", "abcd\r\n efg\r\n hij\r\n.\r\n"},
	{4, "abcdefghijk\r\n", "abcd\r\n efg\r\n hij\r\n k\r\n.\r\n"},
	{4, ".bcde\r\n.\r\n", "..bcd\r\n e\r\n..\r\n.\r\n"},
	{4, "abcd", "abcd\r\n.\r\n"},
	{4, "\r\nab\r\n", "\r\nab\r\n.\r\n"},
};

static void run(struct dot_encoder *e, struct slice in, size_t step, struct buf *out)
{
	for (size_t at = 0; at < in.len; at += step) {
		struct slice chunk = slice_first(slice_from(in, at), step), piece;
		while (dot_encode(e, &chunk, &piece))
			(void)buf_add_slice(out, piece);
	}
	(void)buf_add_slice(out, dot_encoder_end(e));
}

int main(void)
{
	struct buf out = BUF_INIT(1000);

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (size_t step = 1; step < 20; step++) {
			struct dot_encoder e;

			dot_encoder_init(&e, cases[i].limit);
			buf_reset(&out);
			run(&e, slice_str(cases[i].in), step, &out);
			is_slice(buf_slice(&out), cases[i].out, "case %zu by %zu", i, step);
		}
	}
	buf_clear(&out);
	return done_testing();
}
