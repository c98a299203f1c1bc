/* SPDX-License-Identifier: ISC */
#include "t/tap.h"

#include <arpa/inet.h>
#include <stdio.h>

#include "dns/hostsfile.h"

/* Records of an answer as text, with blanks between. */
static const char *show(struct slice encoded)
{
	static char out[1024];
	struct dns_answer a;
	struct dns_record r;
	size_t n = 0;

	out[0] = '\0';
	if (encoded.len == 0)
		return "none";
	if (dns_answer_parse(encoded, &a) != 0)
		return "not an answer";
	while (dns_answer_next(&a, &r) && n < sizeof(out)) {
		char text[INET6_ADDRSTRLEN];

		if (n > 0)
			out[n++] = ' ';
		if (r.type == DNS_PTR)
			n += (size_t)snprintf(out + n, sizeof(out) - n, "%.*s", SLICE_FMT(r.data));
		else
			n += strlcpy(out + n,
				inet_ntop(r.type == DNS_A ? AF_INET : AF_INET6, r.data.p, text,
					sizeof(text)),
				sizeof(out) - n);
	}
	return out;
}

int main(void)
{
	static const char *const text = "# 192.0.2.9 comment\n"
					"127.0.0.1\tlocalhost\r\n"
					"127.0.1.1 Mx.Example mx # name2\n"
					"::1 localhost ip6-localhost\n"
					"192.0.2.1 mx.example\n"
					"192.0.2.1 second.example\n"
					"192.0.2.300 bad\n not-an-address x\n\n192.0.2.2\n"
					"192.0.2.3 \001bad good\n"
					"192.0.2.4 last";
	static const struct {
		enum dns_type type;
		const char *name, *want;
	} rows[] = {
		{DNS_A, "localhost", "127.0.0.1"},
		{DNS_AAAA, "LocalHost", "::1"},
		{DNS_AAAA, "ip6-localhost", "::1"},
		{DNS_A, "ip6-localhost", "none"},
		{DNS_A, "mx.example", "127.0.1.1 192.0.2.1"},
		{DNS_A, "mx", "127.0.1.1"},
		{DNS_A, "name2", "none"},
		{DNS_A, "bad", "none"},
		{DNS_A, "good", "192.0.2.3"},
		{DNS_A, "last", "192.0.2.4"},
		{DNS_A, "x", "none"},
		{DNS_MX, "localhost", "none"},
		{DNS_PTR, "1.0.0.127.in-addr.arpa", "localhost"},
		{DNS_PTR, "1.1.0.127.in-addr.arpa", "Mx.Example"},
		{DNS_PTR, "1.2.0.192.IN-ADDR.ARPA", "mx.example"},
		{DNS_PTR, "9.2.0.192.in-addr.arpa", "none"},
		{DNS_PTR, "2.2.0.192.in-addr.arpa", "none"},
		{DNS_PTR,
			"1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa",
			"localhost"},
	};
	struct hostsfile *h = hostsfile_parse(slice_str(text));

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		is_str(show(hostsfile_find(h, rows[i].type, slice_str(rows[i].name))), rows[i].want,
			"%s %s", dns_type_str(rows[i].type), rows[i].name);
	hostsfile_free(&h);
	ok(h == NULL, "it is gone");
	is_str(show(hostsfile_find(h, DNS_A, SLICE_LIT("localhost"))), "none",
		"no file: no answer");
	h = hostsfile_parse(SLICE_NONE);
	is_str(show(hostsfile_find(h, DNS_A, SLICE_LIT("localhost"))), "none", "an empty one");
	hostsfile_free(&h);
	return done_testing();
}
