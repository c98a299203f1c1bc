/* SPDX-License-Identifier: ISC */
#include "util/base64.h"

#include "util/err.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_encode(struct buf *out, struct slice in)
{
	char four[4];

	for (; in.len > 0; in = slice_from(in, 3)) {
		uint32_t v = (uint32_t)(uint8_t)in.p[0] << 16;

		if (in.len > 1)
			v |= (uint32_t)(uint8_t)in.p[1] << 8;
		if (in.len > 2)
			v |= (uint8_t)in.p[2];
		four[0] = alphabet[v >> 18];
		four[1] = alphabet[v >> 12 & 63];
		four[2] = in.len > 1 ? alphabet[v >> 6 & 63] : '=';
		four[3] = in.len > 2 ? alphabet[v & 63] : '=';
		buf_add(out, four, 4);
	}
}

static int base64_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Four characters, of which the last pad are '='; bits behind the data must be zero. */
static int base64_group(const char *in, size_t pad, char three[3])
{
	uint32_t v = 0;

	for (size_t i = 0; i < 4; i++) {
		int d = i < 4 - pad ? base64_value(in[i]) : 0;

		if (d < 0)
			return ERR_SYNTAX;
		v = v << 6 | (uint32_t)d;
	}
	if ((pad == 1 && (v & 0xff) != 0) || (pad == 2 && (v & 0xffff) != 0))
		return ERR_SYNTAX;
	three[0] = (char)(v >> 16);
	three[1] = (char)(v >> 8);
	three[2] = (char)v;
	return 0;
}

int base64_decode(struct buf *out, struct slice in)
{
	size_t pad = 0, before = out->len;
	char three[3];

	if (in.len % 4 != 0)
		return ERR_SYNTAX;
	if (slice_ends(in, "="))
		pad = slice_ends(in, "==") ? 2 : 1;
	for (; in.len > 0; in = slice_from(in, 4)) {
		size_t last = in.len == 4 ? pad : 0;

		if (base64_group(in.p, last, three) < 0) {
			buf_truncate(out, before);
			return ERR_SYNTAX;
		}
		buf_add(out, three, 3 - last);
	}
	return buf_failed(out) ? ERR_LIMIT : 0;
}
