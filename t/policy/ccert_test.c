/* SPDX-License-Identifier: ISC */
/* Restrictions that look at TLS and at the certificate that the client has shown. */
#include "t/tap.h"

#include <stdio.h>

#include "t/policy/stage.h"

/* What the client has shown. */
enum shown { PLAIN, BARE, STRANGER, VOUCHED };

#define LIST(text) "smtpd_client_restrictions=" text
#define TABLE "{AA:01=401 cert} {BB:02=402 key} {joe=403 subject} {ca=404 issuer}"
#define REFUSED(code, text) \
	code " 4.7.1 <client.test[192.0.2.1]>: Client certificate rejected: " text
#define DENIED "554 5.7.1 <client.test[192.0.2.1]>: Client host rejected: Access denied"

static const struct row {
	const char *list, *more;
	enum shown shown;
	const char *want;
} rows[] = {
	{LIST("reject_plaintext_session"), "", PLAIN, "450 4.7.1 Session encryption is required"},
	{LIST("reject_plaintext_session"), "plaintext_reject_code=550", PLAIN,
		"550 5.7.1 Session encryption is required"},
	{LIST("reject_plaintext_session"), "", BARE, ""},
	/* Without an order: fingerprints alone, that of the certificate first. */
	{LIST("check_ccert_access inline:{" TABLE "}"), "", PLAIN, ""},
	{LIST("check_ccert_access inline:{" TABLE "}"), "", BARE, ""},
	{LIST("check_ccert_access inline:{" TABLE "}"), "", STRANGER, REFUSED("401", "cert")},
	{LIST("check_ccert_access { later:inline:{{bb:02=402 key} {joe=403 x}} }"), "", STRANGER,
		REFUSED("402", "key")},
	{LIST("check_ccert_access { inline:{{joe=403 subject}} }"), "", VOUCHED, ""},
	{LIST("check_ccert_access static:REJECT"), "", BARE, ""},
	/* In the order that is asked for. */
	{LIST("check_ccert_access { inline:{" TABLE "} { search_order = pubkey_fingerprint, "
	      "cert_fingerprint } }"),
		"", STRANGER, REFUSED("402", "key")},
	{LIST("check_ccert_access { inline:{" TABLE "}, search_order=subject }"), "", VOUCHED,
		REFUSED("403", "subject")},
	{LIST("check_ccert_access { inline:{" TABLE "} { search_order = issuer_cn, subject_cn } }"),
		"", VOUCHED, REFUSED("404", "issuer")},
	{LIST("check_ccert_access { later:inline:{{ca=404 issuer}} { search_order = subject issuer "
	      "cert_fingerprint } }"),
		"", VOUCHED, REFUSED("404", "issuer")},
	/* A name that nobody vouches for is none. */
	{LIST("check_ccert_access { inline:{" TABLE "} { search_order = subject, issuer } }"), "",
		STRANGER, ""},
	{LIST("check_ccert_access { fail:x { search_order = subject } }"), "", VOUCHED,
		"451 4.3.5 <client.test[192.0.2.1]>: Client certificate rejected: Server "
		"configuration error"},
	/* Permission. */
	{LIST("permit_tls_clientcerts, reject"), "relay_clientcerts=inline:{AA:01=x}", PLAIN,
		DENIED},
	{LIST("permit_tls_clientcerts, reject"), "relay_clientcerts=static:x", BARE, DENIED},
	{LIST("permit_tls_clientcerts, reject"), "relay_clientcerts=inline:{AA:01=x}", STRANGER,
		""},
	{LIST("permit_tls_clientcerts, reject"), "relay_clientcerts=later:inline:{BB:02=x}",
		STRANGER, ""},
	{LIST("permit_tls_clientcerts, reject"), "relay_clientcerts=inline:{CC:03=x}", VOUCHED,
		DENIED},
	{LIST("permit_tls_clientcerts, reject"), "relay_clientcerts=fail:x", STRANGER,
		"451 4.3.0 <client.test[192.0.2.1]>: Temporary lookup failure"},
	{LIST("permit_tls_all_clientcerts, reject"), "", STRANGER, DENIED},
	{LIST("permit_tls_all_clientcerts, reject"), "relay_clientcerts=inline:{AA:01=x}", STRANGER,
		""},
	{LIST("permit_tls_all_clientcerts, reject"), "", VOUCHED, ""},
};

static struct policy_facts facts_of(enum shown shown)
{
	struct policy_facts f = {.client_name = SLICE_LIT("client.test"),
		.client_addr = SLICE_LIT("192.0.2.1"),
		.namaddr = SLICE_LIT("client.test[192.0.2.1]"),
		.protocol = SLICE_LIT("ESMTP"),
		.sender = SLICE_LIT("s@far.test"),
		.recipient = SLICE_LIT("user@local.test"),
		.has_tls = shown != PLAIN,
		.ccert_is_trusted = shown == VOUCHED};

	if (shown >= STRANGER) {
		f.ccert_fingerprint = SLICE_LIT("AA:01");
		f.ccert_pubkey_fingerprint = SLICE_LIT("BB:02");
		f.ccert_subject = SLICE_LIT("joe");
		f.ccert_issuer = SLICE_LIT("ca");
	}
	return f;
}

static void test_row(const struct row *r)
{
	const char *settings[] = {"myhostname=mx.test", "mydestination=local.test", "alias_maps=",
		"local_recipient_maps=", "smtpd_relay_restrictions=reject_unauth_destination",
		r->list, *r->more != '\0' ? r->more : NULL, NULL};
	struct policy_facts f = facts_of(r->shown);
	struct buf why = BUF_INIT(65536), reply = BUF_INIT(65536);
	struct policy *p = stage_load(settings, &why);
	struct policy_verdict v;

	policy_verdict_init(&v);
	if (p != NULL) {
		(void)stage_check(p, POLICY_RCPT, &f, &v);
		stage_add_reply(&v, &reply);
	}
	is_slice(buf_slice(p != NULL ? &reply : &why), r->want, "%s %s: %d", r->list, r->more,
		r->shown);
	policy_verdict_clear(&v);
	policy_close(&p);
	buf_clear(&why);
	buf_clear(&reply);
}

int main(void)
{
	stage_open(NULL);
	for (size_t i = 0; i < COUNT_OF(rows); i++)
		test_row(&rows[i]);
	stage_close();
	return done_testing();
}
