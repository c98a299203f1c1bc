/* SPDX-License-Identifier: ISC */
#include "t/tap.h"

#include <stdlib.h>

#include "dns/packet.h"
#include "util/err.h"
#include "util/mem.h"

enum { NXDOMAIN = 3, SERVFAIL = 2, FORMERR = 1, REFUSED = 5, BADVERS = 16, BADCOOKIE = 23 };

/* A reply as text, one record a word: "owner type data"; '@' in front puts it into authority. */
struct reply_case {
	const char *name;
	enum dns_type type;
	int rcode;
	const char *rrs[14];
	int result;
	enum dns_status status;
	const char *records; /* "10 a.example,20 b.example" */
	const char *at;      /* the canonical name, or where to ask on */
	int ttl;
};

static void put16(struct buf *b, unsigned v)
{
	buf_add_char(b, (char)(v >> 8));
	buf_add_char(b, (char)v);
}

static void put_name(struct buf *b, struct slice name)
{
	struct slice rest = name, label;
	if (slice_eq_str(name, ".")) {
		buf_add_char(b, 0);
		return;
	}
	while (slice_part(&rest, '.', &label)) {
		buf_add_char(b, (char)label.len);
		buf_add_slice(b, label);
	}
	buf_add_char(b, 0);
}

static unsigned number(struct slice s)
{
	uint64_t v = 0;
	(void)slice_u64(s, 0, 1000000, &v);
	return (unsigned)v;
}

static unsigned put_data(struct buf *b, struct slice type, struct slice *rest)
{
	struct slice word;
	if (!slice_token(rest, " ", &word)) {
		return 0;
	}
	if (slice_eq_str(type, "MX")) {
		put16(b, number(word));
		slice_token(rest, " ", &word);
		put_name(b, word);
		return DNS_MX;
	}
	if (slice_eq_str(type, "A")) {
		struct slice part;
		while (slice_part(&word, '.', &part)) {
			buf_add_char(b, (char)number(part));
		}
		return DNS_A;
	}
	if (slice_eq_str(type, "TXT")) {
		do {
			buf_add_char(b, (char)word.len);
			buf_add_slice(b, word);
		} while (slice_token(rest, " ", &word));
		return DNS_TXT;
	}
	if (slice_eq_str(type, "SOA")) {
		put_name(b, SLICE_LIT("ns.example"));
		put_name(b, SLICE_LIT("root.example"));
		for (int i = 0; i < 5; i++) {
			put16(b, 0);
			put16(b, number(word));
		}
		return DNS_SOA;
	}
	put_name(b, word);
	return slice_eq_str(type, "CNAME") ? DNS_CNAME
	       : slice_eq_str(type, "NS")  ? DNS_NS
					   : DNS_PTR;
}

static void put_rr(struct buf *b, struct slice rr)
{
	struct slice owner, ttl, type;
	struct buf data = BUF_INIT(65535);
	slice_token(&rr, " ", &owner);
	slice_token(&rr, " ", &ttl);
	slice_token(&rr, " ", &type);
	put_name(b, owner);
	put16(b, put_data(&data, type, &rr));
	put16(b, 1);
	put16(b, 0);
	put16(b, number(ttl));
	put16(b, (unsigned)data.len);
	buf_add_slice(b, buf_slice(&data));
	buf_clear(&data);
}

static void make_reply(struct buf *out, struct slice sent, int rcode, const char *const *rrs)
{
	struct buf answer = BUF_INIT(65535), authority = BUF_INIT(65535);
	unsigned answers = 0, authorities = 0;
	for (; *rrs != NULL; rrs++) {
		bool second = **rrs == '@';
		put_rr(second ? &authority : &answer, slice_str(*rrs + second));
		answers += !second;
		authorities += second;
	}
	buf_reset(out);
	buf_add_slice(out, slice_first(sent, 2));
	put16(out, 0x8180 | ((unsigned)rcode & 15));
	put16(out, 1);
	put16(out, answers);
	put16(out, authorities);
	put16(out, rcode > 15);
	size_t end = 12;
	while (sent.p[end] != 0) {
		end += 1 + (size_t)sent.p[end];
	}
	buf_add_slice(out, slice_first(slice_from(sent, 12), end + 5 - 12));
	buf_add_slice(out, buf_slice(&answer));
	buf_add_slice(out, buf_slice(&authority));
	if (rcode > 15) {
		put_name(out, SLICE_LIT("."));
		put16(out, 41); /* OPT */
		put16(out, 1232);
		put16(out, ((unsigned)rcode >> 4) << 8);
		put16(out, 0);
		put16(out, 0);
	}
	buf_clear(&answer);
	buf_clear(&authority);
}

static void list_records(struct buf *out, struct dns_answer a)
{
	struct dns_record r;
	for (bool first = true; dns_answer_next(&a, &r); first = false) {
		buf_add_str(out, first ? "" : ",");
		if (r.type == DNS_MX) {
			buf_add_fmt(out, "%u ", r.pref);
		}
		if (r.type == DNS_A) {
			const unsigned char *p = (const unsigned char *)r.data.p;
			buf_add_fmt(out, "%u.%u.%u.%u", p[0], p[1], p[2], p[3]);
		} else {
			buf_add_slice(out, r.data);
		}
	}
}

static const struct reply_case cases[] = {
	{"a.example", DNS_MX, 0,
		{"a.example 300 MX 10 m1.example", "a.example 200 MX 20 M2.example"}, 0, DNS_OK,
		"10 m1.example,20 m2.example", "a.example", 200},
	{"a.example", DNS_MX, 0, {"a.example 300 MX 0 ."}, 0, DNS_NULLMX, "", "a.example", 300},
	{"a.example", DNS_MX, 0, {"a.example 300 MX 0 .", "a.example 300 MX 5 m.example"}, 0,
		DNS_OK, "5 m.example", "a.example", 300},
	{"a.example", DNS_MX, 0, {"a.example 300 MX 5 bad\033name.example"}, 0, DNS_BAD, "",
		"a.example", 300},
	{"a.example", DNS_MX, 0, {"a.example 300 MX 5 bad/name", "a.example 300 MX 6 good"}, 0,
		DNS_OK, "6 good", "a.example", 300},
	{"a.example", DNS_MX, 0, {"other.example 300 MX 5 m.example"}, 0, DNS_NODATA, "",
		"a.example", 0},
	{"a.example", DNS_A, 0, {"@example 600 SOA 60"}, 0, DNS_NODATA, "", "a.example", 60},
	{"a.example", DNS_A, NXDOMAIN, {"@example 30 SOA 60"}, 0, DNS_NXDOMAIN, "", "a.example",
		30},
	{"a.example", DNS_A, NXDOMAIN, {"@example 5000 SOA 5000"}, 0, DNS_NXDOMAIN, "", "a.example",
		DNS_NEGATIVE_TTL_MAX},
	{"a.example", DNS_A, NXDOMAIN, {NULL}, 0, DNS_NXDOMAIN, "", "a.example", 0},
	{"a.example", DNS_A, 0, {"a.example 50 CNAME B.example", "b.example 500 A 192.0.2.1"}, 0,
		DNS_OK, "192.0.2.1", "b.example", 50},
	{"a.example", DNS_A, 0, {"b.example 500 A 192.0.2.1", "a.example 50 CNAME b.example"}, 0,
		DNS_OK, "192.0.2.1", "b.example", 50},
	{"a.example", DNS_A, 0, {"a.example 50 CNAME b.example", "c.example 500 A 192.0.2.1"},
		ERR_AGAIN, DNS_TEMP, "", "b.example", 0},
	{"a.example", DNS_A, 0, {"a.example 50 CNAME b.example", "@example 70 SOA 70"}, 0,
		DNS_NODATA, "", "b.example", 50},
	{"a.example", DNS_A, NXDOMAIN, {"a.example 50 CNAME b.example"}, 0, DNS_NXDOMAIN, "",
		"b.example", 0},
	{"a.example", DNS_A, 0, {"a.example 50 CNAME a.example"}, 0, DNS_BAD, "", "", 0},
	{"a.example", DNS_A, 0, {"a.example 50 CNAME b.example", "b.example 50 CNAME a.example"}, 0,
		DNS_BAD, "", "", 0},
	{"1.2.0.192.in-addr.arpa", DNS_PTR, 0,
		{"1.2.0.192.in-addr.arpa 9 CNAME 1.0/25.arpa", "1.0/25.arpa 9 PTR mail.example"}, 0,
		DNS_OK, "mail.example", "1.2.0.192.in-addr.arpa", 9},
	{"a.example", DNS_TXT, 0, {"a.example 9 TXT v=spf1 -all"}, 0, DNS_OK, "v=spf1-all",
		"a.example", 9},
	{"a.example", DNS_A, SERVFAIL, {NULL}, ERR_TEMP, DNS_TEMP, "", "", 0},
	{"a.example", DNS_A, REFUSED, {"a.example 500 A 192.0.2.1"}, ERR_TEMP, DNS_TEMP, "", "", 0},
	{"a.example", DNS_A, FORMERR, {NULL}, ERR_STATE, DNS_TEMP, "", "", 0},
	{"a.example", DNS_A, BADVERS, {NULL}, ERR_STATE, DNS_TEMP, "", "", 0},
	{"a.example", DNS_A, BADCOOKIE, {"a.example 500 A 192.0.2.1"}, ERR_TEMP, DNS_TEMP, "", "",
		0},
	{"a.example", DNS_A, 0, {"@example 600 NS ns.example"}, ERR_TEMP, DNS_TEMP, "", "", 0},
};

static void test_case(const struct reply_case *c, int nr)
{
	struct buf sent = BUF_INIT(DNS_QUERY_MAX), reply = BUF_INIT(65535),
		   answer = BUF_INIT(65535);
	struct buf text = BUF_INIT(65535);
	struct dns_question q;
	struct dns_follow follow;
	struct dns_answer a = {0};

	is_int(dns_question_set(&q, c->type, slice_str(c->name)), 0, "case %d: question", nr);
	is_int(dns_packet_query(&sent, &q, 0x1234, DNS_QUERY_EDNS | DNS_QUERY_MIXED), 0, "query");
	make_reply(&reply, buf_slice(&sent), c->rcode, c->rrs);
	is_int(dns_packet_check(buf_slice(&sent), buf_slice(&reply), false), 0, "is ours");
	int r = dns_packet_parse(buf_slice(&reply), &q, &answer, &follow);
	is_int(r, c->result, "result");
	if (r == 0) {
		is_int(dns_answer_parse(buf_slice(&answer), &a), 0, "answer is sound");
		is_int(a.status, c->status, "status");
		is_int(a.ttl, c->ttl, "ttl");
		is_slice(a.name, c->at, "name");
		list_records(&text, a);
		is_slice(buf_slice(&text), c->records, "records");
	} else if (r == ERR_AGAIN) {
		is_str(follow.to.name, c->at, "ask on for the target");
	}
	/* Cut anywhere, it may fail in any way but must say so or give a sound answer. */
	for (size_t cut = 0; cut < reply.len; cut++) {
		char *exact = slice_dup(slice_first(buf_slice(&reply), cut));
		r = dns_packet_parse(slice_of(exact, cut), &q, &answer, &follow);
		if (r == 0 && dns_answer_parse(buf_slice(&answer), &a) != 0) {
			fail("case %d cut at %zu", nr, cut);
		}
		mem_free(exact);
	}
	buf_clear(&sent);
	buf_clear(&reply);
	buf_clear(&answer);
	buf_clear(&text);
}

static void test_check(void)
{
	struct buf sent = BUF_INIT(DNS_QUERY_MAX), reply = BUF_INIT(65535);
	struct dns_question q;
	const char *const none[] = {NULL};

	(void)dns_question_set(&q, DNS_A, SLICE_LIT("abcdefghijklmnopqrstuvwxyzabcdefgh.example"));
	(void)dns_packet_query(&sent, &q, 77, DNS_QUERY_MIXED);
	ok(!slice_eq(slice_first(slice_from(buf_slice(&sent), 13), 34),
		   SLICE_LIT("abcdefghijklmnopqrstuvwxyzabcdefgh")),
		"letters have a random case");
	make_reply(&reply, buf_slice(&sent), 0, none);
	char *p = reply.data + reply.start;
	is_int(dns_packet_check(buf_slice(&sent), buf_slice(&reply), false), 0, "ours");
	p[0] ^= 1;
	is_int(dns_packet_check(buf_slice(&sent), buf_slice(&reply), false), ERR_NOT_FOUND,
		"other id");
	p[0] ^= 1;
	p[2] ^= (char)0x80;
	is_int(dns_packet_check(buf_slice(&sent), buf_slice(&reply), false), ERR_NOT_FOUND,
		"a query");
	p[2] ^= (char)0x80;
	p[2] ^= 2;
	is_int(dns_packet_check(buf_slice(&sent), buf_slice(&reply), false), ERR_AGAIN,
		"truncated");
	is_int(dns_packet_check(buf_slice(&sent), buf_slice(&reply), true), 0,
		"by TCP that is nothing");
	p[2] ^= 2;
	p[13] ^= 32;
	is_int(dns_packet_check(buf_slice(&sent), buf_slice(&reply), false), ERR_AGAIN,
		"case lost");
	p[13] ^= 33;
	is_int(dns_packet_check(buf_slice(&sent), buf_slice(&reply), false), ERR_NOT_FOUND,
		"other name");
	p[13] ^= 1;
	is_int(dns_packet_check(buf_slice(&sent), slice_first(buf_slice(&reply), 11), false),
		ERR_NOT_FOUND, "too short");
	is_int(dns_packet_check(buf_slice(&sent), slice_first(buf_slice(&reply), 20), false),
		ERR_NOT_FOUND, "question cut");
	p[5] = 0;
	is_int(dns_packet_check(buf_slice(&sent), slice_first(buf_slice(&reply), 12), false),
		ERR_NOT_FOUND, "no question, no error");
	p[3] = REFUSED;
	is_int(dns_packet_check(buf_slice(&sent), slice_first(buf_slice(&reply), 12), false), 0,
		"no question, refused");
	buf_clear(&sent);
	buf_clear(&reply);
}

static void test_questions(void)
{
	static char label64[] =
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.example";
	static const struct {
		const char *in, *name;
	} rows[] = {
		{"Example.COM", "example.com"},
		{"example.com.", "example.com"},
		{"a", "a"},
		{"_dmarc.example", "_dmarc.example"},
		{"b\xc3\xbc"
		 "cher.example",
			"xn--bcher-kva.example"},
		{"", NULL},
		{".", NULL},
		{"a..b", NULL},
		{".a", NULL},
		{"a b", NULL},
		{"a\\b", NULL},
		{"a\tb", NULL},
		{label64, NULL},
		{label64 + 1, label64 + 1},
		{"\xff\xfe.example", NULL},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct dns_question q;
		int r = dns_question_set(&q, DNS_A, slice_str(rows[i].in));
		is_int(r, rows[i].name != NULL ? 0 : ERR_SYNTAX, "question %zu", i);
		is_str(q.name, rows[i].name != NULL ? rows[i].name : "", "name");
	}
	char name[DNS_NAME_MAX + 1];
	is_int(dns_reverse_name(slice_of("\300\0\2\1", 4), name), 0, "reverse of IPv4");
	is_str(name, "1.2.0.192.in-addr.arpa", "name");
	is_int(dns_reverse_name(slice_of("\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1", 16), name), 0,
		"of IPv6");
	is_str(name, "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa",
		"name");
	is_int(dns_reverse_name(slice_of("abc", 3), name), ERR_RANGE, "of neither");
}

int main(void)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		test_case(&cases[i], (int)i);
	}
	test_check();
	test_questions();
	return done_testing();
}
