/* SPDX-License-Identifier: ISC */
#include "t/tap.h"

#include <arpa/inet.h>

#include "dns/resolvconf.h"

static unsigned port(const struct resolvconf_server *s)
{
	return ntohs(s->addr.ss_family == AF_INET
			     ? ((const struct sockaddr_in *)&s->addr)->sin_port
			     : ((const struct sockaddr_in6 *)&s->addr)->sin6_port);
}

int main(void)
{
	static const struct {
		const char *text;
		unsigned servers;
		const char *first;
		unsigned port, timeout, attempts;
		bool rotate, tcp;
	} rows[] = {
		{"", 1, "127.0.0.1", 53, 5, 2, false, false},
		{"nameserver 192.0.2.1\nnameserver 2001:db8::1\n", 2, "192.0.2.1", 53, 5, 2, false,
			false},
		{"# nameserver 192.0.2.1\n;x\nnameserver\t192.0.2.2 # comment\r\n", 1, "192.0.2.2",
			53, 5, 2, false, false},
		{"nameserver [192.0.2.1]:5353", 1, "192.0.2.1", 5353, 5, 2, false, false},
		{"nameserver [2001:db8::1]:54", 1, "2001:db8::1", 54, 5, 2, false, false},
		{"nameserver fe80::1%lo\n", 1, "fe80::1", 53, 5, 2, false, false},
		{"nameserver not-an-address\nnameserver [192.0.2.1\nnameserver "
		 "[192.0.2.1]:0\nnameserver\n",
			1, "127.0.0.1", 53, 5, 2, false, false},
		{"options timeout:1 attempts:3 rotate use-vc\n", 1, "127.0.0.1", 53, 1, 3, true,
			true},
		{"options timeout:0 attempts:99 ndots:5\nsearch a b\ndomain x", 1, "127.0.0.1", 53,
			1, 5, false, false},
		{"options timeout:x attempts:\n", 1, "127.0.0.1", 53, 5, 2, false, false},
		{"nameserver 1.1.1.1\nnameserver 1.1.1.1\nnameserver 1.1.1.1\nnameserver "
		 "1.1.1.1\nnameserver 1.1.1.1\n"
		 "nameserver 1.1.1.1\nnameserver 1.1.1.1\nnameserver 1.1.1.1\nnameserver 1.1.1.1\n",
			8, "1.1.1.1", 53, 5, 2, false, false},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct resolvconf rc;
		resolvconf_parse(slice_str(rows[i].text), &rc);
		is_int(rc.servers, rows[i].servers, "row %zu: servers", i);
		is_str(rc.server[0].text, rows[i].first, "first");
		is_int(port(&rc.server[0]), rows[i].port, "port");
		is_int(rc.timeout, rows[i].timeout, "timeout");
		is_int(rc.attempts, rows[i].attempts, "attempts");
		ok(rc.rotate == rows[i].rotate && rc.tcp == rows[i].tcp, "flags");
	}
	struct resolvconf rc;
	resolvconf_parse(
		SLICE_LIT("domain a.test\nsearch B.test c..d e.test\noptions trust-ad\n"), &rc);
	ok(rc.trust_ad, "trusted");
	is_int(rc.searches, 2, "domains to be searched");
	is_str(rc.search[0], "b.test", "the first");
	is_str(rc.search[1], "e.test", "what is no name is passed over");
	resolvconf_parse(SLICE_LIT("search b.test\ndomain a.test"), &rc);
	ok(rc.searches == 1 && !rc.trust_ad, "the last line counts; trust must be said");
	is_str(rc.search[0], "a.test", "domain");
	resolvconf_parse(SLICE_LIT("search a b c d e f g h"), &rc);
	is_int(rc.searches, RESOLVCONF_SEARCH, "no more than that");
	return done_testing();
}
