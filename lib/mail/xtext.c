/* SPDX-License-Identifier: ISC */
#include "util/err.h"

#include "mail/address.h"

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

void address_xtext_encode(struct buf *out, struct slice s)
{
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.p[i];
		if (c < 33 || c > 126 || c == '+' || c == '=')
			(void)buf_add_fmt(out, "+%02X", (unsigned)c);
		else
			(void)buf_add_char(out, (char)c);
	}
}

/* A decoded byte; what a line-based log or queue could misread is refused. */
static int add_decoded(struct buf *out, int c)
{
	return c < 32 || c == 127 ? ERR_SYNTAX : buf_add_char(out, (char)c);
}

int address_xtext_decode(struct buf *out, struct slice s)
{
	size_t from = out->len;

	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.p[i];
		int err = 0;

		if (c < 33 || c > 126 || c == '=')
			return ERR_SYNTAX;
		if (c == '+') {
			int hi = i + 2 < s.len ? hex_value(s.p[i + 1]) : -1;
			int lo = i + 2 < s.len ? hex_value(s.p[i + 2]) : -1;
			if (hi < 0 || lo < 0)
				return ERR_SYNTAX;
			err = add_decoded(out, hi * 16 + lo);
			i += 2;
		} else {
			err = add_decoded(out, c);
		}
		if (err != 0)
			return err;
	}
	return slice_is_utf8(slice_from(buf_slice(out), from)) ? 0 : ERR_SYNTAX;
}

static void add_utf8(struct buf *out, uint32_t c)
{
	if (c < 0x80) {
		(void)buf_add_char(out, (char)c);
	} else if (c < 0x800) {
		(void)buf_add_char(out, (char)(0xc0 | c >> 6));
		(void)buf_add_char(out, (char)(0x80 | (c & 0x3f)));
	} else if (c < 0x10000) {
		(void)buf_add_char(out, (char)(0xe0 | c >> 12));
		(void)buf_add_char(out, (char)(0x80 | (c >> 6 & 0x3f)));
		(void)buf_add_char(out, (char)(0x80 | (c & 0x3f)));
	} else {
		(void)buf_add_char(out, (char)(0xf0 | c >> 18));
		(void)buf_add_char(out, (char)(0x80 | (c >> 12 & 0x3f)));
		(void)buf_add_char(out, (char)(0x80 | (c >> 6 & 0x3f)));
		(void)buf_add_char(out, (char)(0x80 | (c & 0x3f)));
	}
}

/* \x{10FFFF}: its length, 0 when it is not one. */
static size_t embedded_char(struct slice s, uint32_t *c)
{
	*c = 0;
	if (!slice_starts(s, "\\x{"))
		return 0;
	for (size_t i = 3; i < s.len && i < 10; i++) {
		if (s.p[i] == '}')
			return i > 3 && *c >= 32 && *c != 127 && *c <= 0x10ffff &&
					       (*c & 0xfffff800) != 0xd800
				       ? i + 1
				       : 0;
		int v = hex_value(s.p[i]);
		if (v < 0)
			return 0;
		*c = *c * 16 + (uint32_t)v;
	}
	return 0;
}

/* utf-8-addr-unitext and -xtext (RFC 6533, 3). */
static int decode_utf8_type(struct buf *out, struct slice s, bool unicode)
{
	size_t from = out->len;

	while (s.len > 0) {
		unsigned char c = (unsigned char)s.p[0];
		uint32_t wide = 0;
		size_t n = 1;

		if (c < 33 || c == 127 || (c > 127 && !unicode))
			return ERR_SYNTAX;
		if (c == '\\') {
			n = embedded_char(s, &wide);
			if (n == 0)
				return ERR_SYNTAX;
			add_utf8(out, wide);
		} else {
			(void)buf_add_char(out, (char)c);
		}
		s = slice_from(s, n);
	}
	return slice_is_utf8(slice_from(buf_slice(out), from)) ? 0 : ERR_SYNTAX;
}

int address_orcpt_decode(struct slice value, int flags, struct slice *type, struct buf *out)
{
	ptrdiff_t semi = slice_find(value, ';');

	*type = SLICE_NONE;
	if (semi <= 0 || (size_t)semi + 1 == value.len)
		return ERR_SYNTAX;
	struct slice name = slice_first(value, (size_t)semi);
	for (size_t i = 0; i < name.len; i++) {
		char c = name.p[i];
		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
			    c == '-'))
			return ERR_SYNTAX;
	}
	struct slice text = slice_from(value, (size_t)semi + 1);
	int err = slice_case_eq_str(name, "utf-8")
			  ? decode_utf8_type(out, text, (flags & ADDRESS_UTF8) != 0)
			  : address_xtext_decode(out, text);
	if (err == 0 && buf_failed(out))
		err = ERR_LIMIT;
	if (err == 0)
		*type = name;
	return err;
}
