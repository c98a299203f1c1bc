/* SPDX-License-Identifier: ISC */
#include "t/tap.h"

#include "smtp/xattr.h"
#include "util/err.h"

/* What is found, as "NAME:kind:value …", or the reply. */
#define X15 "xxxxxxxxxxxxxxx"
#define X51 X15 X15 X15 "xxxxxx"
#define X255 X51 X51 X51 X51 X51

static const struct {
	bool is_forward;
	const char *in, *out;
} cases[] = {
	{false, "", ""},
	{false, "NAME=a.example ADDR=192.0.2.1", "NAME:0:a.example ADDR:0:192.0.2.1"},
	{false, "name=a.example", "NAME:0:a.example"},
	{false, "ADDR=IPv6:2001:db8::1 DESTADDR=::1", "ADDR:0:2001:db8::1 DESTADDR:0:::1"},
	{false, "NAME=[UNAVAILABLE] REVERSE_NAME=[TEMPUNAVAIL] HELO=[unavailable]",
		"NAME:1: REVERSE_NAME:2: HELO:1:"},
	{false, "PROTO=esmtp PORT=25 DESTPORT=65535", "PROTO:0:ESMTP PORT:0:25 DESTPORT:0:65535"},
	{false, "LOGIN=a+40b HELO=x+20y", "LOGIN:0:a@b HELO:0:x y"},
	{true, "IDENT=4F1 SOURCE=local", "IDENT:0:4F1 SOURCE:0:LOCAL"},
	{false, "NAME", "501 5.5.4 Error: attribute=value expected"},
	{false, "=x", "501 5.5.4 Error: attribute=value expected"},
	{false, "IDENT=4F1", "501 5.5.4 Bad XCLIENT attribute name: IDENT"},
	{true, "LOGIN=x", "501 5.5.4 Bad XFORWARD attribute name: LOGIN"},
	{false, "N\001E=x", "501 5.5.4 Bad XCLIENT attribute name: N?E"},
	{false, "NAME=a..b", "501 5.5.4 Bad NAME syntax: a..b"},
	{false, "NAME=", "501 5.5.4 Error: attribute=value expected"},
	{false, "NAME=a.-b", "501 5.5.4 Bad NAME syntax: a.-b"},
	{false, "NAME=a-.b", "501 5.5.4 Bad NAME syntax: a-.b"},
	{false, "NAME=a-", "501 5.5.4 Bad NAME syntax: a-"},
	{false, "NAME=a--1.b-c._d", "NAME:0:a--1.b-c._d"},
	{false, "NAME=a]b", "501 5.5.4 Bad NAME syntax: a]b"},
	{false, "ADDR=192.0.2", "501 5.5.4 Bad ADDR syntax: 192.0.2"},
	{false, "ADDR=IPv6:192.0.2.1", "501 5.5.4 Bad ADDR syntax: IPv6:192.0.2.1"},
	{false, "PORT=65536", "501 5.5.4 Bad PORT syntax: 65536"},
	{false, "PROTO=LMTP", "501 5.5.4 Bad PROTO syntax: LMTP"},
	{true, "SOURCE=x", "501 5.5.4 Bad SOURCE syntax: x"},
	{false, "HELO=a+0Ab", "501 5.5.4 Bad attribute value syntax: a+0Ab"},
	{false, "HELO=a+4", "501 5.5.4 Bad attribute value syntax: a+4"},
	{false, "HELO=a=b", "501 5.5.4 Bad attribute value syntax: a=b"},
	{false, "HELO=a+FFb", "501 5.5.4 Bad attribute value syntax: a+FFb"},
	{false, "HELO=" X255, "HELO:0:" X255},
	{false, "HELO=x" X255, "501 5.5.4 Error: attribute value too long"},
	{false, "HELO=" X255 X255 X255 X255, "501 5.5.4 Error: attribute value too long"},
};

int main(void)
{
	struct buf value = BUF_INIT(1024), out = BUF_INIT(4096), reply = BUF_INIT(1024);

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct slice rest = slice_str(cases[i].in);
		unsigned allowed =
			cases[i].is_forward ? smtp_xforward_attributes : smtp_xclient_attributes;
		enum smtp_xattr_kind kind;
		enum smtp_xattr a;
		int err;

		buf_reset(&out);
		buf_reset(&reply);
		while ((err = smtp_xattr_next(&rest, allowed, &a, &kind, &value, &reply)) == 0)
			(void)buf_add_fmt(&out, "%s%s:%d:%s", out.len > 0 ? " " : "",
				smtp_xattr_name(a), (int)kind, buf_str(&value));
		is_str(buf_str(err == ERR_SYNTAX ? &reply : &out), cases[i].out, "%s", cases[i].in);
	}
	/* One byte over the limit, even where it is written longer. */
	buf_reset(&out);
	(void)buf_add_str(&out, "HELO=");
	for (int i = 0; i <= XATTR_VALUE_LIMIT; i++)
		(void)buf_add_str(&out, "+41");
	struct slice rest = buf_slice(&out);
	enum smtp_xattr_kind kind;
	enum smtp_xattr a;
	buf_reset(&reply);
	is_int(smtp_xattr_next(&rest, smtp_xclient_attributes, &a, &kind, &value, &reply),
		ERR_SYNTAX, "too long");
	buf_clear(&value);
	buf_clear(&out);
	buf_clear(&reply);
	done_testing();
	return 0;
}
