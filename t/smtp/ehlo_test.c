/* SPDX-License-Identifier: ISC */
#include "t/tap.h"

#include "smtp/ehlo.h"
#include "util/err.h"

static const struct {
	const char *in;
	unsigned discard, features;
	uint64_t size;
	const char *name, *auth;
} cases[] = {
	{"250 mx.example\r\n", 0, 0, 0, "mx.example", ""},
	{"250-mx.example hello\r\n250-size 1000\r\n250 pipelining\r\n", 0,
		EHLO_SIZE | EHLO_PIPELINING, 1000, "mx.example", ""},
	{"250-mx\r\n250-SIZE\r\n250 DSN\r\n", 0, EHLO_SIZE | EHLO_DSN, 0, "mx", ""},
	{"250-mx\r\n250-SIZE 1x\r\n250 8BITMIME\r\n", 0, EHLO_SIZE | EHLO_8BITMIME, 0, "mx", ""},
	{"250-mx\r\n250-SMTPUTF8\r\n250 CHUNKING\r\n", EHLO_CHUNKING, EHLO_SMTPUTF8, 0, "mx", ""},
	{"250-mx\r\n250 AUTH plain Login\r\n", 0, EHLO_AUTH, 0, "mx", "PLAIN LOGIN"},
	{"250-mx\r\n250 AUTH=plain login\r\n", 0, EHLO_AUTH, 0, "mx", "PLAIN LOGIN"},
	{"250-mx\r\n250-AUTH=PLAIN X\r\n250 AUTH PLAIN\r\n", 0, EHLO_AUTH, 0, "mx", "PLAIN"},
	{"250-mx\r\n250 AUTH PLAIN\r\n", EHLO_AUTH, 0, 0, "mx", ""},
	{"250-mx\r\n250-\r\n250-X-ODD 1 2\r\n250 ENHANCEDSTATUSCODES\r\n", 0,
		EHLO_ENHANCEDSTATUSCODES, 0, "mx", ""},
	{"250-mx\r\n250-silent-discard\r\n250 SMTPUTF8x\r\n", 0, 0, 0, "mx", ""},
	{"250-\r\n250 STARTTLS\r\n", 0, EHLO_STARTTLS, 0, "", ""},
};

static void test_cases(void)
{
	struct reply r;
	static struct ehlo e;

	reply_init(&r);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		size_t used;

		reply_reset(&r);
		is_int(reply_feed(&r, slice_str(cases[i].in), &used), 0, "case %zu", i);
		ehlo_parse(&r, cases[i].discard, &e);
		is_int(e.features, cases[i].features, "features");
		is_int(e.size, cases[i].size, "size");
		is_str(e.name, cases[i].name, "name");
		is_str(e.auth, cases[i].auth, "mechanisms");
	}
	reply_clear(&r);
}

/* RFC 2852, 3: the least time, perhaps with more behind a comma. */
static const struct {
	const char *in;
	unsigned discard, features;
	uint64_t min;
} deliver_by[] = {
	{"250-mx\r\n250 DELIVERBY\r\n", 0, EHLO_DELIVERBY, 0},
	{"250-mx\r\n250 deliverby 240\r\n", 0, EHLO_DELIVERBY, 240},
	{"250-mx\r\n250 DELIVERBY 240,more\r\n", 0, EHLO_DELIVERBY, 240},
	{"250-mx\r\n250 DELIVERBY ,more\r\n", 0, EHLO_DELIVERBY, 0},
	{"250-mx\r\n250 DELIVERBY x\r\n", 0, EHLO_DELIVERBY, 0},
	{"250-mx\r\n250 DELIVERBY 240\r\n", EHLO_DELIVERBY, 0, 0},
};

static void test_deliver_by(void)
{
	struct reply r;
	static struct ehlo e;

	reply_init(&r);
	for (size_t i = 0; i < sizeof(deliver_by) / sizeof(deliver_by[0]); i++) {
		size_t used;

		reply_reset(&r);
		is_int(reply_feed(&r, slice_str(deliver_by[i].in), &used), 0, "case %zu", i);
		ehlo_parse(&r, deliver_by[i].discard, &e);
		is_int(e.features, deliver_by[i].features, "DELIVERBY");
		is_int(e.min_by, deliver_by[i].min, "the least time");
	}
	reply_clear(&r);
}

static void test_bounds(void)
{
	struct reply r;
	static struct ehlo e;
	struct buf in = BUF_INIT(100000);
	size_t used;

	reply_init(&r);
	(void)buf_add_str(&in, "250-");
	for (int i = 0; i < 1000; i++)
		(void)buf_add_char(&in, 'n');
	(void)buf_add_str(&in, "\r\n250-AUTH");
	for (int i = 0; i < 200; i++)
		(void)buf_add_str(&in, " MECHANISM");
	(void)buf_add_str(&in, "\r\n250 DSN\r\n");
	is_int(reply_feed(&r, buf_slice(&in), &used), 0, "long lines");
	ehlo_parse(&r, 0, &e);
	is_str(e.name, "", "a name that does not fit is none");
	ok(strlen(e.auth) < sizeof(e.auth), "mechanisms are bounded");
	is_int(e.features, EHLO_AUTH | EHLO_DSN, "the rest is read");
	buf_clear(&in);
	reply_clear(&r);
}

int main(void)
{
	test_cases();
	test_deliver_by();
	test_bounds();
	is_int(ehlo_keywords(SLICE_LIT("pipelining, Chunking\tdsn,,what silent-discard")),
		EHLO_PIPELINING | EHLO_CHUNKING | EHLO_DSN | EHLO_SILENT_DISCARD, "a discard list");
	is_int(ehlo_keywords(SLICE_LIT("")), 0, "an empty one");
	return done_testing();
}
