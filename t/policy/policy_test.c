/* SPDX-License-Identifier: ISC */
#include "t/tap.h"

#include <stdio.h>

#include "t/policy/stage.h"

static const char *const common[] = {"myhostname=mx.test", "mydomain=test",
	"mydestination=local.test", "mynetworks=192.0.2.0/24", "relay_domains=relay.test",
	"alias_maps=", "local_recipient_maps=inline:{user=1}", "compatibility_level=3.6"};
enum { COMMON = sizeof(common) / sizeof(common[0]) };

static struct policy *load(
	const char *relay, const char *recipient, const char *more, struct buf *why)
{
	const char *overrides[COMMON + 4] = {0};
	char a[300], b[300];

	(void)snprintf(a, sizeof(a), "smtpd_relay_restrictions=%s", relay);
	(void)snprintf(b, sizeof(b), "smtpd_recipient_restrictions=%s", recipient);
	memcpy(overrides, common, sizeof(common));
	overrides[COMMON] = a;
	overrides[COMMON + 1] = b;
	overrides[COMMON + 2] = more;
	return stage_load(overrides, why);
}

static const struct {
	const char *relay, *recipient, *more;
	const char *client, *login, *to;
	int code; /* 0: permitted */
	const char *text, *restriction;
	uint64_t size; /* SIZE= */
} rows[] = {
	{"reject_unauth_destination", "", NULL, "198.51.100.1", "", "user@local.test", 0, "", ""},
	{"reject_unauth_destination", "", NULL, "198.51.100.1", "", "x@far.test", 554,
		"<x@far.test>: Relay access denied", "reject_unauth_destination"},
	{"permit_mynetworks reject_unauth_destination", "", NULL, "192.0.2.1", "", "x@far.test", 0,
		"", ""},
	{"permit_sasl_authenticated, reject", "", NULL, "198.51.100.1", "joe", "x@far.test", 0, "",
		""},
	{"permit_sasl_authenticated, reject", "", NULL, "198.51.100.1", "", "user@local.test", 554,
		"<user@local.test>: Recipient address rejected: Access denied", "reject"},
	{"defer_unauth_destination", "", NULL, "198.51.100.1", "", "a%far.test@local.test", 454,
		"<a%far.test@local.test>: Relay access denied", "defer_unauth_destination"},
	{"permit", "defer", NULL, "192.0.2.1", "", "user@local.test", 450,
		"<user@local.test>: Recipient address rejected: Try again later", "defer"},
	{"reject_unauth_destination", "", NULL, "192.0.2.1", "", "none@local.test", 550,
		"<none@local.test>: Recipient address rejected: User unknown in local recipient "
		"table",
		"reject_unlisted_recipient"},
	{"reject_unauth_destination", "", NULL, "192.0.2.1", "", "postmaster", 0, "", ""},
	{"reject", "", "smtpd_safe_clients=192.0.2.1", "192.0.2.1", "", "x@far.test", 0, "", ""},
	{"reject_unauth_destination", "", "smtpd_safe_clients=fail:x", "192.0.2.1", "",
		"user@local.test", 451, "<user@local.test>: Temporary lookup failure", ""},
	{"permit_mynetworks, reject_unauth_destination", "", "mynetworks=fail:x", "192.0.2.1", "",
		"x@far.test", 451, "<x@far.test>: Temporary lookup failure", "permit_mynetworks"},
	{"reject_unauth_destination", "", "relay_domains=fail:x", "192.0.2.1", "", "x@far.test",
		451, "<x@far.test>: Temporary lookup failure", "reject_unauth_destination"},
	{"permit_mynetworks, reject_unauth_destination", "", "outgoing_message_size_limit=1000",
		"192.0.2.1", "", "x@far.test", 552,
		"<x@far.test>: Recipient address rejected: Message size exceeds fixed limit", "",
		1001},
	{"permit_mynetworks, reject_unauth_destination", "", "outgoing_message_size_limit=1000",
		"192.0.2.1", "", "x@far.test", 0, "", "", 1000},
	{"permit_mynetworks, reject_unauth_destination", "", "outgoing_message_size_limit=1000",
		"192.0.2.1", "", "x@relay.test", 0, "", "", 1001},
	{"permit_mynetworks, reject_unauth_destination", "", "outgoing_message_size_limit=1000",
		"198.51.100.1", "", "x@far.test", 554, "<x@far.test>: Relay access denied",
		"reject_unauth_destination", 1001},
};

static int evaluate(struct policy *p, const struct policy_facts *f, struct policy_verdict *v)
{
	return stage_check(p, POLICY_RCPT, f, v);
}

static struct policy_facts facts_of(size_t i)
{
	return (struct policy_facts){.client_name = SLICE_LIT("unknown"),
		.client_addr = slice_str(rows[i].client),
		.login = slice_str(rows[i].login),
		.recipient = slice_str(rows[i].to),
		.size = rows[i].size};
}

static void test_rows(void)
{
	struct buf why = BUF_INIT(65536);
	struct policy_verdict v;

	policy_verdict_init(&v);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct policy *p = load(rows[i].relay, rows[i].recipient, rows[i].more, &why);
		struct policy_facts f = facts_of(i);

		if (!ok(p != NULL, "row %zu: lists", i)) {
			diag("%s", buf_str(&why));
			continue;
		}
		is_int(evaluate(p, &f, &v), 0, "at once");
		is_int(stage_code(&v), rows[i].code, "code");
		is_slice(buf_slice(&v.text), rows[i].text, "text");
		is_str(v.restriction, rows[i].restriction, "who decided");
		policy_close(&p);
	}
	policy_verdict_clear(&v);
	buf_clear(&why);
}

/* The same answer when every table is late, after as many runs as it takes. */
static void test_later(void)
{
	struct buf why = BUF_INIT(65536);
	struct policy_verdict v;
	struct policy *p = load("permit_mynetworks, reject_unauth_destination", "",
		"relay_domains=later:inline:{{relay.test=1}}", &why);
	struct policy_facts f = {
		.client_addr = SLICE_LIT("198.51.100.1"), .recipient = SLICE_LIT("x@relay.test")};

	policy_verdict_init(&v);
	ok(p != NULL, "late tables");
	ok(evaluate(p, &f, &v) > 0, "it had to wait");
	ok(stage_wakes() > 0, "and was woken");
	is_int(v.action, POLICY_PERMIT, "a relay domain is found late");
	ok(v.own, "and is ours");
	policy_close(&p);
	p = load("reject", "", "smtpd_safe_clients=later:inline:{{198.51.100.1=1}}", &why);
	f.recipient = SLICE_LIT("x@far.test");
	ok(evaluate(p, &f, &v) > 0, "a list of safe clients may be late too");
	is_int(v.action, POLICY_PERMIT, "and is found");
	policy_close(&p);
	p = load("permit_mynetworks, reject_unauth_destination", "",
		"relay_domains=later:inline:{{relay.test=1}}", &why);
	ok(evaluate(p, &f, &v) > 0, "it had to wait");
	is_int(v.code, 554, "another is not");
	is_int(policy_check(p, POLICY_RCPT, &f, NULL, &v), 0, "who cannot wait gets an answer");
	is_int(v.code, 451, "which is neither yes nor no");
	policy_close(&p);
	policy_verdict_clear(&v);
	buf_clear(&why);
}

static void test_refused_lists(void)
{
	static const char *const lists[][2] = {
		{"", ""},
		{"permit", "permit_mynetworks"},
		{"permit_mynetworks, permit_sasl_authenticated", ""},
	};
	struct buf why = BUF_INIT(65536);

	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		struct policy *p = load(lists[i][0], lists[i][1], NULL, &why);
		ok(p == NULL, "lists %zu would be an open relay", i);
		ok(slice_find_str(buf_slice(&why), "specify at least one") > 0, "and it says so");
	}
	buf_clear(&why);
}

int main(void)
{
	stage_open(NULL);
	test_rows();
	test_later();
	test_refused_lists();
	stage_close();
	return done_testing();
}
