/* SPDX-License-Identifier: ISC */
#include "t/tap.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/addr.h"
#include "net/loop.h"
#include "resolver/engine.h"
#include "resolver/lookup.h"
#include "util/err.h"
#include "util/log.h"

/*
 * What resolver makes of a next hop: a name server on the same loop says what the table has, and
 * that a name that is not there is not there.
 */
enum { AD = 1, SERVFAIL = 2, NODATA = 4, MANY = 8, NO_TLSA_SEEN = 1024 };

static const struct record {
	const char *name;
	enum dns_type type;
	unsigned flags;
	const char *alias; /* a CNAME record in front of the data, or alone */
	const char *data;  /* of the type; NULL with an alias: in another packet */
	unsigned ttl;
} zone[] = {
	{"good.test", DNS_MX, AD, NULL, "10 h.good.test", 500},
	{"h.good.test", DNS_A, AD, NULL, "4", 400},
	{"h.good.test", DNS_AAAA, AD, NULL, "6", 450},
	{"_25._tcp.h.good.test", DNS_TLSA, AD, NULL, "abc", 300},
	{"none.test", DNS_A, AD, NULL, "4", 60},
	{"nodata.test", DNS_A, AD, NULL, "4", 60},
	{"_25._tcp.nodata.test", DNS_TLSA, AD | NODATA, NULL, NULL, 60},
	{"weak.test", DNS_A, AD, NULL, "4", 60},
	{"_25._tcp.weak.test", DNS_TLSA, 0, NULL, "abc", 60},
	{"fails.test", DNS_A, AD, NULL, "4", 60},
	{"_25._tcp.fails.test", DNS_TLSA, SERVFAIL, NULL, NULL, 60},
	{"plain.test", DNS_A, 0, NULL, "4", 60},
	{"_25._tcp.plain.test", DNS_TLSA, AD, NULL, "abc", 60},
	{"half.test", DNS_A, 0, NULL, "4", 60},
	{"half.test", DNS_AAAA, AD, NULL, "6", 60},
	{"_25._tcp.half.test", DNS_TLSA, AD, NULL, "abc", 60},
	/* Aliases. */
	{"alias.test", DNS_A, AD, "real.test", "4", 60},
	{"_25._tcp.real.test", DNS_TLSA, AD, NULL, "real", 60},
	{"_25._tcp.alias.test", DNS_TLSA, AD, NULL, "alias", 60},
	{"own.test", DNS_A, AD, "none.test", "4", 60},
	{"_25._tcp.own.test", DNS_TLSA, AD, NULL, "own", 60},
	{"ill.test", DNS_A, AD, "fails.test", "4", 60},
	{"_25._tcp.ill.test", DNS_TLSA, AD, NULL, "ill", 60},
	{"leaves.test", DNS_A, 0, "plain.test", "4", 60},
	{"leaves.test", DNS_CNAME, AD, "plain.test", NULL, 60},
	{"_25._tcp.leaves.test", DNS_TLSA, AD, NULL, "leaves", 60},
	{"outside.test", DNS_A, 0, "plain.test", "4", 60},
	{"outside.test", DNS_CNAME, 0, "plain.test", NULL, 60},
	{"_25._tcp.outside.test", DNS_TLSA, AD, NULL, "outside", 60},
	{"unsure.test", DNS_A, 0, "plain.test", "4", 60},
	{"unsure.test", DNS_CNAME, SERVFAIL, NULL, NULL, 60},
	{"apart.test", DNS_A, AD, "none.test", NULL, 7},
	{"apart2.test", DNS_A, 0, "none.test", NULL, 60},
	{"name.test", DNS_A, AD, NULL, "4", 60},
	{"_25._tcp.name.test", DNS_TLSA, AD, "dane.test", "name", 60},
	/* Next hops. */
	{"mxalias.test", DNS_MX, AD, "good.test", "10 h.good.test", 60},
	{"plainmx.test", DNS_MX, 0, NULL, "10 h.good.test", 60},
	{"number.test", DNS_MX, AD, NULL, "10 127.0.0.9", 60},
	{"many.test", DNS_A, MANY, NULL, "4", 60},
	{"many.test", DNS_AAAA, MANY, NULL, "6", 60},
	{"mostly.test", DNS_A, MANY, NULL, "4", 60},
	{"mostly.test", DNS_AAAA, 0, NULL, "6", 60},
	{"short.one.test", DNS_A, 0, NULL, "4", 60},
	{"other.two.test", DNS_A, 0, NULL, "4", 60},
	{"bare", DNS_A, 0, NULL, "4", 60},
	{"sick.one.test", DNS_A, SERVFAIL, NULL, NULL, 60},
	{"huge.test", DNS_A, AD, NULL, "4", UINT32_MAX},
};

static int sock = -1;
static uint16_t port;
static struct buf asked = BUF_INIT(65536); /* names, each with a blank behind it */

/* ---- The name server. ---- */

static void put16(struct buf *b, unsigned v)
{
	buf_add_char(b, (char)(v >> 8));
	buf_add_char(b, (char)v);
}

static void put_name(struct buf *b, const char *name)
{
	struct slice rest = slice_str(name), label;
	while (slice_part(&rest, '.', &label)) {
		buf_add_char(b, (char)label.len);
		buf_add_slice(b, label);
	}
	buf_add_char(b, 0);
}

static void put_rr(struct buf *b, const char *owner, unsigned type, uint32_t ttl, struct buf *data)
{
	put_name(b, owner);
	put16(b, type);
	put16(b, 1);
	put16(b, ttl >> 16);
	put16(b, ttl & 0xffff);
	put16(b, (unsigned)data->len);
	buf_add_slice(b, buf_slice(data));
	buf_reset(data);
}

static void put_data(struct buf *b, const struct record *r, const char *owner, unsigned i)
{
	struct buf data = BUF_INIT(1000);
	if (r->type == DNS_MX) {
		put16(&data, 10);
		put_name(&data, r->data + 3);
	} else if (r->type == DNS_TLSA) {
		buf_add_fmt(&data, "%s", r->data);
	} else {
		for (int at = 0; at < (r->type == DNS_A ? 4 : 16); at++) {
			buf_add_char(&data, (char)(i + 1));
		}
	}
	put_rr(b, owner, r->type, r->ttl, &data);
	buf_clear(&data);
}

static unsigned put_answer(struct buf *b, const struct record *r)
{
	struct buf data = BUF_INIT(1000);
	const char *owner = r->name;
	unsigned n = 0, records = r->data == NULL ? 0 : r->flags & MANY ? 12 : 1;
	if (r->alias != NULL) {
		put_name(&data, r->alias);
		put_rr(b, owner, DNS_CNAME, r->ttl, &data);
		owner = r->alias;
		n++;
	}
	for (unsigned i = 0; i < records; i++) {
		put_data(b, r, owner, i);
		n++;
	}
	buf_clear(&data);
	return n;
}

static const struct record *find(const char *name, unsigned type)
{
	for (size_t i = 0; i < sizeof(zone) / sizeof(zone[0]); i++) {
		if (strcasecmp(zone[i].name, name) == 0 && zone[i].type == type) {
			return &zone[i];
		}
	}
	return NULL;
}

static bool has_name(const char *name)
{
	for (size_t i = 0; i < sizeof(zone) / sizeof(zone[0]); i++) {
		if (strcasecmp(zone[i].name, name) == 0) {
			return true;
		}
	}
	return false;
}

/* The question's name as text; returns its end in the packet. */
static size_t read_name(struct slice q, char name[256])
{
	size_t at = 12, n = 0;
	while (at < q.len && q.p[at] != 0) {
		size_t label = (size_t)q.p[at];
		if (n > 0) {
			name[n++] = '.';
		}
		memcpy(name + n, q.p + at + 1, label);
		n += label;
		at += label + 1;
	}
	name[n] = '\0';
	return at + 1;
}

static void answer(struct buf *b, struct slice q)
{
	char name[256];
	size_t end = read_name(q, name);
	unsigned type = (unsigned)(unsigned char)q.p[end] << 8 | (unsigned char)q.p[end + 1];
	const struct record *r = find(name, type);
	struct buf records = BUF_INIT(65536);
	unsigned n = 0, rcode = 0, flags = r != NULL ? r->flags : AD;
	buf_add_fmt(&asked, "%s/%s ", name, dns_type_str((enum dns_type)type));
	if (r == NULL) {
		rcode = has_name(name) ? 0 : 3;
	} else if (flags & SERVFAIL) {
		rcode = 2;
	} else if ((flags & NODATA) == 0) {
		n = put_answer(&records, r);
	}
	buf_add_slice(b, slice_first(q, 2));
	put16(b, 0x8180 | rcode | (flags & AD ? 0x20 : 0));
	put16(b, 1);
	put16(b, n);
	put16(b, 0);
	put16(b, 0);
	buf_add_slice(b, slice_first(slice_from(q, 12), end + 4 - 12));
	buf_add_slice(b, buf_slice(&records));
	buf_clear(&records);
}

static void ready(int what, void *arg)
{
	struct buf b = BUF_INIT(65535);
	struct net_addr from = {.len = sizeof(from.ss)};
	char packet[2048];
	struct sockaddr *sa = (struct sockaddr *)&from.ss;
	ssize_t n = recvfrom(sock, packet, sizeof(packet), 0, sa, &from.len);
	if (n > 17) {
		answer(&b, slice_of(packet, (size_t)n));
		(void)!sendto(sock, buf_str(&b), b.len, 0, sa, from.len);
	}
	buf_clear(&b);
}

static struct loop_watch *serve(void)
{
	struct net_addr a;
	struct loop_watch *w;
	(void)net_addr_parse(SLICE_LIT("127.0.0.1"), 0, &a);
	sock = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	if (bind(sock, (struct sockaddr *)&a.ss, a.len) != 0 || net_local(sock, &a) != 0) {
		bail_out("no port");
	}
	port = net_addr_port(&a);
	w = loop_watch_new(sock, ready, NULL);
	loop_watch_set(w, LOOP_READ);
	return w;
}

/* ---- Lookups. ---- */

struct found {
	struct hosts h;
	struct buf encoded;
	bool done;
};

static void found(void *arg, const struct hosts *h)
{
	struct found *f = arg;
	hosts_encode(&f->encoded, h);
	f->done = true;
}

static const struct hosts *look_up(struct engine *e, const char *name, unsigned flags)
{
	static struct found f = {.encoded = BUF_INIT(HOSTS_ENCODED_MAX)};
	struct lookup *l = NULL;
	int64_t deadline = clock_mono() + 20 * CLOCK_SEC;
	f.done = false;
	buf_reset(&asked);
	lookup_new(e, slice_str(name), flags, 25, found, &f, &l);
	while (!f.done && clock_mono() < deadline) {
		loop_once(clock_mono() + CLOCK_SEC);
	}
	is_int(hosts_decode(buf_slice(&f.encoded), &f.h), 0, "%s: a sound answer", name);
	return &f.h;
}

static void configure(struct engine *e, const char *options)
{
	struct resolvconf rc;
	struct buf b = BUF_INIT(1000);
	buf_add_fmt(&b, "nameserver [127.0.0.1]:%u\nsearch one.test two.test\noptions %s\n", port,
		options);
	resolvconf_parse(buf_slice(&b), &rc);
	(void)engine_configure(e, &rc);
	buf_clear(&b);
}

/* How a single host can be known. */
static void test_tlsa(struct engine *e)
{
	static const struct {
		const char *name;
		unsigned flags;
		bool secure;
		enum tlsa_status tlsa;
		const char *base, *data;
	} rows[] = {
		{"h.good.test", 0, true, TLSA_FOUND, "h.good.test", "abc"},
		{"none.test", 0, true, TLSA_NONE, "", ""},
		{"nodata.test", 0, true, TLSA_NONE, "", ""},
		{"weak.test", 0, true, TLSA_INSECURE, "", ""},
		{"fails.test", 0, true, TLSA_FAILED, "fails.test", ""},
		{"plain.test", NO_TLSA_SEEN, false, TLSA_INSECURE, "", ""},
		{"plain.test", LOOKUP_FORCE, false, TLSA_FOUND, "plain.test", "abc"},
		{"half.test", 0, true, TLSA_FOUND, "half.test", "abc"},
		{"alias.test", 0, true, TLSA_FOUND, "real.test", "real"},
		{"own.test", 0, true, TLSA_FOUND, "own.test", "own"},
		{"ill.test", 0, true, TLSA_FAILED, "fails.test", ""},
		{"leaves.test", 0, false, TLSA_FOUND, "leaves.test", "leaves"},
		{"outside.test", 0, false, TLSA_INSECURE, "", ""},
		{"unsure.test", 0, false, TLSA_FAILED, "unsure.test", ""},
		{"apart.test", 0, true, TLSA_NONE, "", ""},
		{"apart2.test", 0, false, TLSA_INSECURE, "", ""},
		{"name.test", 0, true, TLSA_FOUND, "name.test", "name"},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		unsigned more = rows[i].flags == NO_TLSA_SEEN ? 0 : rows[i].flags;
		const struct hosts *h =
			look_up(e, rows[i].name, LOOKUP_IPV4 | LOOKUP_IPV6 | LOOKUP_TLSA | more);
		struct slice rest = h->host[0].records, data;
		is_int(h->status, DNS_OK, "%s", rows[i].name);
		is_int(h->host[0].secure, rows[i].secure, "its addresses are secure");
		is_int(h->host[0].tlsa, rows[i].tlsa, "what is known of it");
		is_slice(h->host[0].base, rows[i].base, "the base domain");
		(void)host_record_next(&rest, &data);
		is_slice(data, rows[i].data, "the record");
		if (rows[i].flags == NO_TLSA_SEEN) {
			ok(strstr(buf_str(&asked), "TLSA") == NULL, "no TLSA record is asked for");
		}
	}
}

static void test_facts(struct engine *e)
{
	const struct hosts *h =
		look_up(e, "good.test", LOOKUP_MX | LOOKUP_IPV4 | LOOKUP_IPV6 | LOOKUP_TLSA);
	ok(h->mx && h->mx_secure && h->best == 10 && h->n == 2, "secure MX records");
	is_int(h->ttl, 300, "the shortest time of all");
	ok(h->mx_ttl == 500 && h->host[0].ttl == 400 && h->host[0].tlsa_ttl == 300, "each its own");
	h = look_up(e, "mxalias.test", LOOKUP_MX | LOOKUP_IPV4 | LOOKUP_TLSA);
	is_slice(h->mx_name, "good.test", "MX records behind an alias");
	h = look_up(e, "plainmx.test", LOOKUP_MX | LOOKUP_IPV4 | LOOKUP_TLSA);
	ok(!h->mx_secure && h->host[0].tlsa == TLSA_FOUND, "insecure ones, a secure host");
	h = look_up(e, "apart.test", LOOKUP_IPV4);
	is_int(h->ttl, 7, "an alias from another packet: its time counts");
	is_slice(h->host[0].canonical, "none.test", "and where it leads");
	h = look_up(e, "huge.test", LOOKUP_IPV4);
	is_int(h->ttl, 0, "a time beyond 31 bits is none");
	h = look_up(e, "number.test", LOOKUP_MX | LOOKUP_IPV4 | LOOKUP_IPV6 | LOOKUP_TLSA);
	ok(h->status == DNS_OK && h->n == 1 && memcmp(h->addr[0].addr, "\177\0\0\11", 4) == 0,
		"an address where the name of a host should be");
	is_int(h->host[0].tlsa, TLSA_INSECURE, "it has no records");
	h = look_up(e, "number.test", LOOKUP_MX | LOOKUP_IPV6);
	is_int(h->status, DNS_NXDOMAIN, "of a family that is not wanted");
	h = look_up(e, "h.good.test", LOOKUP_IPV4 | LOOKUP_IPV6);
	is_int(h->host[0].tlsa, TLSA_INSECURE, "without DANE nothing is looked for");
}

static unsigned count_family(const struct hosts *h, int family)
{
	unsigned n = 0;
	for (unsigned i = 0; i < h->n; i++) {
		n += h->addr[i].family == family;
	}
	return n;
}

static void test_balance(struct engine *e)
{
	const struct hosts *h = look_up(e, "many.test", LOOKUP_IPV4 | LOOKUP_IPV6);
	is_int(count_family(h, AF_INET), HOST_ADDRS / 2, "too many of both: half of them IPv4");
	is_int(count_family(h, AF_INET6), HOST_ADDRS / 2, "half IPv6");
	h = look_up(e, "mostly.test", LOOKUP_IPV4 | LOOKUP_IPV6);
	is_int(count_family(h, AF_INET), HOST_ADDRS - 1, "too many IPv4");
	is_int(count_family(h, AF_INET6), 1, "the only IPv6 has its place");
	h = look_up(e, "many.test", LOOKUP_IPV4);
	is_int(h->n, HOST_ADDRS, "one family");
}

static void test_search(struct engine *e)
{
	static const struct {
		const char *name;
		unsigned flags;
		enum dns_status status;
		const char *host;
	} rows[] = {
		{"short", 0, DNS_NXDOMAIN, ""},
		{"short", LOOKUP_DEFNAMES, DNS_OK, "short.one.test"},
		{"other", LOOKUP_DEFNAMES, DNS_NXDOMAIN, ""},
		{"other", LOOKUP_SEARCH, DNS_OK, "other.two.test"},
		{"bare", LOOKUP_SEARCH, DNS_OK, "bare"},
		{"bare", LOOKUP_MX | LOOKUP_SEARCH, DNS_OK, "bare"},
		{"short", LOOKUP_MX | LOOKUP_SEARCH, DNS_OK, "short.one.test"},
		{"nobody", LOOKUP_SEARCH, DNS_NXDOMAIN, ""},
		{"sick", LOOKUP_SEARCH, DNS_TEMP, ""},
		{"none.test", LOOKUP_SEARCH, DNS_OK, "none.test"},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct hosts *h = look_up(e, rows[i].name, LOOKUP_IPV4 | rows[i].flags);
		is_int(h->status, rows[i].status, "%s", rows[i].name);
		if (h->status == DNS_OK) {
			is_slice(h->host[0].name, rows[i].host, "found as");
		}
	}
}

static void test_trust(struct engine *e)
{
	ok(engine_has_validated(e), "something was validated");
	configure(e, "timeout:20 attempts:1");
	ok(!engine_has_validated(e), "by servers that are not trusted nothing is");
	const struct hosts *h = look_up(e, "good.test", LOOKUP_MX | LOOKUP_IPV4 | LOOKUP_TLSA);
	ok(!h->mx_secure && !h->host[0].secure && h->host[0].tlsa == TLSA_INSECURE,
		"the AD bit does not count");
	configure(e, "timeout:20 attempts:1 trust-ad");
	h = look_up(e, "good.test", LOOKUP_MX | LOOKUP_IPV4 | LOOKUP_TLSA);
	ok(h->mx_secure && h->host[0].tlsa == TLSA_FOUND, "with trust it does: not from the cache");
}

int main(void)
{
	log_set_level(LOG_LEVEL_NONE);
	loop_init();
	struct loop_watch *w = serve();
	struct engine *e = engine_new(1000, 100 * CLOCK_SEC);
	configure(e, "timeout:20 attempts:1 trust-ad");
	test_tlsa(e);
	test_facts(e);
	test_balance(e);
	test_search(e);
	test_trust(e);
	engine_free(&e);
	loop_watch_free(&w);
	(void)close(sock);
	return done_testing();
}
