/* SPDX-License-Identifier: ISC */
#include "t/tap.h"

#include <sys/socket.h>

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

/* "10 4 a": preference, family, host. */
static void put(struct hosts *h, unsigned pref, int family, const char *host)
{
	struct host_addr *a = &h->addr[h->n++];
	*a = (struct host_addr){.pref = (uint16_t)pref,
		.family = family == 4 ? AF_INET : AF_INET6,
		.host = slice_str(host)};
	a->addr[0] = (uint8_t)h->n;
	h->status = DNS_OK;
}

static const char *order(const struct hosts *h)
{
	static struct buf b = BUF_INIT(1000);
	buf_reset(&b);
	for (unsigned i = 0; i < h->n; i++) {
		buf_add_fmt(&b, "%s%.*s%d", i > 0 ? " " : "", SLICE_FMT(h->addr[i].host),
			h->addr[i].family == AF_INET ? 4 : 6);
	}
	return buf_str(&b);
}

static void fill(struct hosts *h)
{
	*h = (struct hosts){.best = 10};
	put(h, 20, 4, "c");
	put(h, 10, 6, "a");
	put(h, 10, 6, "b");
	put(h, 10, 4, "b");
	put(h, 30, 4, "d");
}

static void test_order(void)
{
	static struct hosts h;
	fill(&h);
	hosts_order(&h, false, 0, true, 0);
	is_str(order(&h), "a6 b6 b4 c4 d4", "by preference");
	fill(&h);
	hosts_order(&h, false, AF_INET, true, 0);
	is_str(order(&h), "b4 a6 b6 c4 d4", "IPv4 first");
	fill(&h);
	hosts_order(&h, false, 0, true, 2);
	is_str(order(&h), "a6 b4", "both families within the limit");
	fill(&h);
	hosts_order(&h, false, 0, false, 2);
	is_str(order(&h), "a6 b6", "not asked for");
	bool seen_a = false, seen_b = false;
	for (int i = 0; i < 200; i++) {
		fill(&h);
		hosts_order(&h, true, 0, false, 0);
		seen_a = seen_a || slice_eq_str(h.addr[0].host, "a");
		seen_b = seen_b || slice_eq_str(h.addr[0].host, "b");
		if (h.addr[3].pref != 20 || h.addr[4].pref != 30) {
			fail("random order breaks preference");
		}
	}
	ok(seen_a && seen_b, "equal ones by chance");
}

static bool is_host(const struct host_addr *a, void *arg)
{
	return slice_eq_str(a->host, arg);
}

static void test_self(void)
{
	static struct hosts h;
	char a[] = "a", c[] = "c", x[] = "x";
	fill(&h);
	is_int(hosts_cut_self(&h, is_host, x), 0, "none is our own");
	is_int(h.n, 5, "all stay");
	is_int(hosts_cut_self(&h, is_host, c), 0, "we are a backup");
	is_str(order(&h), "a6 b6 b4", "only better ones stay");
	is_int(hosts_cut_self(&h, is_host, a), ERR_EXISTS, "we are the best");
	fill(&h);
	h.best = 5;
	is_int(hosts_cut_self(&h, is_host, a), ERR_NOT_FOUND, "a better one has no address");
}

static void test_encode(void)
{
	static struct hosts h, g;
	struct buf b = BUF_INIT(DNS_ANSWER_MAX);
	fill(&h);
	h.ttl = 9;
	h.mx = true;
	h.name = SLICE_LIT("x.example");
	h.type = DNS_AAAA;
	hosts_encode(&b, &h);
	is_int(hosts_decode(buf_slice(&b), &g), 0, "decoded");
	is_str(order(&g), order(&h), "the same hosts");
	ok(g.mx && g.ttl == 9 && g.best == 10 && g.type == DNS_AAAA, "the same facts");
	is_slice(g.name, "x.example", "the same name");
	for (size_t cut = 0; cut < b.len; cut++) {
		if (hosts_decode(slice_first(buf_slice(&b), cut), &g) != ERR_SYNTAX) {
			fail("cut at %zu is taken", cut);
		}
	}
	buf_clear(&b);
}

int main(void)
{
	test_parse();
	test_order();
	test_self();
	test_encode();
	return done_testing();
}
