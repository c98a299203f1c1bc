/* SPDX-License-Identifier: ISC */
/* Patterns of gateq's filters, and what its views make of a reason. */
#include "tools/gateq_filter.h"
#include "tools/gateq_summary.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "t/tap.h"
#include "util/err.h"

static void test_addresses(void)
{
	static const struct {
		const char *pattern, *address;
		bool want;
	} rows[] = {
		{"<>", "", true},
		{"<>", "a@b.test", false},
		{"a@b.test", "A@B.Test", true},
		{"a@b.test", "aa@b.test", false},
		{"a@", "a@b.test", true},
		{"a@", "b@a.test", false},
		{"a@", "a@b@c.test", false},
		{"@b.test", "x@b.test", true},
		{"@b.test", "x@sub.b.test", false},
		{"b.test", "x@b.test", true},
		{"b.test", "x@ab.test", false},
		{"b.test", "x@sub.b.test", false},
		{".b.test", "x@sub.b.test", true},
		{".b.test", "x@b.test", false},
		{"@.b.test", "x@sub.b.test", true},
		{"root", "root", true},
		{"root", "root@b.test", false},
		{"*@b.test", "x@b.test", true},
		{"*@*b.test", "x@sub.b.test", true},
		{"a?@b.test", "ab@b.test", true},
		{"@[192.0.2.1]", "x@[192.0.2.1]", true},
		{"@", "x", true},
		{"@b.test", "", false},
		{"b.test", "\"a@b.test\"@c.test", false},
		{"c.test", "\"a@b.test\"@c.test", true},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		is_int(gateq_filter_address(rows[i].pattern, rows[i].address), rows[i].want,
			"%s and %s", rows[i].pattern, rows[i].address);
}

static void test_sites(void)
{
	static const struct gateq_rcpt to = {.address = "u@b.test",
		.orig_to = "",
		.transport = "smtp",
		.nexthop = "[127.0.0.1]:26",
		.site = "mx1.c.test,mx2.c.test",
		.status = "4.4.1",
		.host = "",
		.reason = "connect to x[127.0.0.1]:26: Connection refused"};
	static const struct {
		const char *site;
		bool want;
	} rows[] = {{"b.test", true}, {"B.TEST", true}, {"@b.test", true}, {"c.test", false},
		{"[127.0.0.1]:26", true}, {"[127.0.0.1]", false}, {"mx2.c.test", true},
		{"mx1.c.test,mx2.c.test", true}, {"mx3.c.test", false}, {"*.c.test", true},
		{".test", true}, {"[127.*", true}};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct gateq_filter f = {.site = rows[i].site};

		is_int(gateq_filter_rcpt(&f, &to), rows[i].want, "site %s", rows[i].site);
	}
	ok(gateq_filter_rcpt(&(struct gateq_filter){.reason = "REFUSED"}, &to), "a reason");
	ok(!gateq_filter_rcpt(&(struct gateq_filter){.reason = "timed out"}, &to), "another");
	ok(!gateq_filter_rcpt(&(struct gateq_filter){.reason = "refused", .site = "c.test"}, &to),
		"both must hold");
}

/* Of one and the same recipient. */
static void test_message(void)
{
	struct gateq_message m = {.id = "ABCDEF", .queue = "deferred", .arrival = 1000};

	m.sender = (char[]){"s@a.test"};
	gateq_message_add(&m, &(struct gateq_rcpt_parts){.address = SLICE_LIT("x@b.test"),
				      .reason = SLICE_LIT("refused")});
	gateq_message_add(&m, &(struct gateq_rcpt_parts){.address = SLICE_LIT("y@c.test"),
				      .reason = SLICE_LIT("greylisted")});
	ok(gateq_filter_message(
		   &(struct gateq_filter){.recipient = "b.test", .reason = "refused"}, &m),
		"a recipient with its reason");
	ok(!gateq_filter_message(
		   &(struct gateq_filter){.recipient = "b.test", .reason = "greylisted"}, &m),
		"and with another's");
	ok(gateq_filter_message(&(struct gateq_filter){.queue = "hold,deferred"}, &m), "queues");
	ok(!gateq_filter_message(&(struct gateq_filter){.queue = "hold, active"}, &m), "others");
	ok(gateq_filter_queue("incoming", "active"), "incoming is active");
	ok(gateq_filter_message(&(struct gateq_filter){.older = 1001}, &m), "older");
	ok(!gateq_filter_message(&(struct gateq_filter){.older = 1000}, &m), "younger");
	ok(!gateq_filter_message(&(struct gateq_filter){.sender = "<>"}, &m), "a sender");
	m.sender = NULL;
	gateq_message_clear(&m);
}

static void test_times(void)
{
	static const struct {
		const char *text;
		int64_t want; /* seconds; -1: bad */
	} rows[] = {{"90", 90}, {"90s", 90}, {"15m", 900}, {"2h", 7200}, {"3d", 259200},
		{"1w", 604800}, {"", -1}, {"h", -1}, {"1y", -1}, {"-1h", -1}, {"1.5h", -1},
		{"99999999999h", -1}};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int64_t when, now = INT64_C(1800000000) * CLOCK_SEC;
		int err = gateq_filter_older(rows[i].text, now, &when);

		if (rows[i].want < 0)
			is_int(err, ERR_SYNTAX, "\"%s\" is no time", rows[i].text);
		else
			is_int((now - when) / CLOCK_SEC, rows[i].want, "%s ago", rows[i].text);
	}
}

static void test_reasons(void)
{
	static const struct {
		const char *reason, *want;
	} rows[] = {
		{"connect to mx.example.com[192.0.2.1]:25: Connection refused",
			"connect: Connection refused"},
		{"host mx1.example.com[192.0.2.1] said: 450 4.2.0 <u@example.com>: Recipient "
		 "address "
		 "rejected: Greylisted for 300 seconds (in reply to RCPT TO command)",
			"said: 450 4.2.0 <*>: Recipient address rejected: Greylisted for 300 "
			"seconds "
			"(in reply to RCPT TO command)"},
		{"host mx1.example.com[2001:db8::1] said: 451 4.7.1 id=4A5B6C7D8E later (in reply "
		 "to "
		 "end of DATA command)",
			"said: 451 4.7.1 id=* later (in reply to end of DATA command)"},
		{"lost connection with mx.example.com[192.0.2.1] while receiving the initial "
		 "server "
		 "greeting",
			"lost connection while receiving the initial server greeting"},
		{"conversation with mx.example.com[192.0.2.1] timed out while sending RCPT TO",
			"conversation timed out while sending RCPT TO"},
		{"Host or domain name not found. Name service error for name=a1.test type=MX: Host "
		 "not found, try again",
			"Host or domain name not found. Name service error for name=* type=MX: "
			"Host not "
			"found, try again"},
		{"user u1@x.test is away", "user * is away"},
		{"host says nothing", "host says nothing"},
		{"", ""},
		{"odd < and [ brackets", "odd < and [ brackets"},
	};
	struct buf out = BUF_INIT(4096);

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		buf_reset(&out);
		gateq_reason(&out, slice_str(rows[i].reason));
		is_str(buf_str(&out), rows[i].want, "reason %zu", i);
	}
	buf_clear(&out);
}

/* Ages in minutes, youngest first, and what a filter of the age leaves of them. */
static void test_ages(void)
{
	static const int64_t minutes[] = {1500, 4, 39, 5, 40, 4, 1279, 1280};
	static const struct {
		int64_t older; /* minutes; -1: none */
		const char *want;
	} rows[] = {{-1, "< 5m 2, < 10m 1, < 40m 1, < 80m 1, < 1280m 1, >= 1280m 2, "},
		{39, "< 80m 1, < 1280m 1, >= 1280m 2, "}, {1500, ""}};
	const int64_t minute = 60 * CLOCK_SEC, now = 1000000 * minute;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct gateq_filter f = {
			.older = rows[i].older < 0 ? 0 : now - rows[i].older * minute};
		struct gateq_summary *s = gateq_summary_new(GATEQ_AGE, &f, now);
		struct buf got = BUF_INIT(4096);
		FILE *out = stdout;
		static char text[16384];
		char name[32];
		unsigned long long n;

		memset(text, 0, sizeof(text));
		f.is_set = f.older != 0;
		for (size_t k = 0; k < sizeof(minutes) / sizeof(minutes[0]); k++) {
			struct gateq_message m = {.id = "ABCDEF",
				.queue = "deferred",
				.arrival = now - minutes[k] * minute};

			m.sender = (char[]){"s@a.test"};
			gateq_message_add(
				&m, &(struct gateq_rcpt_parts){.address = SLICE_LIT("x@b.test")});
			gateq_summary_add(s, &m);
			m.sender = NULL;
			gateq_message_clear(&m);
		}
		stdout = fmemopen(text, sizeof(text) - 1, "w");
		gateq_summary_print(s, true, 0);
		fclose(stdout);
		stdout = out;
		for (const char *line = text; line != NULL; line = strchr(line + 1, '\n'))
			if (sscanf(line, " {\"age\": \"%31[^\"]\", \"messages\": %llu", name, &n) ==
				2)
				(void)buf_add_fmt(&got, "%s %llu, ", name, n);
		is_str(buf_str(&got), rows[i].want, "ages, older than %lld",
			(long long)rows[i].older);
		buf_clear(&got);
		gateq_summary_free(&s);
	}
}

int main(void)
{
	test_addresses();
	test_sites();
	test_message();
	test_times();
	test_reasons();
	test_ages();
	return done_testing();
}
