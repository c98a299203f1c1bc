/* SPDX-License-Identifier: ISC */
#include "t/tap.h"

#include <sys/socket.h>

#include "dns/hosts.h"
#include "util/err.h"

/* "10 4 a": preference, family, host. */
static void put(struct hosts *h, unsigned pref, int family, const char *host)
{
	uint8_t addr[16] = {(uint8_t)(h->n + 1)};
	int at = -1;
	for (unsigned i = 0; i < h->hosts; i++) {
		at = slice_eq_str(h->host[i].name, host) ? (int)i : at;
	}
	if (at < 0) {
		at = hosts_add_host(h, slice_str(host), (uint16_t)pref);
	}
	hosts_add_addr(h, at, family == 4 ? AF_INET : AF_INET6, addr);
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

/* What is known of hosts beside their addresses. */
static void fill_facts(struct hosts *h, struct buf *records)
{
	fill(h);
	h->ttl = 9;
	h->mx = h->mx_secure = true;
	h->mx_name = SLICE_LIT("y.example");
	h->mx_ttl = 70;
	h->name = SLICE_LIT("x.example");
	h->type = DNS_AAAA;
	host_record_add(records, SLICE_LIT("\3\1\1abc"));
	host_record_add(records, SLICE_NONE);
	h->host[1].secure = true;
	h->host[1].canonical = SLICE_LIT("real.example");
	h->host[1].ttl = 60;
	h->host[1].tlsa = TLSA_FOUND;
	h->host[1].base = SLICE_LIT("real.example");
	h->host[1].tlsa_ttl = 50;
	h->host[1].records = buf_slice(records);
	h->host[1].count = 2;
	h->host[2].tlsa = TLSA_FAILED;
	int none = hosts_add_host(h, SLICE_LIT("e"), 40);
	h->host[none].status = DNS_NXDOMAIN;
	h->host[none].failed = DNS_A;
}

static void test_encode(void)
{
	static struct hosts h, g;
	struct buf b = BUF_INIT(DNS_ANSWER_MAX), records = BUF_INIT(100);
	struct slice rest, data;
	fill_facts(&h, &records);
	hosts_encode(&b, &h);
	is_int(hosts_decode(buf_slice(&b), &g), 0, "decoded");
	is_str(order(&g), order(&h), "the same addresses");
	ok(g.mx && g.mx_secure && g.ttl == 9 && g.best == 10 && g.type == DNS_AAAA,
		"the same facts");
	is_slice(g.name, "x.example", "the same name");
	is_slice(g.mx_name, "y.example", "behind its aliases");
	is_int(g.hosts, 5, "the same hosts");
	ok(g.host[1].secure && g.host[1].tlsa == TLSA_FOUND && g.host[1].count == 2 &&
			g.host[1].ttl == 60 && g.host[1].tlsa_ttl == 50,
		"what a host is known by");
	is_slice(g.host[1].canonical, "real.example", "its name behind aliases");
	is_slice(g.host[0].canonical, "c", "without aliases the same");
	is_int(g.host[2].tlsa, TLSA_FAILED, "a failure stays one");
	ok(g.host[4].status == DNS_NXDOMAIN && g.host[4].failed == DNS_A, "one without address");
	rest = g.host[1].records;
	ok(host_record_next(&rest, &data) && slice_eq(data, SLICE_LIT("\3\1\1abc")), "a record");
	ok(host_record_next(&rest, &data) && data.len == 0, "an empty one");
	ok(!host_record_next(&rest, &data), "no more");
	for (size_t cut = 0; cut < b.len; cut++) {
		if (hosts_decode(slice_first(buf_slice(&b), cut), &g) != ERR_SYNTAX) {
			fail("cut at %zu is taken", cut);
		}
	}
	buf_clear(&b);
	buf_clear(&records);
}

/* Each of them is one mistake in what fill_facts makes. */
static void test_bad(void)
{
	static struct hosts h, g;
	struct buf b = BUF_INIT(DNS_ANSWER_MAX), records = BUF_INIT(100);
	fill_facts(&h, &records);
	for (int i = 0; i < 7; i++) {
		static struct hosts bad;
		bad = h;
		switch (i) {
		case 0: bad.host[1].count = 0; break;
		case 1: bad.host[1].count = 3; break;
		case 2: bad.host[0].tlsa = TLSA_FOUND; break;
		case 3: bad.host[1].base = SLICE_NONE; break;
		case 4: bad.addr[2].at = 5; break;
		case 5: bad.host[1].name = SLICE_LIT("a\nb"); break;
		case 6: bad.host[1].tlsa = (enum tlsa_status)4; break;
		}
		hosts_encode(&b, &bad);
		is_int(hosts_decode(buf_slice(&b), &g), ERR_SYNTAX, "mistake %d", i);
		ok(g.n == 0 && g.hosts == 0 && g.status == DNS_TEMP, "nothing is left of it");
	}
	buf_clear(&b);
	buf_clear(&records);
}

int main(void)
{
	test_order();
	test_self();
	test_encode();
	test_bad();
	return done_testing();
}
