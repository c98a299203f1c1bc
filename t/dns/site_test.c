/* SPDX-License-Identifier: ISC */
#include "t/tap.h"

#include "dns/site.h"

/* MX records as "10 a.test,10 b.test". */
static void mx(struct buf *encoded, const char *text)
{
	struct slice rest = slice_str(text), one, word;
	dns_answer_begin(encoded, DNS_NODATA, false, 60, SLICE_LIT("x.test"));
	while (slice_part(&rest, ',', &one)) {
		uint64_t pref = 0;
		(void)slice_token(&one, " ", &word);
		(void)slice_u64(word, 0, 65535, &pref);
		dns_answer_add(encoded, DNS_MX, (uint16_t)pref, slice_trim(one));
	}
}

static void test_mx(void)
{
	static const struct {
		const char *records;
		uint16_t port;
		const char *site;
	} rows[] = {
		{"10 b.test,10 a.test", 0, "a.test,b.test"},
		{"20 c.test,10 b.test,20 d.test", 25, "b.test"},
		{"65535 only.test", 0, "only.test"},
		{"10 B.Test", 0, "b.test"},
		{"10 b.test,10 b.test,10 a.test", 26, "a.test,b.test:26"},
	};
	struct buf encoded = BUF_INIT(DNS_ANSWER_MAX + 512), out = BUF_INIT(SITE_MAX);
	struct dns_answer a;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		mx(&encoded, rows[i].records);
		is_int(dns_answer_parse(buf_slice(&encoded), &a), 0, "%s", rows[i].records);
		site_of_mx(&out, &a, rows[i].port);
		is_str(buf_str(&out), rows[i].site, "site of %s", rows[i].records);
	}
	buf_clear(&encoded);
	buf_clear(&out);
}

static void test_long(void)
{
	struct buf encoded = BUF_INIT(DNS_ANSWER_MAX + 512), out = BUF_INIT(SITE_MAX),
		   other = BUF_INIT(SITE_MAX), name = BUF_INIT(DNS_NAME_MAX);
	struct dns_answer a;
	dns_answer_begin(&encoded, DNS_NODATA, false, 60, SLICE_LIT("x.test"));
	for (int i = 0; i < 40; i++) {
		buf_reset(&name);
		buf_add_fmt(&name, "mx%02d.test", i);
		dns_answer_add(&encoded, DNS_MX, 10, buf_slice(&name));
	}
	(void)dns_answer_parse(buf_slice(&encoded), &a);
	site_of_mx(&out, &a, 0);
	is_str(buf_str(&out), "mx00.test+4643f921e16037e0", "many: the first and a hash");
	site_of_mx(&other, &a, 26);
	ok(!slice_eq(buf_slice(&out), buf_slice(&other)), "another port is another site");
	buf_reset(&name);
	while (name.len < DNS_NAME_MAX) {
		buf_add_char(&name, name.len % 60 == 59 ? '.' : 'a');
	}
	site_of_host(&out, buf_slice(&name), 25);
	is_int(out.len, DNS_NAME_MAX, "the longest name as it is");
	site_of_host(&out, buf_slice(&name), 26);
	is_int(out.len, SITE_MAX, "with a port it is cut, not lost");
	buf_clear(&encoded);
	buf_clear(&out);
	buf_clear(&other);
	buf_clear(&name);
}

static void test_host(void)
{
	static const struct {
		const char *host;
		uint16_t port;
		const char *site;
	} rows[] = {
		{"Mail.Test", 0, "mail.test"},
		{"mail.test", 2525, "mail.test:2525"},
		{"192.0.2.1", 25, "192.0.2.1"},
		{"2001:db8::1", 0, "2001:db8::1"},
		{"2001:DB8::1", 26, "[2001:db8::1]:26"},
		{"", 0, ""},
	};
	struct buf out = BUF_INIT(SITE_MAX);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		site_of_host(&out, slice_str(rows[i].host), rows[i].port);
		is_str(buf_str(&out), rows[i].site, "site of %s", rows[i].host);
	}
	buf_clear(&out);
}

int main(void)
{
	test_mx();
	test_long();
	test_host();
	return done_testing();
}
