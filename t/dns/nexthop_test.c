/* SPDX-License-Identifier: ISC */
#include "t/tap.h"

#include "dns/nexthop.h"
#include "util/err.h"

static void test_parse(void)
{
	static const struct {
		const char *in;
		bool lmtp;
		int result;
		const char *host;
		int port;
		const char *kind; /* m: MX, l: literal, u: UNIX */
	} rows[] = {
		{"example.com", false, 0, "example.com", 0, "m"},
		{"example.com:2525", false, 0, "example.com", 2525, "m"},
		{"example.com:submission", false, 0, "example.com", 587, "m"},
		{"[mail.example]", false, 0, "mail.example", 0, ""},
		{"[mail.example]:26", false, 0, "mail.example", 26, ""},
		{"[192.0.2.1]:26", false, 0, "192.0.2.1", 26, "l"},
		{"192.0.2.1", false, 0, "192.0.2.1", 0, "l"},
		{"192.0.2.1:25", false, 0, "192.0.2.1", 25, "l"},
		{"[IPv6:2001:db8::1]:26", false, 0, "2001:db8::1", 26, "l"},
		{"[2001:db8::1]", false, 0, "2001:db8::1", 0, "l"},
		{"unix:/run/lmtp", true, 0, "/run/lmtp", 0, "u"},
		{"inet:host:24", true, 0, "host", 24, ""},
		{"inet:[::1]:24", true, 0, "::1", 24, "l"},
		{"host", true, 0, "host", 0, ""},
		{"", false, ERR_NOT_FOUND, "", 0, ""},
		{" , ", false, ERR_NOT_FOUND, "", 0, ""},
		{"[", false, ERR_SYNTAX, "", 0, ""},
		{"[]", false, ERR_SYNTAX, "", 0, ""},
		{"[a", false, ERR_SYNTAX, "", 0, ""},
		{"[a]b", false, ERR_SYNTAX, "", 0, ""},
		{"[a]:", false, ERR_SYNTAX, "", 0, ""},
		{"[a]:0", false, ERR_SYNTAX, "", 0, ""},
		{"a:70000", false, ERR_SYNTAX, "", 0, ""},
		{":25", false, ERR_SYNTAX, "", 0, ""},
		{"[IPv6:host]", false, ERR_SYNTAX, "", 0, ""},
		{"unix:", true, ERR_SYNTAX, "", 0, ""},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct slice rest = slice_str(rows[i].in);
		struct nexthop nh;
		int r = nexthop_next(&rest, rows[i].lmtp, &nh);
		is_int(r, rows[i].result, "%s", rows[i].in);
		if (r == 0) {
			is_slice(nh.host, rows[i].host, "host");
			is_int(nh.port, rows[i].port, "port");
			is_int(nh.mx, strchr(rows[i].kind, 'm') != NULL, "MX");
			is_int(nh.literal, strchr(rows[i].kind, 'l') != NULL, "literal");
			is_int(nh.unix_path, strchr(rows[i].kind, 'u') != NULL, "UNIX");
		}
	}
	struct slice rest = SLICE_LIT("[192.0.2.1]:26, b.example\t[c]");
	struct nexthop nh;
	ok(nexthop_next(&rest, false, &nh) == 0 && nh.port == 26, "first of three");
	ok(nexthop_next(&rest, false, &nh) == 0 && slice_eq_str(nh.host, "b.example"), "second");
	ok(nexthop_next(&rest, false, &nh) == 0 && slice_eq_str(nh.host, "c"), "third");
	is_int(nexthop_next(&rest, false, &nh), ERR_NOT_FOUND, "no more");
}

int main(void)
{
	test_parse();
	return done_testing();
}
