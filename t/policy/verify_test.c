/* SPDX-License-Identifier: ISC */
#include "t/tap.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "conf/conf.h"
#include "net/loop.h"
#include "policy/policy.h"
#include "policy/tally_client.h"
#include "policy/verify.h"
#include "util/err.h"
#include "util/wire.h"

/* Address verification, with a tally of our own: what is known, what is probed, what is said. */

static char dir[] = "/tmp/gp-policy-verify-XXXXXX";

/* What tally has under "probe:" and "probing:", and the one question that is open. */
static struct {
	struct buf known;
	bool is_away, is_probing;
	tally_answer *answer;
	void *arg;
	bool asks_probing;
	int probes, cancelled;
	char sender[100], address[100], put[100];
} tally = {.known = {.limit = TALLY_VALUE_MAX}};

struct tally_question *tally_cache_get(struct slice key, tally_answer *answer, void *arg)
{
	tally.answer = answer;
	tally.arg = arg;
	tally.asks_probing = slice_starts(key, "probing:");
	if (!tally.asks_probing)
		is_slice(key, TALLY_PROBE_KEY "user@far.test", "the key is folded");
	return (struct tally_question *)&tally;
}

void tally_cache_put(struct slice key, struct slice value, int64_t until)
{
	(void)value;
	ok(until > clock_real(), "it ends in the future");
	(void)snprintf(tally.put, sizeof(tally.put), "%.*s", SLICE_FMT(key));
	tally.is_probing = true;
}

void tally_cancel(struct tally_question **q)
{
	tally.cancelled += *q != NULL;
	*q = NULL;
}

static bool send_probe(struct slice sender, struct slice address)
{
	tally.probes++;
	(void)snprintf(tally.sender, sizeof(tally.sender), "%.*s", SLICE_FMT(sender));
	(void)snprintf(tally.address, sizeof(tally.address), "%.*s", SLICE_FMT(address));
	return true;
}

static bool answer_one(void)
{
	struct tally_reply reply = {.is_known = !tally.is_away};
	tally_answer *answer = tally.answer;

	tally.answer = NULL;
	if (answer == NULL)
		return false;
	if (tally.asks_probing) {
		reply.is_found = tally.is_probing && !tally.is_away;
	} else if (!tally.is_away && tally.known.len > 0) {
		reply.is_found = true;
		reply.value = buf_slice(&tally.known);
	}
	answer(tally.arg, &reply);
	return true;
}

static void wake(void *arg)
{
	(void)arg;
}

enum { GOOD, UNSURE, BAD, NOTHING };
enum { HOUR = 3600, DAY = 86400 };

static const struct {
	const char *list, *more;
	int known; /* GOOD, … */
	int64_t age;
	bool is_probing, is_away;
	int code;
	const char *status, *text;
	int probes;
} rows[] = {
	{"recipient", NULL, GOOD, HOUR, false, false, 0, "", "", 0},
	{"sender", NULL, GOOD, HOUR, false, false, 0, "", "", 0},
	{"recipient", NULL, GOOD, 8 * DAY, false, false, 0, "", "", 1},
	{"recipient", NULL, GOOD, 8 * DAY, true, false, 0, "", "", 0},
	{"recipient", NULL, GOOD, 32 * DAY, false, false, 450, "4.1.1",
		"<User@far.test>: Recipient address rejected: unverified address: Address "
		"verification in progress",
		1},
	{"recipient", NULL, NOTHING, 0, false, false, 450, "4.1.1",
		"<User@far.test>: Recipient address rejected: unverified address: Address "
		"verification in progress",
		1},
	{"recipient", NULL, NOTHING, 0, true, false, 450, "4.1.1",
		"<User@far.test>: Recipient address rejected: unverified address: Address "
		"verification in progress",
		0},
	{"sender", NULL, NOTHING, 0, false, true, 450, "4.1.7",
		"<User@far.test>: Sender address rejected: unverified address: Address "
		"verification in progress",
		1},
	{"recipient", NULL, BAD, HOUR, false, false, 450, "4.1.1",
		"<User@far.test>: Recipient address rejected: unverified address: why", 0},
	{"recipient", "unverified_recipient_reject_code=550", BAD, HOUR, false, false, 550, "5.1.1",
		"<User@far.test>: Recipient address rejected: undeliverable address: why", 0},
	{"sender", "unverified_sender_reject_code=550", BAD, 4 * HOUR, false, false, 550, "5.1.7",
		"<User@far.test>: Sender address rejected: undeliverable address: why", 1},
	{"sender", "unverified_sender_reject_reason=no such place", BAD, HOUR, false, false, 450,
		"4.1.7",
		"<User@far.test>: Sender address rejected: unverified address: no such place", 0},
	{"recipient", NULL, BAD, 4 * DAY, false, false, 450, "4.1.1",
		"<User@far.test>: Recipient address rejected: unverified address: Address "
		"verification in progress",
		1},
	{"recipient", "address_verify_negative_cache=no", BAD, HOUR, false, false, 450, "4.1.1",
		"<User@far.test>: Recipient address rejected: unverified address: Address "
		"verification in progress",
		1},
	{"recipient", "unverified_recipient_reject_code=550", UNSURE, HOUR, false, false, 450,
		"4.1.1", "<User@far.test>: Recipient address rejected: unverified address: why", 0},
	{"recipient", "unverified_recipient_defer_code=250", UNSURE, HOUR, false, false, 0, "", "",
		0},
	{"recipient", "unverified_recipient_defer_code=250", NOTHING, 0, false, false, 0, "", "",
		1},
	{"recipient", "unverified_recipient_tempfail_action=defer", NOTHING, 0, false, false, 450,
		"4.1.1",
		"<User@far.test>: Recipient address rejected: unverified address: Address "
		"verification in progress",
		1},
};

static struct policy *load(const char *list, const char *more)
{
	char restriction[100];
	const char *overrides[] = {"myhostname=mx.test", "mydestination=", "alias_maps=",
		"smtpd_relay_restrictions=check_recipient_access static:OK, reject",
		"address_verify_poll_count=1", restriction, more, NULL};
	struct buf why = BUF_INIT(65536);
	struct policy *p = NULL;

	(void)snprintf(restriction, sizeof(restriction),
		"smtpd_recipient_restrictions=reject_unverified_%s", list);
	if (conf_load(dir, overrides, &why) != 0)
		bail_out("settings: %s", buf_str(&why));
	(void)policy_open(&why, &p);
	buf_clear(&why);
	return p;
}

static void know(int known, int64_t age)
{
	buf_reset(&tally.known);
	if (known == NOTHING)
		return;
	wire_u8(&tally.known, (uint8_t)known);
	wire_u64(&tally.known, (uint64_t)(clock_real() - age * CLOCK_SEC));
	(void)buf_add_str(&tally.known, "why");
}

static void test_row(size_t i)
{
	bool is_sender = strcmp(rows[i].list, "sender") == 0;
	struct slice address = SLICE_LIT("User@far.test"), other = SLICE_LIT("other@far.test");
	struct policy_facts f = {.client_addr = SLICE_LIT("192.0.2.1"),
		.sender = is_sender ? address : other,
		.recipient = is_sender ? other : address};
	struct policy *p = load(rows[i].list, rows[i].more);
	struct policy_verdict v;
	struct later l;

	know(rows[i].known, rows[i].age);
	tally.is_away = rows[i].is_away;
	tally.is_probing = rows[i].is_probing;
	tally.probes = 0;
	policy_verdict_init(&v);
	later_init(&l, 10, wake, NULL);
	ok(p != NULL, "row %zu", i);
	while (policy_check(p, POLICY_RCPT, &f, &l, &v) == ERR_LATER)
		while (answer_one())
			;
	is_int(v.action == POLICY_REJECT ? v.code : 0, rows[i].code, "code");
	is_str(v.status, rows[i].status, "status");
	is_slice(buf_slice(&v.text), rows[i].text, "text");
	is_int(tally.probes, rows[i].probes, "probes");
	if (tally.probes > 0) {
		is_str(tally.sender, "double-bounce", "from whom");
		is_str(tally.address, "User@far.test", "to whom");
		is_str(tally.put, "probing:user@far.test", "and it is noted");
	}
	later_clear(&l);
	policy_close(&p);
	policy_verdict_clear(&v);
}

/* The session ends while tally is asked. */
static void test_withdrawn(void)
{
	struct policy_facts f = {.client_addr = SLICE_LIT("192.0.2.1"),
		.sender = SLICE_LIT("a@b.test"),
		.recipient = SLICE_LIT("user@far.test")};
	struct policy *p = load("recipient", NULL);
	struct policy_verdict v;
	struct later l;

	policy_verdict_init(&v);
	later_init(&l, 10, wake, NULL);
	is_int(policy_check(p, POLICY_RCPT, &f, &l, &v), ERR_LATER, "it waits");
	tally.cancelled = 0;
	later_clear(&l);
	is_int(tally.cancelled, 1, "the question is withdrawn");
	is_int(policy_check(p, POLICY_RCPT, &f, NULL, &v), 0, "who cannot wait gets an answer");
	is_slice(buf_slice(&v.text),
		"<user@far.test>: Recipient address rejected: address verification problem",
		"which is no permission");
	policy_close(&p);
	policy_verdict_clear(&v);
}

static void test_sender(void)
{
	struct buf sender = BUF_INIT(1000), first = BUF_INIT(1000);
	struct policy *p = load("recipient", "address_verify_sender_ttl=1h");
	struct slice origin = SLICE_LIT("mx.test");

	verify_sender(&first);
	ok(slice_starts(buf_slice(&first), "double-bounce") && first.len > 14,
		"a sender that changes: %s", buf_str(&first));
	(void)buf_add_fmt(&sender, "%s@mx.test", buf_str(&first));
	ok(verify_is_sender(buf_slice(&sender), origin), "is ours");
	ok(!verify_is_sender(SLICE_LIT("double-bounce@mx.test"), origin), "without time it is not");
	policy_close(&p);
	p = load("recipient", "address_verify_sender=probe@z.test");
	ok(verify_is_sender(SLICE_LIT("Probe@Z.test"), origin), "in any case");
	ok(!verify_is_sender(SLICE_LIT("probe@mx.test"), origin), "in its own domain alone");
	policy_close(&p);
	p = load("recipient", "address_verify_sender=<>");
	verify_sender(&sender);
	is_int(sender.len, 0, "the null sender");
	ok(!verify_is_sender(SLICE_NONE, origin), "is nobody's address");
	policy_close(&p);
	buf_clear(&sender);
	buf_clear(&first);
}

int main(void)
{
	char path[64];

	if (mkdtemp(dir) == NULL)
		bail_out("mkdtemp");
	(void)snprintf(path, sizeof(path), "%s/main.cf", dir);
	FILE *f = fopen(path, "w");
	if (f == NULL || fclose(f) != 0)
		bail_out("%s", path);
	loop_init();
	verify_set_prober(send_probe);
	for (size_t i = 0; i < COUNT_OF(rows); i++)
		test_row(i);
	test_withdrawn();
	test_sender();
	buf_clear(&tally.known);
	(void)unlink(path);
	(void)rmdir(dir);
	return done_testing();
}
