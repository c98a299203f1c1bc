/* SPDX-License-Identifier: ISC */
/* Each restriction, each action of an access table, each stage: settings and facts to a verdict. */
#include "t/tap.h"

#include <stdio.h>

#include "t/policy/stage.h"
#include "util/mem.h"
#include "util/wire.h"

/* Settings of a row: lines "name=value", over those that all have. */
static struct policy *load(const char *settings, struct buf *why)
{
	static const char *const common[] = {"myhostname=mx.test", "mydomain=test",
		"mydestination=local.test", "mynetworks=192.0.2.0/24", "relay_domains=relay.test",
		"alias_maps=", "local_recipient_maps=inline:{{user=1},{other=1}}",
		"inet_interfaces=192.0.2.99", "compatibility_level=3.6",
		"smtpd_relay_restrictions=", "smtpd_sasl_auth_enable=yes",
		"smtpd_recipient_restrictions=reject_unauth_destination"};
	const char *overrides[40] = {0};
	char *lines[20] = {0};
	struct slice rest = slice_str(settings), line;
	struct policy *p = NULL;
	size_t n = sizeof(common) / sizeof(common[0]), count = 0;

	memcpy(overrides, common, sizeof(common));
	while (slice_token(&rest, "\n", &line) && count < 20)
		overrides[n++] = lines[count++] = slice_dup(line);
	p = stage_load(overrides, why);
	while (count > 0)
		mem_free(lines[--count]);
	return p;
}

enum {
	LOGIN = 1,
	PIPELINING = 2,
	MANY = 4,
	NO_NAME = 8,
	BAD_NAME = 16,
	NO_HELO = 32,
	NO_SENDER = 64
};

struct row {
	const char *name, *settings;
	enum policy_stage stage;
	const char *client, *helo, *sender, *recipient;
	unsigned flags;
	const char *want;  /* "554 5.7.1 text", or empty: permitted */
	const char *notes; /* "word: text (value)", lines */
};

#define LIST(stage, text) "smtpd_" stage "_restrictions=" text
#define FROM "192.0.2.1", "client.test", "s@far.test", "user@local.test"
#define OUTSIDE "198.51.100.1", "client.test", "s@far.test", "user@local.test"
#define IS_SENDER "<s@far.test>: Sender address rejected: "
#define IS_CLIENT "<client.test[192.0.2.1]>: Client host rejected: "
#define IS_USER "<user@local.test>: Recipient address rejected: "

static const struct row rows[] = {
	/* Unconditional ones, and what each list calls what it is about. */
	{"nothing", "", POLICY_RCPT, OUTSIDE, 0, "", ""},
	{"client reject", LIST("client", "reject"), POLICY_RCPT, FROM, 0,
		"554 5.7.1 " IS_CLIENT "Access denied", ""},
	{"helo reject", LIST("helo", "reject"), POLICY_RCPT, FROM, 0,
		"554 5.7.1 <client.test>: Helo command rejected: Access denied", ""},
	{"helo reject without HELO", LIST("helo", "reject"), POLICY_RCPT, FROM, NO_HELO, "", ""},
	{"sender defer", LIST("sender", "defer"), POLICY_RCPT, FROM, 0,
		"450 4.3.2 " IS_SENDER "Try again later", ""},
	{"data reject", LIST("data", "reject"), POLICY_DATA, FROM, 0,
		"554 5.7.1 <DATA>: Data command rejected: Access denied", ""},
	{"end of data reject", LIST("end_of_data", "reject"), POLICY_END_OF_DATA, FROM, 0,
		"554 5.7.1 <END-OF-MESSAGE>: End-of-data rejected: Access denied", ""},
	{"etrn reject", LIST("etrn", "reject"), POLICY_ETRN, FROM, 0,
		"554 5.7.1 <etrn.test>: Etrn command rejected: Access denied", ""},
	{"etrn after client", LIST("client", "reject") "\n" LIST("etrn", "permit"), POLICY_ETRN,
		FROM, 0, "554 5.7.1 " IS_CLIENT "Access denied", ""},
	{"codes", LIST("client", "reject") "\nreject_code=421", POLICY_RCPT, FROM, 0,
		"421 4.7.1 " IS_CLIENT "Access denied", ""},
	{"a code that is none", LIST("client", "reject") "\nreject_code=250", POLICY_RCPT, FROM, 0,
		"450 4.7.1 Service unavailable",
		"warning: SMTP reply code configuration error: 250 5.7.1 " IS_CLIENT
		"Access denied\n"},
	{"soft_bounce", LIST("client", "reject") "\nsoft_bounce=yes", POLICY_RCPT, FROM, 0,
		"454 4.7.1 " IS_CLIENT "Access denied", ""},
	{"OK ends its own list", LIST("client", "permit") "\n" LIST("sender", "reject"),
		POLICY_RCPT, FROM, 0, "554 5.7.1 " IS_SENDER "Access denied", ""},
	{"permit ends the list", LIST("client", "permit, reject"), POLICY_RCPT, FROM, 0, "", ""},
	/* Not delayed: each at its own command. */
	{"client at connect", "smtpd_delay_reject=no\n" LIST("client", "reject"), POLICY_CONNECT,
		FROM, NO_HELO | NO_SENDER, "554 5.7.1 " IS_CLIENT "Access denied", ""},
	{"not at RCPT then", "smtpd_delay_reject=no\n" LIST("client", "reject"), POLICY_RCPT, FROM,
		0, "", ""},
	{"a deferral is carried", "smtpd_delay_reject=no", POLICY_RCPT, FROM, MANY,
		"450 4.7.0 <x>: carried", ""},
	/* Provisional decisions. */
	{"defer_if_permit", LIST("sender", "defer_if_permit"), POLICY_RCPT, FROM, 0,
		"450 4.7.0 " IS_SENDER "defer_if_permit requested", ""},
	{"defer_if_permit and reject", LIST("sender", "defer_if_permit, reject"), POLICY_RCPT, FROM,
		0, "554 5.7.1 " IS_SENDER "Access denied", ""},
	{"defer_if_permit goes on to the recipient's list",
		LIST("client", "defer_if_permit, permit"), POLICY_RCPT, "192.0.2.1", "h.test",
		"s@far.test", "x@far.test", 0, "554 5.7.1 <x@far.test>: Relay access denied", ""},
	{"the first reason is kept",
		LIST("client", "defer_if_permit") "\n" LIST("sender", "defer_if_permit"),
		POLICY_RCPT, FROM, 0, "450 4.7.0 " IS_CLIENT "defer_if_permit requested", ""},
	{"defer_if_reject", LIST("sender", "defer_if_reject, reject"), POLICY_RCPT, FROM, 0,
		"450 4.7.0 " IS_SENDER "defer_if_reject requested", ""},
	{"defer_if_reject and permit", LIST("sender", "defer_if_reject, permit"), POLICY_RCPT, FROM,
		0, "", ""},
	{"defer_if_reject holds in its list",
		LIST("client", "defer_if_reject") "\n" LIST("sender", "reject"), POLICY_RCPT, FROM,
		0, "554 5.7.1 " IS_SENDER "Access denied", ""},
	{"defer_if_reject leaves 4xx", LIST("sender", "defer_if_reject, defer"), POLICY_RCPT, FROM,
		0, "450 4.3.2 " IS_SENDER "Try again later", ""},
	/* warn_if_reject. */
	{"warn_if_reject", LIST("client", "warn_if_reject, reject"), POLICY_RCPT, FROM, 0, "",
		"reject_warning: 554 5.7.1 " IS_CLIENT "Access denied\n"},
	{"for the next one alone", LIST("client", "warn_if_reject, reject, defer"), POLICY_RCPT,
		FROM, 0, "450 4.3.2 " IS_CLIENT "Try again later",
		"reject_warning: 554 5.7.1 " IS_CLIENT "Access denied\n"},
	{"for a whole class",
		LIST("client", "warn_if_reject, c") "\nsmtpd_restriction_classes=c\n"
						    "c=reject, defer",
		POLICY_RCPT, FROM, 0, "",
		"reject_warning: 554 5.7.1 " IS_CLIENT "Access denied\n"
		"reject_warning: 450 4.3.2 " IS_CLIENT "Try again later\n"},
	{"and its deferrals", LIST("client", "warn_if_reject, defer_if_permit"), POLICY_RCPT, FROM,
		0, "", "reject_warning: 450 4.7.0 " IS_CLIENT "defer_if_permit requested\n"},
	{"not for a failed table", LIST("client", "warn_if_reject, check_client_access fail:x"),
		POLICY_RCPT, FROM, 0, "451 4.3.5 " IS_CLIENT "Server configuration error",
		"warning: fail:x lookup error for \"client.test\"\n"},
	{"a table alone", LIST("sender", "inline:{{far.test=DEFER}}"), POLICY_RCPT, FROM, 0,
		"450 4.7.1 " IS_SENDER "Access denied", ""},
	/* Classes. */
	{"class", LIST("sender", "c, reject") "\nsmtpd_restriction_classes=c\nc=permit",
		POLICY_RCPT, FROM, 0, "", ""},
	{"class that goes on",
		LIST("sender", "c, reject") "\nsmtpd_restriction_classes=c,d\nc=d\n"
					    "d=permit_sasl_authenticated",
		POLICY_RCPT, FROM, 0, "554 5.7.1 " IS_SENDER "Access denied", ""},
	{"class without end", LIST("sender", "c") "\nsmtpd_restriction_classes=c\nc=c", POLICY_RCPT,
		FROM, 0, "451 4.3.5 Server configuration error",
		"warning: c: unreasonable nesting of restriction classes\n"},
	/* The client. */
	{"mynetworks", LIST("relay", "permit_mynetworks, reject"), POLICY_RCPT, FROM, 0, "", ""},
	{"not mynetworks", LIST("relay", "permit_mynetworks, reject"), POLICY_RCPT, OUTSIDE, 0,
		"554 5.7.1 " IS_USER "Access denied", ""},
	{"logged in", LIST("relay", "permit_sasl_authenticated, reject"), POLICY_RCPT, OUTSIDE,
		LOGIN, "", ""},
	{"own address", LIST("relay", "permit_inet_interfaces, reject"), POLICY_RCPT, "192.0.2.99",
		"h", "s@far.test", "x@far.test", 0, "554 5.7.1 <x@far.test>: Relay access denied",
		""},
	{"own address refused", LIST("client", "reject_inet_interfaces"), POLICY_RCPT, "192.0.2.99",
		"h", "s@far.test", "user@local.test", 0,
		"554 5.7.1 <client.test[192.0.2.99]>: Client host rejected: Access denied", ""},
	{"another's address", LIST("client", "reject_inet_interfaces"), POLICY_RCPT, FROM, 0, "",
		""},
	{"no certificate", LIST("relay", "permit_tls_all_clientcerts, reject"), POLICY_RCPT, FROM,
		0, "554 5.7.1 " IS_USER "Access denied", ""},
	{"no certificate at all",
		LIST("relay", "permit_tls_clientcerts, reject") "\nrelay_clientcerts=static:x",
		POLICY_RCPT, FROM, 0, "554 5.7.1 " IS_USER "Access denied", ""},
	{"plain text", LIST("client", "reject_plaintext_session"), POLICY_RCPT, FROM, 0,
		"450 4.7.1 Session encryption is required", ""},
	{"unknown client", LIST("client", "reject_unknown_client_hostname"), POLICY_RCPT, FROM,
		NO_NAME, "450 4.7.25 Client host rejected: cannot find your hostname, [192.0.2.1]",
		""},
	{"unknown client, own code",
		LIST("client", "reject_unknown_client_hostname") "\nunknown_client_reject_code=550",
		POLICY_RCPT, FROM, NO_NAME,
		"550 5.7.25 Client host rejected: cannot find your hostname, [192.0.2.1]", ""},
	{"known client", LIST("client", "reject_unknown_client_hostname"), POLICY_RCPT, FROM, 0, "",
		""},
	{"a name that is another's", LIST("client", "reject_unknown_client_hostname"), POLICY_RCPT,
		FROM, BAD_NAME,
		"450 4.7.25 Client host rejected: cannot find your hostname, [192.0.2.1]", ""},
	{"is a name",
		LIST("client", "reject_unknown_reverse_client_hostname, "
			       "reject_unknown_forward_client_hostname"),
		POLICY_RCPT, FROM, BAD_NAME, "", ""},
	{"no name at all", LIST("client", "reject_unknown_reverse_client_hostname"), POLICY_RCPT,
		FROM, NO_NAME,
		"450 4.7.1 Client host rejected: cannot find your reverse hostname, [192.0.2.1]",
		""},
	{"pipelining", LIST("data", "reject_unauth_pipelining"), POLICY_DATA, FROM, PIPELINING,
		"503 5.5.0 <DATA>: Data command rejected: Improper use of SMTP command pipelining",
		""},
	/* HELO. */
	{"invalid HELO", LIST("helo", "reject_invalid_helo_hostname"), POLICY_RCPT, "192.0.2.1",
		"a..b", "s@far.test", "user@local.test", 0,
		"501 5.5.2 <a..b>: Helo command rejected: Invalid name", ""},
	{"a word is a name", LIST("helo", "reject_invalid_helo_hostname"), POLICY_RCPT, "192.0.2.1",
		"localhost", "s@far.test", "user@local.test", 0, "", ""},
	{"an address in brackets",
		LIST("helo", "reject_invalid_helo_hostname, "
			     "reject_non_fqdn_helo_hostname"),
		POLICY_RCPT, "192.0.2.1", "[192.0.2.1]", "s@far.test", "user@local.test", 0, "",
		""},
	{"a bad one", LIST("helo", "reject_invalid_helo_hostname"), POLICY_RCPT, "192.0.2.1",
		"[192.0.2.256]", "s@far.test", "user@local.test", 0,
		"501 5.5.2 <[192.0.2.256]>: Helo command rejected: invalid ip address", ""},
	{"not qualified", LIST("helo", "reject_non_fqdn_helo_hostname"), POLICY_RCPT, "192.0.2.1",
		"localhost", "s@far.test", "user@local.test", 0,
		"504 5.5.2 <localhost>: Helo command rejected: need fully-qualified hostname", ""},
	/* Sender. */
	{"non-FQDN sender", LIST("sender", "reject_non_fqdn_sender"), POLICY_RCPT, "192.0.2.1", "h",
		"s@far", "user@local.test", 0,
		"504 5.5.2 <s@far>: Sender address rejected: need fully-qualified address", ""},
	{"null sender", LIST("sender", "reject_non_fqdn_sender, reject_unlisted_sender"),
		POLICY_RCPT, "192.0.2.1", "h", "", "user@local.test", 0, "", ""},
	{"unlisted sender", LIST("sender", "reject_unlisted_sender"), POLICY_RCPT, "192.0.2.1", "h",
		"none@local.test", "user@local.test", 0,
		"550 5.1.0 <none@local.test>: Sender address rejected: User unknown in local "
		"recipient table",
		""},
	{"unlisted sender, by parameter", "smtpd_reject_unlisted_sender=yes", POLICY_RCPT,
		"192.0.2.1", "h", "none@local.test", "user@local.test", 0,
		"550 5.1.0 <none@local.test>: Sender address rejected: User unknown in local "
		"recipient table",
		""},
	{"a sender that is there", "smtpd_reject_unlisted_sender=yes", POLICY_RCPT, "192.0.2.1",
		"h", "user@local.test", "user@local.test", 0, "", ""},
	{"not the owner",
		LIST("sender", "reject_sender_login_mismatch") "\nsmtpd_sender_login_maps=inline:{{"
							       "s@far.test=ann}}",
		POLICY_RCPT, FROM, LOGIN, "553 5.7.1 " IS_SENDER "not owned by user joe", ""},
	{"the owner",
		LIST("sender", "reject_sender_login_mismatch") "\nsmtpd_sender_login_maps=inline:{{"
							       "@far.test=ann joe}}",
		POLICY_RCPT, FROM, LOGIN, "", ""},
	{"nobody's",
		LIST("sender",
			"reject_authenticated_sender_login_mismatch") "\nsmtpd_sender_login_maps="
								      "inline:{{x@far.test=joe}}",
		POLICY_RCPT, FROM, LOGIN, "553 5.7.1 " IS_SENDER "not owned by user joe", ""},
	{"nobody's, known ones alone",
		LIST("sender", "reject_known_sender_login_mismatch") "\nsmtpd_sender_login_maps="
								     "inline:{{x@far.test=joe}}",
		POLICY_RCPT, FROM, LOGIN, "", ""},
	{"not logged in",
		LIST("sender",
			"reject_unauthenticated_sender_login_mismatch") "\nsmtpd_sender_login_maps="
									"inline:{{s@far.test=joe}}",
		POLICY_RCPT, FROM, 0, "553 5.7.1 " IS_SENDER "not logged in", ""},
	{"AUTH is off",
		LIST("sender",
			"reject_sender_login_mismatch") "\nsmtpd_sender_login_maps=inline:{{s@far."
							"test=ann}}\nsmtpd_sasl_auth_enable=no",
		POLICY_RCPT, FROM, 0, "", ""},
	{"owners fail",
		LIST("sender", "reject_sender_login_mismatch") "\nsmtpd_sender_login_maps=fail:x",
		POLICY_RCPT, FROM, LOGIN, "451 4.3.0 <s@far.test>: Temporary lookup failure", ""},
	{"a route in a local address",
		LIST("sender", "check_sender_access inline:{{a@far.test=DEFER}}"), POLICY_RCPT,
		"192.0.2.1", "h", "a%far.test@local.test", "user@local.test", 0,
		"450 4.7.1 <a%far.test@local.test>: Sender address rejected: Access denied", ""},
	{"which no entry permits",
		LIST("recipient",
			"check_recipient_access "
			"inline:{{x@far.test=OK}{local.test=OK}}, reject_unauth_destination"),
		POLICY_RCPT, "192.0.2.1", "h", "s@far.test", "x%far.test@local.test", 0,
		"554 5.7.1 <x%far.test@local.test>: Relay access denied", ""},
	/* Recipient. */
	{"non-FQDN recipient",
		LIST("recipient", "reject_non_fqdn_recipient, "
				  "reject_unauth_destination"),
		POLICY_RCPT, "192.0.2.1", "h", "s@far.test", "x@far", 0,
		"504 5.5.2 <x@far>: Recipient address rejected: need fully-qualified address", ""},
	{"unlisted, then permitted",
		LIST("recipient", "reject_unlisted_recipient, permit_mynetworks,"
				  " reject"),
		POLICY_RCPT, "192.0.2.1", "h", "s@far.test", "none@local.test", 0,
		"550 5.1.1 <none@local.test>: Recipient address rejected: User unknown in local "
		"recipient table",
		""},
	{"own destination", LIST("recipient", "permit_auth_destination, reject"), POLICY_RCPT,
		"198.51.100.1", "h", "s@far.test", "x@relay.test", 0, "", ""},
	{"another destination", LIST("recipient", "permit_auth_destination, reject"), POLICY_RCPT,
		"198.51.100.1", "h", "s@far.test", "x@far.test", 0,
		"554 5.7.1 <x@far.test>: Recipient address rejected: Access denied", ""},
	{"bounce to many", LIST("data", "reject_multi_recipient_bounce"), POLICY_DATA, "192.0.2.1",
		"h", "", "user@local.test", PIPELINING | MANY,
		"550 5.5.3 <DATA>: Data command rejected: Multi-recipient bounce", ""},
	{"bounce to one", LIST("data", "reject_multi_recipient_bounce"), POLICY_DATA, "192.0.2.1",
		"h", "", "user@local.test", 0, "", ""},
	{"mail to many", LIST("data", "reject_multi_recipient_bounce"), POLICY_DATA, FROM, MANY, "",
		""},
	{"safe client", LIST("client", "reject") "\nsmtpd_safe_clients=192.0.2.1", POLICY_RCPT,
		"192.0.2.1", "h", "s@far.test", "x@far.test", 0, "", ""},
	{"safe client, at DATA", LIST("data", "reject") "\nsmtpd_safe_clients=192.0.2.1",
		POLICY_DATA, FROM, 0, "", ""},
	{"DISCARD ends all lists",
		LIST("sender", "check_sender_access inline:{{s@far.test=DISCARD}}"), POLICY_RCPT,
		"198.51.100.1", "h", "s@far.test", "x@far.test", 0, "",
		"discard: <s@far.test>: Sender address triggers DISCARD action\n"},
	{"warned of, then refused",
		LIST("recipient", "warn_if_reject, reject_unlisted_recipient, permit_mynetworks, "
				  "reject"),
		POLICY_RCPT, "192.0.2.1", "h", "s@far.test", "none@local.test", 0,
		"550 5.1.1 <none@local.test>: Recipient address rejected: User unknown in local "
		"recipient table",
		"reject_warning: 550 5.1.1 <none@local.test>: Recipient address rejected: User "
		"unknown in local recipient table\n"},
	/* Permissions that are logged. */
	{"permit is logged",
		LIST("client", "permit_mynetworks, reject") "\nsmtpd_log_access_permit_actions="
							    "permit_mynetworks",
		POLICY_RCPT, FROM, 0, "",
		"permit: action=permit_mynetworks for Client host=client.test[192.0.2.1]\n"},
	/* header_from_login_match. */
	{"From: own",
		"header_from_login_match=yes\nsmtpd_sender_login_maps=inline:{{s@far.test=joe}}",
		POLICY_HEADER_FROM, FROM, LOGIN, "", ""},
	{"From: another's",
		"header_from_login_match=yes\n"
		"smtpd_sender_login_maps=inline:{{s@far.test=ann}}",
		POLICY_HEADER_FROM, FROM, LOGIN,
		"553 5.7.1 <s@far.test>: Message header From: rejected: not owned by user joe", ""},
	{"From: twice",
		"header_from_login_match=yes\n"
		"smtpd_sender_login_maps=inline:{{s@far.test=joe}}",
		POLICY_HEADER_FROM, FROM, LOGIN | MANY,
		"553 5.7.1 Message header rejected: exactly one From: with valid addresses is "
		"needed",
		""},
	{"From: without login", "header_from_login_match=yes", POLICY_HEADER_FROM, FROM, 0, "", ""},
};

/* An entry of an access table: what it does at RCPT, by check_sender_access. */
static const struct {
	const char *entry, *want, *notes;
} actions[] = {
	{"OK", "", ""},
	{"ok with text", "", ""},
	{"12345", "", ""},
	{"REJECT", "554 5.7.1 " IS_SENDER "Access denied", ""},
	{"reject", "554 5.7.1 " IS_SENDER "Access denied", ""},
	{"REJECT 5.7.9 bad sender", "554 5.7.9 " IS_SENDER "bad sender", ""},
	{"REJECT 5.1.1 no such", "554 5.1.7 " IS_SENDER "no such", ""},
	{"REJECT 5.1.2 no such", "554 5.1.8 " IS_SENDER "no such", ""},
	{"REJECT 5.1.3 bad", "554 5.1.7 " IS_SENDER "bad", ""},
	{"REJECT 5.1.7 bad", "554 5.1.7 " IS_SENDER "bad", ""},
	{"REJECT 4.7.1 class of the code", "554 5.7.1 " IS_SENDER "class of the code", ""},
	{"REJECT 5.7 text", "554 5.7.1 " IS_SENDER "5.7 text", ""},
	{"DEFER", "450 4.7.1 " IS_SENDER "Access denied", ""},
	{"DEFER 4.2.0 wait", "450 4.2.0 " IS_SENDER "wait", ""},
	{"450 wait", "450 4.7.1 " IS_SENDER "wait", ""},
	{"521 5.3.0 go", "521 5.3.0 " IS_SENDER "go", ""},
	{"554", "", ""},
	{"DUNNO", "554 5.7.1 <x@far.test>: Relay access denied", ""},
	{"dunno text", "554 5.7.1 <x@far.test>: Relay access denied", ""},
	{"DEFER_IF_PERMIT", "554 5.7.1 <x@far.test>: Relay access denied", ""},
	{"DEFER_IF_REJECT soon", "450 4.7.1 " IS_SENDER "soon", ""},
	{"WARN look", "554 5.7.1 <x@far.test>: Relay access denied", "warn: look\n"},
	{"INFO look", "554 5.7.1 <x@far.test>: Relay access denied", "info: look\n"},
	{"HOLD", "554 5.7.1 <x@far.test>: Relay access denied",
		"hold: <s@far.test>: Sender address triggers HOLD action\n"},
	{"HOLD for review", "554 5.7.1 <x@far.test>: Relay access denied",
		"hold: <s@far.test>: Sender address for review\n"},
	{"DISCARD", "", "discard: <s@far.test>: Sender address triggers DISCARD action\n"},
	{"FILTER smtp:[f]:25", "554 5.7.1 <x@far.test>: Relay access denied",
		"filter: <s@far.test>: Sender address triggers FILTER smtp:[f]:25 (smtp:[f]:25)\n"},
	{"FILTER nothing", "554 5.7.1 <x@far.test>: Relay access denied",
		"warning: access table inline:{ { s@far.test=FILTER nothing } } entry "
		"\"s@far.test\" requires transport:destination\n"},
	{"REDIRECT a@b.test", "554 5.7.1 <x@far.test>: Relay access denied",
		"redirect: <s@far.test>: Sender address triggers REDIRECT a@b.test (a@b.test)\n"},
	{"BCC a@b.test", "554 5.7.1 <x@far.test>: Relay access denied",
		"bcc: <s@far.test>: Sender address triggers BCC a@b.test (a@b.test)\n"},
	{"BCC nobody", "554 5.7.1 <x@far.test>: Relay access denied",
		"warning: access table inline:{ { s@far.test=BCC nobody } } entry \"s@far.test\" "
		"requires user@domain target\n"},
	{"PREPEND X-A: b", "554 5.7.1 <x@far.test>: Relay access denied", "prepend:  (X-A: b)\n"},
	{"PREPEND no header", "554 5.7.1 <x@far.test>: Relay access denied",
		"warning: access table inline:{ { s@far.test=PREPEND no header } } entry "
		"\"s@far.test\" requires header: text argument\n"},
	{"permit_mynetworks", "", ""},
	{"reject_non_fqdn_sender, defer", "450 4.3.2 " IS_SENDER "Try again later", ""},
	{"c", "554 5.7.1 " IS_SENDER "Access denied", ""},
	{"check_client_access hash:/x", "451 4.3.5 Server configuration error",
		"warning: access table inline:{ { s@far.test=check_client_access hash:/x } } entry "
		"\"s@far.test\": inline:{ { s@far.test=check_client_access hash:/x } }: do not "
		"specify lookup tables inside SMTPD access maps\n"},
	{"no_such", "451 4.3.5 Server configuration error",
		"warning: access table inline:{ { s@far.test=no_such } } entry \"s@far.test\": "
		"inline:{ { s@far.test=no_such } }: unknown smtpd restriction: \"no_such\"\n"},
};

/* Keys of a table, in the order in which they are tried. */
static const struct {
	const char *restriction, *key;
	bool is_found;
	const char *more;
} keys[] = {
	{"check_client_access", "client.test", true, ""},
	{"check_client_access", "test", true, ""},
	{"check_client_access", ".test", false, ""},
	{"check_client_access", ".test", true, "parent_domain_matches_subdomains="},
	{"check_client_access", "test", false, "parent_domain_matches_subdomains="},
	{"check_client_access", "192.0.2.1", true, ""},
	{"check_client_access", "192.0.2", true, ""},
	{"check_client_access", "192", true, ""},
	{"check_client_access", "192.0.2.2", false, ""},
	{"check_client_access", "192.0.2.*", true, ""},
	{"check_client_access", "192.*", true, ""},
	{"check_client_access", "192.0.3.*", false, ""},
	{"check_reverse_client_hostname_access", "reverse.test", true, ""},
	{"check_reverse_client_hostname_access", "192.0", true, ""},
	{"check_helo_access", "helo.test", true, ""},
	{"check_helo_access", "test", true, ""},
	{"check_helo_access", "helo", false, ""},
	{"check_sender_access", "s+ext@sub.far.test", true, ""},
	{"check_sender_access", "s@sub.far.test", false, ""},
	{"check_sender_access", "s@sub.far.test", true, "recipient_delimiter=+"},
	{"check_sender_access", "sub.far.test", true, ""},
	{"check_sender_access", "far.test", true, ""},
	{"check_sender_access", "test", true, ""},
	{"check_sender_access", "s+ext@", true, ""},
	{"check_sender_access", "s@", false, ""},
	{"check_sender_access", "s@", true, "recipient_delimiter=+"},
	{"check_sender_access", "@sub.far.test", true, ""},
	{"check_sender_access", "@far.test", false, ""},
	{"check_sender_access", "@*far.test", true, ""},
	{"check_sender_access", "@*r.test", true, ""},
	{"check_sender_access", "@*sub.far.test", true, ""},
	{"check_sender_access", "@*x.test", false, ""},
	{"check_sender_access", "S+EXT@Sub.Far.Test", true, ""},
	{"check_recipient_access", "user@local.test", true, ""},
	{"check_recipient_access", "local.test", true, ""},
	{"check_recipient_access", "user@", true, ""},
	{"check_sasl_access", "joe", true, ""},
	{"check_sasl_access", "ann", false, ""},
	{"check_ccert_access", "joe", false, ""},
};

static struct policy_facts facts_of(const struct row *r, struct buf *from)
{
	struct policy_facts f = {.client_name = SLICE_LIT("client.test"),
		.client_addr = slice_str(r->client),
		.reverse_name = SLICE_LIT("reverse.test"),
		.helo = slice_str((r->flags & NO_HELO) ? NULL : r->helo),
		.protocol = SLICE_LIT("ESMTP"),
		.sender = slice_str((r->flags & NO_SENDER) ? NULL : r->sender),
		.recipient = slice_str(r->recipient),
		.recipient_count = (r->flags & MANY) ? 2 : 1,
		.is_pipelining = r->flags & PIPELINING,
		.etrn_domain = SLICE_LIT("etrn.test")};

	if (r->flags & LOGIN)
		f.login = SLICE_LIT("joe");
	if (r->flags & NO_NAME) {
		f.client_name = SLICE_LIT("client.test");
		f.name_status = f.reverse_status = f.forward_status = POLICY_NAME_UNKNOWN;
	}
	if (r->flags & BAD_NAME)
		f.name_status = POLICY_NAME_UNKNOWN;
	if ((r->flags & MANY) && r->stage == POLICY_RCPT)
		f.deferral[0] = SLICE_LIT("450 4.7.0 <x>: carried");
	wire_counted(from, SLICE_LIT("s@far.test"));
	f.header_from = buf_slice(from);
	f.header_from_count = (r->flags & MANY) ? 2 : 1;
	return f;
}

/* One evaluation to its end, as "554 5.7.1 text"; late tables are answered as they are asked. */
static void evaluate(struct policy *p, const struct row *r, struct buf *reply, struct buf *notes)
{
	struct buf from = BUF_INIT(1000);
	struct policy_facts f = facts_of(r, &from);
	struct policy_verdict v;

	buf_reset(reply);
	buf_reset(notes);
	policy_verdict_init(&v);
	(void)stage_check(p, r->stage, &f, &v);
	stage_add_reply(&v, reply);
	stage_add_notes(&v, notes);
	policy_verdict_clear(&v);
	buf_clear(&from);
}

static struct buf why = BUF_INIT(65536), reply = BUF_INIT(65536), notes = BUF_INIT(65536);

static void test_row(const struct row *r)
{
	struct policy *p = load(r->settings, &why);

	if (p == NULL) {
		ok(false, "%s: %s", r->name, buf_str(&why));
		return;
	}
	evaluate(p, r, &reply, &notes);
	is_slice(buf_slice(&reply), r->want, "%s", r->name);
	is_slice(buf_slice(&notes), r->notes, "%s: notes", r->name);
	policy_close(&p);
}

static void test_rows(void)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		test_row(&rows[i]);
}

/* check_sender_access ENTRY, behind which outsiders may not relay. */
static void test_actions(void)
{
	for (size_t i = 0; i < sizeof(actions) / sizeof(actions[0]); i++) {
		char settings[600];
		struct row r = {actions[i].entry, settings, POLICY_RCPT, "192.0.2.1", "h.test",
			"s@far.test", "x@far.test", 0, actions[i].want, actions[i].notes};

		(void)snprintf(settings, sizeof(settings),
			"smtpd_recipient_restrictions=check_sender_access inline:{ { "
			"s@far.test=%s } } reject_unauth_destination\n"
			"smtpd_restriction_classes=c\nc=reject",
			actions[i].entry);
		test_row(&r);
	}
}

static void test_keys(void)
{
	static const char *const kinds[] = {"", "later:"};

	for (size_t i = 0; i < 2 * sizeof(keys) / sizeof(keys[0]); i++) {
		size_t k = i / 2;
		char settings[600];
		struct row r = {keys[k].key, settings, POLICY_RCPT, "192.0.2.1", "helo.test",
			"s+ext@Sub.Far.test", "user@local.test", LOGIN, "", ""};
		struct policy *p = NULL;

		(void)snprintf(settings, sizeof(settings),
			"smtpd_sender_restrictions=%s %sinline:{ {%s=reject} }\n%s",
			keys[k].restriction, kinds[i % 2], keys[k].key, keys[k].more);
		p = load(settings, &why);
		if (p == NULL)
			bail_out("%s: %s", settings, buf_str(&why));
		evaluate(p, &r, &reply, &notes);
		is_int(reply.len > 0, keys[k].is_found, "%s%s %s %s", kinds[i % 2],
			keys[k].restriction, keys[k].key, keys[k].more);
		policy_close(&p);
	}
}

/* What is tried first decides: the more exact key. */
static void test_order(void)
{
	static const char *const order[] = {"s+ext@sub.far.test", "s@sub.far.test", "sub.far.test",
		"far.test", "test", "s+ext@", "s@", "@sub.far.test", "@*sub.far.test",
		"@*far.test"};
	enum { N = sizeof(order) / sizeof(order[0]) };

	for (int first = 0; first < N; first++) {
		struct buf table = BUF_INIT(4000);
		struct row r = {"order", NULL, POLICY_RCPT, "192.0.2.1", "h", "s+ext@sub.far.test",
			"user@local.test", 0, "", ""};
		char want[200];
		struct policy *p = NULL;

		buf_add_str(&table, "recipient_delimiter=+\nsmtpd_sender_restrictions="
				    "check_sender_access inline:{");
		for (int i = first; i < N; i++)
			buf_add_fmt(&table, " {%s=REJECT %d}", order[i], i);
		buf_add_str(&table, " }");
		p = load(buf_str(&table), &why);
		if (p == NULL)
			bail_out("%s: %s", buf_str(&table), buf_str(&why));
		evaluate(p, &r, &reply, &notes);
		(void)snprintf(want, sizeof(want),
			"554 5.7.1 <s+ext@sub.far.test>: Sender address rejected: %d", first);
		is_slice(buf_slice(&reply), want, "%s comes first of what is left", order[first]);
		policy_close(&p);
		buf_clear(&table);
	}
}

/* A table that fails is never "not found", wherever it stands. */
static void test_failing(void)
{
	static const char *const settings[] = {LIST("client", "check_client_access fail:x"),
		LIST("client", "check_reverse_client_hostname_access fail:x"),
		LIST("helo", "check_helo_access fail:x"),
		LIST("sender", "check_sender_access fail:x"),
		LIST("recipient", "check_recipient_access fail:x, reject_unauth_destination"),
		LIST("relay", "check_sasl_access fail:x"),
		LIST("client", "permit_mynetworks") "\nmynetworks=fail:x",
		"smtpd_safe_clients=fail:x", "relay_domains=fail:x", "local_recipient_maps=fail:x",
		LIST("sender", "reject_unlisted_sender") "\nvirtual_alias_maps=fail:x",
		LIST("sender", "reject_sender_login_mismatch") "\nsmtpd_sender_login_maps=fail:x",
		LIST("sender", "c") "\nsmtpd_restriction_classes=c\nc=check_sender_access fail:x",
		LIST("client", "permit_direct_delivery_hosts") "\ndirect_delivery_maps=fail:x",
		"header_from_login_match=yes\nsmtpd_sender_login_maps=fail:x"};

	for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
		struct row r = {settings[i], settings[i], POLICY_RCPT, "192.0.2.1", "h.test",
			"s@far.test", i == 8 ? "x@far.test" : "user@local.test", LOGIN, "", ""};
		struct policy *p = load(settings[i], &why);

		if (strstr(settings[i], "header_from") != NULL)
			r.stage = POLICY_HEADER_FROM;
		if (strstr(settings[i], "permit_direct") != NULL) {
			ok(p == NULL, "a table that cannot be listed is refused");
			continue;
		}
		if (p == NULL)
			bail_out("%s: %s", settings[i], buf_str(&why));
		evaluate(p, &r, &reply, &notes);
		ok(slice_starts(buf_slice(&reply), "451 4.3."), "%s: %s", settings[i],
			buf_str(&reply));
		policy_close(&p);
	}
}

static void test_has(void)
{
	struct policy *p = load(LIST("data", "reject") "\n" LIST("client", "reject"), &why);

	ok(!policy_has(p, POLICY_CONNECT), "nothing at connect while lists are delayed");
	ok(policy_has(p, POLICY_DATA), "a list at DATA");
	ok(!policy_has(p, POLICY_END_OF_DATA), "none at its end");
	ok(policy_uses(p, "reject"), "a restriction that stands somewhere");
	ok(!policy_uses(p, "defer"), "one that does not");
	policy_close(&p);
	p = load("smtpd_delay_reject=no\n" LIST("client", "reject"), &why);
	ok(policy_has(p, POLICY_CONNECT), "the client's list at connect");
	policy_close(&p);
	p = load(LIST("recipient", "warn_if_reject, reject"), &why);
	ok(p == NULL, "a guard that only warns is none");
	p = load(LIST("recipient", "c") "\nsmtpd_restriction_classes=c\nc=defer_if_permit", &why);
	ok(p != NULL, "a guard inside of a class is one");
	policy_close(&p);
	p = load(LIST("recipient", "permit, reject"), &why);
	ok(p == NULL, "one that is never reached is none");
}

int main(void)
{
	stage_open(NULL);
	test_rows();
	test_actions();
	test_keys();
	test_order();
	test_failing();
	test_has();
	buf_clear(&why);
	buf_clear(&reply);
	buf_clear(&notes);
	stage_close();
	return done_testing();
}
