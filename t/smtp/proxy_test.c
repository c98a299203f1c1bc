/* SPDX-License-Identifier: ISC */
#include "t/tap.h"

#include "smtp/proxy.h"
#include "util/err.h"

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define V4           \
	"\xc0\0\2\1" \
	"\x7f\0\0\1" \
	"\x12\x34"   \
	"\0\x19"
#define V6                                       \
	"\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1" \
	"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1"       \
	"\0\1\0\2"

static const struct {
	struct slice in;
	int err;
	bool is_own;
	const char *client, *server;
	unsigned client_port, server_port;
	size_t used; /* 0: all */
} cases[] = {
	{SLICE_LIT("PROXY TCP4 192.0.2.1 127.0.0.1 4660 25\r\n"), 0, false, "192.0.2.1",
		"127.0.0.1", 4660, 25, 0},
	{SLICE_LIT("PROXY TCP4 192.0.2.1 127.0.0.1 1 2\r\nEHLO x\r\n"), 0, false, "192.0.2.1",
		"127.0.0.1", 1, 2, 36},
	{SLICE_LIT("PROXY TCP6 2001:db8::1 ::1 1 2\r\n"), 0, false, "2001:db8::1", "::1", 1, 2, 0},
	{SLICE_LIT("PROXY UNKNOWN\r\n"), 0, true, "", "", 0, 0, 0},
	{SLICE_LIT("PROXY UNKNOWN ff:1 ff:2 3 4\r\n"), 0, true, "", "", 0, 0, 0},
	{SLICE_LIT(SIGNATURE "\x21\x11\0\x0c" V4), 0, false, "192.0.2.1", "127.0.0.1", 4660, 25, 0},
	{SLICE_LIT(SIGNATURE "\x21\x11\0\x10" V4 "\1\0\1x"
			     "EHLO"),
		0, false, "192.0.2.1", "127.0.0.1", 4660, 25, 32},
	{SLICE_LIT(SIGNATURE "\x21\x21\0\x24" V6), 0, false, "2001:db8::1", "::1", 1, 2, 0},
	{SLICE_LIT(SIGNATURE "\x20\0\0\0"), 0, true, "", "", 0, 0, 0},
	{SLICE_LIT(SIGNATURE "\x20\x11\0\x0c" V4), 0, true, "", "", 0, 0, 0},
	{SLICE_LIT(SIGNATURE "\x21\0\0\0"), 0, true, "", "", 0, 0, 0},
	/* Not complete. */
	{SLICE_LIT(""), ERR_AGAIN, false, "", "", 0, 0, 0},
	{SLICE_LIT("P"), ERR_AGAIN, false, "", "", 0, 0, 0},
	{SLICE_LIT("PROXY TCP4 192.0.2.1 127.0.0.1 1 2"), ERR_AGAIN, false, "", "", 0, 0, 0},
	{SLICE_LIT("PROXY TCP4 192.0.2.1 127.0.0.1 1 2\r"), ERR_AGAIN, false, "", "", 0, 0, 0},
	{SLICE_LIT("\r\n\r\n\0"), ERR_AGAIN, false, "", "", 0, 0, 0},
	{SLICE_LIT(SIGNATURE "\x21\x11\0"), ERR_AGAIN, false, "", "", 0, 0, 0},
	{SLICE_LIT(SIGNATURE "\x21\x11\0\x0c"
			     "\xc0"),
		ERR_AGAIN, false, "", "", 0, 0, 0},
	/* None, or a bad one. */
	{SLICE_LIT("EHLO x\r\n"), ERR_SYNTAX, false, "", "", 0, 0, 0},
	{SLICE_LIT("PROXZ"), ERR_SYNTAX, false, "", "", 0, 0, 0},
	{SLICE_LIT("proxy TCP4 192.0.2.1 127.0.0.1 1 2\r\n"), ERR_SYNTAX, false, "", "", 0, 0, 0},
	{SLICE_LIT("PROXY TCP4 192.0.2.1 127.0.0.1 1 2\n"), ERR_SYNTAX, false, "", "", 0, 0, 0},
	{SLICE_LIT("PROXY \r\n"), ERR_SYNTAX, false, "", "", 0, 0, 0},
	{SLICE_LIT("PROXY TCP5 192.0.2.1 127.0.0.1 1 2\r\n"), ERR_SYNTAX, false, "", "", 0, 0, 0},
	{SLICE_LIT("PROXY TCP4 ::1 ::1 1 2\r\n"), ERR_SYNTAX, false, "", "", 0, 0, 0},
	{SLICE_LIT("PROXY TCP6 192.0.2.1 ::1 1 2\r\n"), ERR_SYNTAX, false, "", "", 0, 0, 0},
	{SLICE_LIT("PROXY TCP4 192.0.2.1 127.0.0.1 1\r\n"), ERR_SYNTAX, false, "", "", 0, 0, 0},
	{SLICE_LIT("PROXY TCP4 192.0.2.1 127.0.0.1 1 2 \r\n"), ERR_SYNTAX, false, "", "", 0, 0, 0},
	{SLICE_LIT("PROXY TCP4 192.0.2.1 127.0.0.1 1 65536\r\n"), ERR_SYNTAX, false, "", "", 0, 0,
		0},
	{SLICE_LIT("PROXY TCP4 192.0.2.1 127.0.0.1 -1 2\r\n"), ERR_SYNTAX, false, "", "", 0, 0, 0},
	{SLICE_LIT("PROXY TCP4 192.0.2.1\0x 127.0.0.1 1 2\r\n"), ERR_SYNTAX, false, "", "", 0, 0,
		0},
	{SLICE_LIT("PROXY TCP4  192.0.2.1 127.0.0.1 1 2\r\n"), ERR_SYNTAX, false, "", "", 0, 0, 0},
	{SLICE_LIT("\r\n\r\nEHLO"), ERR_SYNTAX, false, "", "", 0, 0, 0},
	{SLICE_LIT(SIGNATURE "\x31\x11\0\x0c" V4), ERR_SYNTAX, false, "", "", 0, 0, 0},
	{SLICE_LIT(SIGNATURE "\x22\x11\0\x0c" V4), ERR_SYNTAX, false, "", "", 0, 0, 0},
	{SLICE_LIT(SIGNATURE "\x21\x12\0\x0c" V4), ERR_SYNTAX, false, "", "", 0, 0, 0},
	{SLICE_LIT(SIGNATURE "\x21\x31\0\x0c" V4), ERR_SYNTAX, false, "", "", 0, 0, 0},
	{SLICE_LIT(SIGNATURE "\x21\x11\0\x0b" V4), ERR_SYNTAX, false, "", "", 0, 0, 0},
	{SLICE_LIT(SIGNATURE "\x21\x21\0\x0c" V4), ERR_SYNTAX, false, "", "", 0, 0, 0},
	/* Too long. */
	{SLICE_LIT(SIGNATURE "\x21\x11\xff\xff" V4), ERR_LIMIT, false, "", "", 0, 0, 0},
	{SLICE_LIT("PROXY UNKNOWN aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
		   "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
		ERR_LIMIT, false, "", "", 0, 0, 0},
};

int main(void)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct smtp_proxy p;
		size_t used = 0;

		is_int(smtp_proxy_parse(cases[i].in, &p, &used), cases[i].err, "case %zu", i);
		if (cases[i].err != 0)
			continue;
		is_int(used, cases[i].used != 0 ? cases[i].used : cases[i].in.len, "bytes");
		is_int(p.is_own, cases[i].is_own, "whose connection");
		is_str(p.client, cases[i].client, "client");
		is_str(p.server, cases[i].server, "server");
		is_int(p.client_port, cases[i].client_port, "client's port");
		is_int(p.server_port, cases[i].server_port, "server's port");
	}
	/* However it is cut, a good header is never refused before it is complete. */
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		size_t end = cases[i].used != 0 ? cases[i].used : cases[i].in.len;
		bool good = true;

		if (cases[i].err != 0)
			continue;
		for (size_t n = 0; n < end; n++) {
			struct smtp_proxy p;
			size_t used;

			good = good && smtp_proxy_parse(slice_first(cases[i].in, n), &p, &used) ==
					       ERR_AGAIN;
		}
		ok(good, "case %zu in pieces", i);
	}
	done_testing();
	return 0;
}
