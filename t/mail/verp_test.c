/* SPDX-License-Identifier: ISC */
#include "mail/mailclass.h"
#include "mail/verp.h"
#include "t/tap.h"
#include "util/err.h"

static void test_sender(void)
{
	static const struct {
		const char *delimiters, *sender, *recipient, *want;
	} rows[] = {
		{"+=", "owner@list.test", "user@dom.test", "owner+user=dom.test@list.test"},
		{"--", "a.b@c", "x+y@z", "a.b-x+y-z@c"},
		{"+=", "owner@list.test", "user", "owner+user@list.test"},
		{"+=", "", "user@dom.test", ""},
		{"+=", "local", "user@dom.test", "local"},
		{"+=", "a b@c", "d@e", "a b+d=e@c"},
		{"+", "owner@list.test", "user@dom.test", "owner@list.test"},
	};
	struct buf out = BUF_INIT(2000);
	static char longer[1100];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		is_int(verp_sender(&out, slice_str(rows[i].delimiters), slice_str(rows[i].sender),
			       slice_str(rows[i].recipient)),
			0, "%s to %s", rows[i].sender, rows[i].recipient);
		is_str(buf_str(&out), rows[i].want, "has this sender");
	}
	memset(longer, 'x', sizeof(longer) - 1);
	is_int(verp_sender(&out, SLICE_LIT("+="), SLICE_LIT("a@b"), slice_str(longer)), ERR_LIMIT,
		"too long");
	is_str(buf_str(&out), "a@b", "keeps its sender");
	buf_clear(&out);
}

static void test_delimiters(void)
{
	ok(verp_is_good(SLICE_LIT("+="), SLICE_LIT("-=+")), "two that are allowed");
	ok(!verp_is_good(SLICE_LIT("+a"), SLICE_LIT("-=+")), "one that is not");
	ok(!verp_is_good(SLICE_LIT("+"), SLICE_LIT("-=+")), "one");
	ok(!verp_is_good(SLICE_LIT("+=-"), SLICE_LIT("-=+")), "three");
	ok(!verp_is_good(SLICE_NONE, SLICE_LIT("-=+")), "none");
}

static void test_classes(void)
{
	static const struct {
		const char *reply;
		bool is_refusal;
		unsigned want;
	} rows[] = {
		{"250 2.0.0 Ok", false, 0},
		{"354 End data", false, 0},
		{"500 5.5.2 Error: bad syntax", false, MAIL_CLASS_PROTOCOL},
		{"503 5.5.1 Error: need MAIL command", false, MAIL_CLASS_PROTOCOL},
		{"554 5.7.1 <x>: Relay access denied", true, MAIL_CLASS_POLICY},
		{"450 4.7.1 <x>: Greylisted", true, MAIL_CLASS_POLICY},
		{"550 5.1.1 <x>: User unknown", true, MAIL_CLASS_BOUNCE},
		{"452 4.3.1 Insufficient system storage", false, MAIL_CLASS_RESOURCE},
		{"452 4.5.3 Error: too many recipients", false, MAIL_CLASS_POLICY},
		{"451 4.3.0 Error: queue file write error", false, MAIL_CLASS_RESOURCE},
		{"451 4.3.0 Temporary lookup failure", true, MAIL_CLASS_DATA},
		{"451 4.3.5 Server configuration error", true, MAIL_CLASS_SOFTWARE},
		{"421 4.7.0 mx Error: too many errors", false, MAIL_CLASS_PROTOCOL},
		{"552 5.3.4 Message size exceeds fixed limit", false, MAIL_CLASS_BOUNCE},
		{"5", false, 0},
		{"", true, 0},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		is_int(mail_class_of_reply(slice_str(rows[i].reply), rows[i].is_refusal),
			rows[i].want, "class of: %s", rows[i].reply);
	is_int(mail_classes(SLICE_LIT("resource, Software other")),
		MAIL_CLASS_RESOURCE | MAIL_CLASS_SOFTWARE, "a list");
	is_int(mail_classes(SLICE_LIT("bounce")), MAIL_CLASS_BOUNCE | MAIL_CLASS_2BOUNCE,
		"bounce has 2bounce in it");
	is_int(mail_classes(SLICE_LIT("2bounce")), MAIL_CLASS_2BOUNCE, "but not the other way");
}

int main(void)
{
	test_sender();
	test_delimiters();
	test_classes();
	return done_testing();
}
