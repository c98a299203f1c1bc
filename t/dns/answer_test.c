/* SPDX-License-Identifier: ISC */
#include "t/tap.h"

#include "dns/answer.h"
#include "dns/cache.h"
#include "util/clock.h"
#include "util/err.h"

static void test_roundtrip(void)
{
	struct buf b = BUF_INIT(DNS_ANSWER_MAX);
	struct dns_answer a;
	struct dns_record r;

	dns_answer_begin(&b, DNS_NODATA, true, 77, SLICE_LIT("a.example"));
	is_int(dns_answer_parse(buf_slice(&b), &a), 0, "without records");
	is_int(a.status, DNS_NODATA, "no data");
	dns_answer_add(&b, DNS_MX, 10, SLICE_LIT("m.example"));
	dns_answer_add(&b, DNS_A, 0, SLICE_LIT("abcd"));
	is_int(dns_answer_parse(buf_slice(&b), &a), 0, "with records");
	is_int(a.status, DNS_OK, "ok");
	is_int(a.ttl, 77, "ttl");
	ok(a.secure, "secure");
	is_slice(a.name, "a.example", "name");
	ok(dns_answer_next(&a, &r) && r.type == DNS_MX && r.pref == 10, "MX");
	is_slice(r.data, "m.example", "its host");
	ok(dns_answer_next(&a, &r) && r.type == DNS_A, "A");
	ok(!dns_answer_next(&a, &r), "end");
	for (size_t cut = 0; cut < b.len; cut++) {
		if (dns_answer_parse(slice_first(buf_slice(&b), cut), &a) != ERR_SYNTAX) {
			fail("cut at %zu is taken", cut);
		}
	}
	dns_answer_add(&b, DNS_AAAA, 0, SLICE_LIT("abcd"));
	is_int(dns_answer_parse(buf_slice(&b), &a), ERR_SYNTAX, "AAAA of 4 bytes");
	dns_answer_begin(&b, DNS_NODATA, false, 1, SLICE_NONE);
	dns_answer_add(&b, DNS_MX, 1, SLICE_LIT("a\nb"));
	is_int(dns_answer_parse(buf_slice(&b), &a), ERR_SYNTAX, "a line end in a name");
	dns_answer_begin(&b, DNS_NODATA, false, 1, SLICE_NONE);
	for (int i = 0; i < 500; i++) {
		dns_answer_add(&b, DNS_A, 0, SLICE_LIT("abcd"));
	}
	is_int(dns_answer_parse(buf_slice(&b), &a), 0, "many records");
	is_int(a.count, DNS_RECORDS_MAX, "are cut");
	buf_clear(&b);
}

/* Records that a filter takes out. */
static void test_drop(void)
{
	struct buf b = BUF_INIT(DNS_ANSWER_MAX);
	struct dns_answer a, walk;
	struct dns_record r;
	unsigned n = 0;

	dns_answer_begin(&b, DNS_NODATA, false, 1, SLICE_NONE);
	for (int i = 0; i < DNS_RECORDS_MAX; i++)
		dns_answer_add(&b, DNS_MX, (uint16_t)i, SLICE_LIT("m.example"));
	is_int(dns_answer_parse(buf_slice(&b), &a), 0, "an answer");
	for (unsigned i = 0; i < DNS_RECORDS_MAX; i++)
		if (i != 70)
			dns_answer_drop(&a, i);
	dns_answer_drop(&a, DNS_RECORDS_MAX);
	walk = a;
	ok(dns_answer_next(&walk, &r) && r.pref == 70, "what is not dropped is seen");
	ok(!dns_answer_next(&walk, &r) && r.data.len == 0, "and nothing else");
	is_int(dns_answer_parse(buf_slice(&b), &a), 0, "the bytes are as they were");
	while (dns_answer_next(&a, &r))
		n++;
	is_int(n, DNS_RECORDS_MAX, "all of them");
	buf_clear(&b);
}

static void add(struct dns_cache *c, const char *name, uint32_t ttl, int64_t now)
{
	struct buf b = BUF_INIT(DNS_ANSWER_MAX);
	struct dns_question q = {.type = DNS_A};
	buf_add_str(&b, "");
	memcpy(q.name, name, strlen(name) + 1);
	dns_answer_begin(&b, DNS_NXDOMAIN, false, ttl, slice_str(name));
	dns_cache_add(c, &q, buf_slice(&b), now);
	buf_clear(&b);
}

static void add_large(struct dns_cache *c, const char *name, size_t bytes, int64_t now)
{
	struct buf b = BUF_INIT(DNS_ANSWER_MAX), data = BUF_INIT(DNS_ANSWER_MAX);
	struct dns_question q = {.type = DNS_A};
	while (data.len < bytes) {
		buf_add_char(&data, 'x');
	}
	memcpy(q.name, name, strlen(name) + 1);
	dns_answer_begin(&b, DNS_NODATA, false, 60, slice_str(name));
	dns_answer_add(&b, DNS_TXT, 0, buf_slice(&data));
	dns_cache_add(c, &q, buf_slice(&b), now);
	buf_clear(&b);
	buf_clear(&data);
}

static int left(struct dns_cache *c, enum dns_type type, const char *name, int64_t now)
{
	struct buf b = BUF_INIT(DNS_ANSWER_MAX);
	struct dns_question q = {.type = type};
	struct dns_answer a = {0};
	memcpy(q.name, name, strlen(name) + 1);
	int r = dns_cache_get(c, &q, now, &b);
	int ttl = r == 0 && dns_answer_parse(buf_slice(&b), &a) == 0 ? (int)a.ttl : r;
	buf_clear(&b);
	return ttl;
}

static void test_cache(void)
{
	struct dns_cache *c = dns_cache_new(3);
	int64_t now = 1000 * CLOCK_SEC;

	is_int(left(c, DNS_A, "a", now), ERR_NOT_FOUND, "empty");
	add(c, "a", 60, now);
	is_int(left(c, DNS_A, "a", now), 60, "found");
	is_int(left(c, DNS_MX, "a", now), ERR_NOT_FOUND, "of another type not");
	is_int(left(c, DNS_A, "a", now + 50 * CLOCK_SEC), 10, "the time counts down");
	is_int(left(c, DNS_A, "a", now + 60 * CLOCK_SEC), ERR_NOT_FOUND, "and ends");
	is_int(dns_cache_count(c), 0, "and it is gone");
	add(c, "a", 0, now);
	is_int(dns_cache_count(c), 0, "nothing is kept for no time");
	add(c, "a", UINT32_MAX, now);
	is_int(left(c, DNS_A, "a", now), DNS_TTL_MAX, "nor for ever");
	add(c, "b", 60, now);
	add(c, "c", 60, now);
	is_int(left(c, DNS_A, "a", now), DNS_TTL_MAX, "a is used");
	add(c, "d", 60, now);
	is_int(dns_cache_count(c), 3, "the limit holds");
	is_int(left(c, DNS_A, "b", now), ERR_NOT_FOUND, "b was used least recently");
	is_int(left(c, DNS_A, "a", now), DNS_TTL_MAX, "a stays");
	add(c, "a", 5, now);
	is_int(left(c, DNS_A, "a", now), 5, "a newer answer replaces");
	dns_cache_empty(c);
	is_int(dns_cache_count(c), 0, "emptied");
	dns_cache_free(&c);
}

/* Few large answers are as much as many small ones. */
static void test_bytes(void)
{
	struct dns_cache *c = dns_cache_new(8);
	int64_t now = 1000 * CLOCK_SEC;
	add(c, "a", 60, now);
	add(c, "b", 60, now);
	add_large(c, "c", 3000, now);
	is_int(dns_cache_count(c), 3, "there is room");
	add_large(c, "d", 3000, now);
	is_int(dns_cache_count(c), 1, "no room for two large ones");
	is_int(left(c, DNS_A, "d", now), 60, "the newest stays");
	ok(dns_cache_bytes(c) <= 8 * (size_t)DNS_CACHE_ENTRY_BYTES, "within the limit");
	add_large(c, "e", 8000, now);
	is_int(left(c, DNS_A, "e", now), ERR_NOT_FOUND, "one that is larger than all is not kept");
	dns_cache_empty(c);
	is_int(dns_cache_bytes(c), 0, "emptied");
	dns_cache_free(&c);
}

static void test_weaken(void)
{
	struct buf b = BUF_INIT(DNS_ANSWER_MAX);
	struct dns_answer a;
	dns_answer_begin(&b, DNS_NODATA, true, 60, SLICE_LIT("a"));
	dns_answer_weaken(&b, true, 90);
	ok(dns_answer_parse(buf_slice(&b), &a) == 0 && a.secure && a.ttl == 60, "as it was");
	dns_answer_weaken(&b, false, 30);
	ok(dns_answer_parse(buf_slice(&b), &a) == 0 && !a.secure && a.ttl == 30, "weaker");
	dns_answer_weaken(&b, true, 90);
	ok(dns_answer_parse(buf_slice(&b), &a) == 0 && !a.secure && a.ttl == 30, "never stronger");
	buf_clear(&b);
}

int main(void)
{
	test_roundtrip();
	test_drop();
	test_cache();
	test_bytes();
	test_weaken();
	return done_testing();
}
