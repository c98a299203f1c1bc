/* SPDX-License-Identifier: ISC */
#include "t/tap.h"

#include <arpa/inet.h>
#include <stdio.h>

#include "dns/client.h"
#include "policy/rbl.h"
#include "t/policy/stage.h"
#include "util/err.h"
#include "util/mem.h"

/* Restrictions that ask the DNS, with a resolver of our own whose answers are always late. */

/* NAME TYPE DATA, one record a line; DATA "?" is a name server that fails, "-" no such type. */
static const char zone[] = "good.test MX 10 mx.good.test\n"
			   "mx.good.test A 192.0.2.25\n"
			   "mx.good.test AAAA 2001:db8::25\n"
			   "host.test A 192.0.2.80\n"
			   "six.test AAAA 2001:db8::80\n"
			   "null.test MX 0 .\n"
			   "soft.test MX ?\n"
			   "soft.test A ?\n"
			   "half.test MX ?\n"
			   "half.test A 192.0.2.81\n"
			   "bare.test TXT nothing\n"
			   "own.test MX 10 mx.good.test\n"
			   "own.test MX 20 me.test\n"
			   "first.test MX 10 me.test\n"
			   "first.test MX 20 mx.good.test\n"
			   "me.test A 198.51.100.9\n"
			   "lost.test MX 10 gone.test\n"
			   "zone.test NS ns1.zone.test\n"
			   "zone.test NS ns2.zone.test\n"
			   "a.b.zone.test A 192.0.2.82\n"
			   "ns1.zone.test A 192.0.2.53\n"
			   "ns2.zone.test A 192.0.2.54\n"
			   "2.2.0.192.list.test A 127.0.0.4\n"
			   "2.2.0.192.list.test TXT bad $client; see list.test\n"
			   "2.2.0.192.list.test TXT second\n"
			   "3.2.0.192.list.test A ?\n"
			   "4.2.0.192.list.test A 127.0.0.9\n"
			   "8.b.d.0.1.0.0.2.list.test A -\n"
			   "spam.test.list.test A 127.0.0.2\n"
			   "spam.test.names.test A 127.0.1.2\n"
			   "soft.test.names.test A ?\n";

static enum dns_type type_of(struct slice word)
{
	static const enum dns_type types[] = {DNS_A, DNS_AAAA, DNS_MX, DNS_NS, DNS_TXT};

	for (size_t i = 0; i < COUNT_OF(types); i++)
		if (slice_eq_str(word, dns_type_str(types[i])))
			return types[i];
	return DNS_CNAME;
}

static void add_data(struct buf *out, enum dns_type type, struct slice data)
{
	uint8_t bytes[16];
	struct slice pref;
	uint64_t n = 0;
	char *text = NULL;

	switch (type) {
	case DNS_A:
	case DNS_AAAA:
		text = slice_dup(data);
		(void)inet_pton(type == DNS_A ? AF_INET : AF_INET6, text, bytes);
		mem_free(text);
		dns_answer_add(out, type, 0, slice_of(bytes, type == DNS_A ? 4 : 16));
		break;
	case DNS_MX:
		(void)slice_token(&data, " ", &pref);
		(void)slice_u64(pref, 0, 65535, &n);
		dns_answer_add(out, type, (uint16_t)n, slice_trim(data));
		break;
	default: dns_answer_add(out, type, 0, data); break;
	}
}

static void answer_of(enum dns_type type, struct slice name, struct buf *out)
{
	struct slice rest = slice_str(zone), line, owner, word;
	enum dns_status status = DNS_NXDOMAIN;

	dns_answer_begin(out, DNS_NXDOMAIN, false, 60, name);
	while (slice_token(&rest, "\n", &line)) {
		(void)slice_token(&line, " ", &owner);
		if (!slice_case_eq(owner, name))
			continue;
		if (status == DNS_NXDOMAIN)
			status = DNS_NODATA;
		(void)slice_token(&line, " ", &word);
		line = slice_trim(line);
		if (type_of(word) != type || slice_eq_str(line, "-"))
			continue;
		status = slice_eq_str(line, "?")     ? DNS_TEMP
			 : slice_eq_str(line, "0 .") ? DNS_NULLMX
						     : DNS_OK;
		if (status == DNS_OK)
			add_data(out, type, line);
	}
	if (status != DNS_OK)
		dns_answer_begin(out, status, false, 60, name);
}

/* The questions that are open, and how many were asked in all. */
static struct {
	struct later_answer *answer;
	enum dns_type type;
	char *name;
} open_questions[100];
static int open_n, asked_n;
static const char source;

int dns_later(struct later *l, enum dns_type type, struct slice name, int64_t time_limit,
	struct dns_answer *a)
{
	struct buf key = BUF_INIT(2048);
	struct later_answer *answer;
	struct slice value;
	int err = ERR_LATER;

	(void)time_limit;
	*a = (struct dns_answer){.status = DNS_TEMP};
	(void)buf_add_fmt(&key, "%d %.*s", (int)type, SLICE_FMT(name));
	answer = later_find(l, &source, buf_slice(&key));
	if (answer != NULL && later_is_done(answer)) {
		(void)later_result(answer, &value);
		err = dns_answer_parse(value, a);
	} else if (answer == NULL) {
		answer = later_add(l, &source, buf_slice(&key), NULL, NULL);
		if (answer == NULL) {
			err = ERR_TEMP;
		} else {
			open_questions[open_n].answer = answer;
			open_questions[open_n].type = type;
			open_questions[open_n++].name = slice_dup(name);
			asked_n++;
		}
	}
	buf_clear(&key);
	return err;
}

static bool answer_all(void)
{
	struct buf value = BUF_INIT(DNS_ANSWER_MAX);
	int n = open_n;

	open_n = 0;
	for (int i = 0; i < n; i++) {
		answer_of(open_questions[i].type, slice_str(open_questions[i].name), &value);
		later_done(open_questions[i].answer, 0, buf_slice(&value));
		mem_free(open_questions[i].name);
	}
	buf_clear(&value);
	return n > 0;
}

static const struct {
	const char *list; /* smtpd_recipient_restrictions, behind permit of relaying */
	const char *more;
	const char *client, *name, *helo, *sender, *recipient;
	int code; /* 0: permitted */
	const char *status, *text;
	const char *warning; /* what a note says, or NULL */
} rows[] = {
	/* The sender's domain. */
	{"reject_unknown_sender_domain", NULL, "", "", "h", "x@good.test", "u@far.test", 0, "", "",
		NULL},
	{"reject_unknown_sender_domain", NULL, "", "", "h", "x@six.test", "u@far.test", 0, "", "",
		NULL},
	{"reject_unknown_sender_domain", NULL, "", "", "h", "", "u@far.test", 0, "", "", NULL},
	{"reject_unknown_sender_domain", NULL, "", "", "h", "x@local.test", "u@far.test", 0, "", "",
		NULL},
	{"reject_unknown_sender_domain", NULL, "", "", "h", "x@[192.0.2.1]", "u@far.test", 0, "",
		"", NULL},
	{"reject_unknown_sender_domain", NULL, "", "", "h", "x@none.test", "u@far.test", 450,
		"4.1.8", "<x@none.test>: Sender address rejected: Domain not found", NULL},
	{"reject_unknown_sender_domain", "unknown_address_reject_code=550", "", "", "h",
		"x@bare.test", "u@far.test", 550, "5.1.8",
		"<x@bare.test>: Sender address rejected: Domain not found", NULL},
	{"reject_unknown_sender_domain", NULL, "", "", "h", "x@null.test", "u@far.test", 550,
		"5.7.27",
		"<x@null.test>: Sender address rejected: Domain null.test does not accept mail "
		"(nullMX)",
		NULL},
	{"reject_unknown_sender_domain", NULL, "", "", "h", "x@soft.test", "u@far.test", 450,
		"4.1.8", "<x@soft.test>: Sender address rejected: Domain not found", NULL},
	{"reject_unknown_sender_domain", NULL, "", "", "h", "x@half.test", "u@far.test", 0, "", "",
		NULL},
	/* A temporary error turns permission into deferral, not a refusal into one. */
	{"reject_unknown_sender_domain, reject", NULL, "", "", "h", "x@soft.test", "u@far.test",
		554, "5.7.1", "<u@far.test>: Recipient address rejected: Access denied", NULL},
	{"reject_unknown_sender_domain, reject", "unknown_address_tempfail_action=defer", "", "",
		"h", "x@soft.test", "u@far.test", 450, "4.1.8",
		"<x@soft.test>: Sender address rejected: Domain not found", NULL},
	{"warn_if_reject reject_unknown_sender_domain", NULL, "", "", "h", "x@none.test",
		"u@far.test", 0, "", "", "Sender address rejected: Domain not found"},
	/* The recipient's. */
	{"reject_unknown_recipient_domain", NULL, "", "", "h", "", "u@none.test", 450, "4.1.2",
		"<u@none.test>: Recipient address rejected: Domain not found", NULL},
	{"reject_unknown_recipient_domain", NULL, "", "", "h", "", "u@null.test", 556, "5.1.10",
		"<u@null.test>: Recipient address rejected: Domain null.test does not accept mail "
		"(nullMX)",
		NULL},
	/* HELO. */
	{"reject_unknown_helo_hostname", NULL, "", "", "host.test", "", "u@far.test", 0, "", "",
		NULL},
	{"reject_unknown_helo_hostname", NULL, "", "", "good.test", "", "u@far.test", 0, "", "",
		NULL},
	{"reject_unknown_helo_hostname", NULL, "", "", "none.test", "", "u@far.test", 450, "4.7.1",
		"<none.test>: Helo command rejected: Host not found", NULL},
	{"reject_unknown_helo_hostname", NULL, "", "", "soft.test", "", "u@far.test", 450, "4.7.1",
		"<soft.test>: Helo command rejected: Host not found", NULL},
	{"reject_unknown_helo_hostname", NULL, "", "", "[192.0.2.1]", "", "u@far.test", 0, "", "",
		NULL},
	{"reject_unknown_helo_hostname", NULL, "", "", "[192.0.2.400]", "", "u@far.test", 501,
		"5.5.2", "<[192.0.2.400]>: Helo command rejected: invalid ip address", NULL},
	/* Servers of a name. */
	{"check_sender_mx_access inline:{mx.good.test=REJECT}", NULL, "", "", "h", "x@good.test",
		"u@far.test", 554, "5.7.1", "<x@good.test>: Sender address rejected: Access denied",
		NULL},
	{"check_sender_mx_access cidr:{{2001:db8::/32 550 no}}", NULL, "", "", "h", "x@good.test",
		"u@far.test", 550, "5.7.1", "<x@good.test>: Sender address rejected: no", NULL},
	{"check_sender_mx_access cidr:{{2001:db8::/32 550 no}}", "inet_protocols=ipv4", "", "", "h",
		"x@good.test", "u@far.test", 0, "", "", NULL},
	{"check_sender_mx_access inline:{{192.0.2=550 no}}", NULL, "", "", "h", "x@host.test",
		"u@far.test", 550, "5.7.1", "<x@host.test>: Sender address rejected: no", NULL},
	{"check_sender_mx_access inline:{{192.0.2=550 no}}", NULL, "", "", "h", "x@[192.0.2.7]",
		"u@far.test", 550, "5.7.1", "<x@[192.0.2.7]>: Sender address rejected: no", NULL},
	{"check_sender_mx_access inline:{mx.good.test=OK}", NULL, "", "", "h", "x@good.test",
		"u@far.test", 451, "4.3.5", "Server configuration error",
		"restriction check_sender_mx_access returns OK for x@good.test; this is not "
		"allowed"},
	{"warn_if_reject check_sender_mx_access inline:{mx.good.test=OK}", NULL, "", "", "h",
		"x@good.test", "u@far.test", 451, "4.3.5", "Server configuration error", NULL},
	{"check_sender_mx_access inline:{x=REJECT}", NULL, "", "", "h", "x@soft.test", "u@far.test",
		0, "", "", "Unable to look up MX host for soft.test: Host not found, try again"},
	{"check_sender_mx_access inline:{x=REJECT}", NULL, "", "", "h", "x@lost.test", "u@far.test",
		0, "", "",
		"Unable to look up MX host gone.test for Sender address x@lost.test: Host not "
		"found"},
	{"check_recipient_mx_access fail:x", NULL, "", "", "h", "", "u@good.test", 451, "4.3.5",
		"<u@good.test>: Recipient address rejected: Server configuration error", NULL},
	{"check_helo_ns_access inline:{ns2.zone.test=REJECT}", NULL, "", "", "a.b.zone.test", "",
		"u@far.test", 554, "5.7.1", "<a.b.zone.test>: Helo command rejected: Access denied",
		NULL},
	{"check_client_ns_access inline:{192.0.2.54=REJECT}", NULL, "192.0.2.1", "a.b.zone.test",
		"h", "", "u@far.test", 554, "5.7.1",
		"<a.b.zone.test>: Client host rejected: Access denied", NULL},
	{"check_client_ns_access inline:{192.0.2.54=REJECT}", NULL, "192.0.2.1", "unknown", "h", "",
		"u@far.test", 0, "", "", NULL},
	{"check_helo_a_access inline:{192.0.2.82=REJECT}", NULL, "", "", "a.b.zone.test", "",
		"u@far.test", 554, "5.7.1", "<a.b.zone.test>: Helo command rejected: Access denied",
		NULL},
	{"check_reverse_client_hostname_a_access inline:{192.0.2.82=REJECT}", NULL, "192.0.2.1",
		"a.b.zone.test", "h", "", "u@far.test", 554, "5.7.1",
		"<a.b.zone.test>: Unverified Client host rejected: Access denied", NULL},
	/* Lists. */
	{"reject_rbl_client list.test", NULL, "192.0.2.2", "", "h", "", "u@far.test", 554, "5.7.1",
		"Service unavailable; Client host [192.0.2.2] blocked using list.test; bad "
		"$client; see list.test / second",
		NULL},
	{"reject_rbl_client list.test=127.0.0.[2;4..8]", NULL, "192.0.2.2", "", "h", "",
		"u@far.test", 554, "5.7.1",
		"Service unavailable; Client host [192.0.2.2] blocked using list.test; bad "
		"$client; see list.test / second",
		NULL},
	{"reject_rbl_client list.test=127.0.0.[2;5..8]", NULL, "192.0.2.2", "", "h", "",
		"u@far.test", 0, "", "", NULL},
	{"reject_rbl_client list.test", "maps_rbl_reject_code=450", "192.0.2.4", "", "h", "",
		"u@far.test", 450, "4.7.1",
		"Service unavailable; Client host [192.0.2.4] blocked using list.test", NULL},
	{"reject_rbl_client list.test", "default_rbl_reply=550 5.7.9 $client_address $$ $sender",
		"192.0.2.4", "", "h", "", "u@far.test", 550, "5.7.9", "192.0.2.4 $ <>", NULL},
	{"reject_rbl_client list.test",
		"rbl_reply_maps=inline:{{list.test=521 $$recipient_domain no}}", "192.0.2.4", "",
		"h", "", "u@far.test", 521, "5.7.1", "far.test no", NULL},
	{"reject_rbl_client list.test", "rbl_reply_maps=inline:{list.test=no}", "192.0.2.4", "",
		"h", "", "u@far.test", 450, "4.7.1", "Service unavailable",
		"rbl response code configuration error: no"},
	{"reject_rbl_client list.test", "rbl_reply_maps=fail:x", "192.0.2.4", "", "h", "",
		"u@far.test", 451, "4.3.5",
		"<u@far.test>: Recipient address rejected: Server configuration error", NULL},
	{"reject_rbl_client list.test", NULL, "192.0.2.3", "", "h", "", "u@far.test", 0, "", "",
		"3.2.0.192.list.test: RBL lookup error: Host not found, try again"},
	{"reject_rbl_client list.test", NULL, "2001:db8::1", "", "h", "", "u@far.test", 0, "", "",
		NULL},
	{"permit_dnswl_client list.test, reject", NULL, "192.0.2.2", "", "h", "", "u@local.test", 0,
		"", "", NULL},
	{"permit_dnswl_client list.test, reject", NULL, "192.0.2.2", "", "h", "", "u@far.test", 554,
		"5.7.1", "<u@far.test>: Recipient address rejected: Access denied", NULL},
	{"permit_dnswl_client list.test, reject", NULL, "192.0.2.3", "", "h", "", "u@local.test",
		450, "4.7.1", "<192.0.2.3>: Client host rejected: Service unavailable", NULL},
	{"reject_rhsbl_sender names.test", NULL, "", "", "h", "x@spam.test", "u@far.test", 554,
		"5.7.1",
		"Service unavailable; Sender address [x@spam.test] blocked using names.test", NULL},
	{"reject_rhsbl_sender names.test", NULL, "", "", "h", "x@soft.test", "u@far.test", 0, "",
		"", "soft.test.names.test: RBL lookup error: Host not found, try again"},
	{"reject_rhsbl_recipient names.test", NULL, "", "", "h", "", "u@spam.test", 554, "5.7.1",
		"Service unavailable; Recipient address [u@spam.test] blocked using names.test",
		NULL},
	{"reject_rhsbl_helo names.test=127.0.1.2", NULL, "", "", "spam.test", "", "u@far.test", 554,
		"5.7.1", "Service unavailable; Helo command [spam.test] blocked using names.test",
		NULL},
	{"reject_rhsbl_client names.test", NULL, "192.0.2.1", "spam.test", "h", "", "u@far.test",
		554, "5.7.1",
		"Service unavailable; Client host [spam.test] blocked using names.test", NULL},
	{"reject_rhsbl_reverse_client names.test", NULL, "192.0.2.1", "spam.test", "h", "",
		"u@far.test", 554, "5.7.1",
		"Service unavailable; Unverified Client host [spam.test] blocked using names.test",
		NULL},
	{"permit_rhswl_client names.test, reject", NULL, "192.0.2.1", "spam.test", "h", "",
		"u@local.test", 0, "", "", NULL},
	/* smtpd_dns_reply_filter: what is dropped decides nothing. */
	{"reject_unknown_sender_domain",
		"smtpd_dns_reply_filter=inline:{{host.test. 60 IN A 192.0.2.80=IGNORE}}", "", "",
		"h", "x@host.test", "u@far.test", 0, "", "",
		"host.test: MX or address lookup error: DNS reply filter drops all results"},
	{"reject_unknown_recipient_domain",
		"smtpd_dns_reply_filter=regexp:{{/^good.test. 60 IN MX 10 mx.good.test.$$/ "
		"ignore}}",
		"", "", "h", "", "u@good.test", 0, "", "",
		"good.test: MX or address lookup error: DNS reply filter drops all results"},
	{"reject_unknown_sender_domain", "smtpd_dns_reply_filter=regexp:{{/./ IGNORE}}", "", "",
		"h", "x@none.test", "u@far.test", 450, "4.1.8",
		"<x@none.test>: Sender address rejected: Domain not found", NULL},
	{"reject_unknown_sender_domain", "smtpd_dns_reply_filter=regexp:{{/./ IGNORE}}", "", "",
		"h", "x@soft.test", "u@far.test", 450, "4.1.8",
		"<x@soft.test>: Sender address rejected: Domain not found", NULL},
	{"reject_unknown_sender_domain", "smtpd_dns_reply_filter=regexp:{{/./ IGNORE}}", "", "",
		"h", "x@half.test", "u@far.test", 0, "", "",
		"half.test: MX or address lookup error: DNS reply filter drops all results"},
	{"reject_unknown_helo_hostname", "smtpd_dns_reply_filter=regexp:{{/ IN A / IGNORE}}", "",
		"", "host.test", "", "u@far.test", 0, "", "",
		"host.test: address or MX lookup error: DNS reply filter drops all results"},
	{"check_sender_mx_access inline:{mx.good.test=REJECT}",
		"smtpd_dns_reply_filter=regexp:{{/ IN MX / IGNORE}}", "", "", "h", "x@good.test",
		"u@far.test", 0, "", "",
		"Unable to look up MX host for good.test: DNS reply filter policy"},
	{"check_recipient_mx_access inline:{{mx.good.test=550 a},{me.test=550 b}}",
		"smtpd_dns_reply_filter=inline:{{own.test. 60 IN MX 10 mx.good.test.=IGNORE}}", "",
		"", "h", "", "u@own.test", 550, "5.7.1",
		"<u@own.test>: Recipient address rejected: b", NULL},
	{"check_helo_ns_access inline:{ns2.zone.test=REJECT}",
		"smtpd_dns_reply_filter=regexp:{{/ IN NS ns2\\.zone\\.test\\.$$/ IGNORE}}", "", "",
		"a.b.zone.test", "", "u@far.test", 0, "", "", NULL},
	{"check_helo_a_access inline:{192.0.2.82=REJECT}",
		"smtpd_dns_reply_filter=regexp:{{/./ IGNORE}}", "", "", "a.b.zone.test", "",
		"u@far.test", 554, "5.7.1", "<a.b.zone.test>: Helo command rejected: Access denied",
		NULL},
	{"reject_rbl_client list.test",
		"smtpd_dns_reply_filter=regexp:{{/\\.list\\.test\\. 60 IN A 127.0.0.4$$/ IGNORE}}",
		"192.0.2.2", "", "h", "", "u@far.test", 0, "", "",
		"2.2.0.192.list.test: RBL lookup error: Error looking up name=2.2.0.192.list.test "
		"type=A: DNS reply filter drops all results"},
	{"reject_rbl_client list.test",
		"smtpd_dns_reply_filter=regexp:{{/ IN TXT second$$/ IGNORE}}", "192.0.2.2", "", "h",
		"", "u@far.test", 554, "5.7.1",
		"Service unavailable; Client host [192.0.2.2] blocked using list.test; bad "
		"$client; see list.test",
		NULL},
	{"permit_dnswl_client list.test, reject",
		"smtpd_dns_reply_filter=regexp:{{/ IN A / IGNORE}}", "192.0.2.2", "", "h", "",
		"u@local.test", 450, "4.7.1",
		"<192.0.2.2>: Client host rejected: Service unavailable", NULL},
	{"reject_unknown_sender_domain", "smtpd_dns_reply_filter=fail:x", "", "", "h",
		"x@host.test", "u@far.test", 450, "4.1.8",
		"<x@host.test>: Sender address rejected: Domain not found",
		"smtpd_dns_reply_filter: lookup error for \"host.test. 60 IN A 192.0.2.80\""},
	{"reject_unknown_sender_domain", "smtpd_dns_reply_filter=static:KEEP", "", "", "h",
		"x@host.test", "u@far.test", 450, "4.1.8",
		"<x@host.test>: Sender address rejected: Domain not found",
		"smtpd_dns_reply_filter: unknown DNS filter action: \"KEEP\""},
	{"permit_mx_backup, reject", "smtpd_dns_reply_filter=regexp:{{/ IN MX / IGNORE}}", "", "",
		"h", "", "u@own.test", 450, "4.4.4",
		"<u@own.test>: Recipient address rejected: Unable to look up mail exchanger "
		"information: DNS reply filter policy",
		NULL},
	/* Backup MX. */
	{"permit_mx_backup, reject", NULL, "", "", "h", "", "u@own.test", 0, "", "", NULL},
	{"permit_mx_backup, reject", NULL, "", "", "h", "", "u@first.test", 554, "5.7.1",
		"<u@first.test>: Recipient address rejected: Access denied", NULL},
	{"permit_mx_backup, reject", "permit_mx_backup_networks=192.0.2.0/24", "", "", "h", "",
		"u@own.test", 554, "5.7.1",
		"<u@own.test>: Recipient address rejected: Access denied", NULL},
	{"permit_mx_backup, reject", "permit_mx_backup_networks=192.0.2.0/24,[2001:db8::]/32", "",
		"", "h", "", "u@own.test", 0, "", "", NULL},
	{"permit_mx_backup, reject", NULL, "", "", "h", "", "u@soft.test", 450, "4.4.4",
		"<u@soft.test>: Recipient address rejected: Unable to look up mail exchanger "
		"information: Host not found, try again",
		NULL},
	{"permit_mx_backup, reject", NULL, "", "", "h", "", "u@host.test", 554, "5.7.1",
		"<u@host.test>: Recipient address rejected: Access denied", NULL},
	/* Hosts of direct delivery: by address, by name, by the MX hosts of a domain. */
	{"permit_direct_delivery_hosts, reject",
		"direct_delivery_maps=inline:{{a.test=[192.0.2.1]:25, [host.test]}}", "192.0.2.1",
		"unknown", "h", "", "u@far.test", 0, "", "", NULL},
	{"permit_direct_delivery_hosts, reject",
		"direct_delivery_maps=inline:{{a.test=[192.0.2.1]:25, [host.test]}}", "192.0.2.80",
		"unknown", "h", "", "u@far.test", 0, "", "", NULL},
	{"permit_direct_delivery_hosts, reject",
		"direct_delivery_maps=inline:{{a.test=[192.0.2.1]:25, [host.test]}}", "192.0.2.81",
		"unknown", "h", "", "u@far.test", 554, "5.7.1",
		"<u@far.test>: Recipient address rejected: Access denied", NULL},
	{"permit_direct_delivery_hosts, reject",
		"direct_delivery_maps=inline:{{a.test=[host.test]}}", "192.0.2.90", "host.test",
		"h", "", "u@far.test", 0, "", "", NULL},
	{"permit_direct_delivery_hosts, reject",
		"direct_delivery_maps=inline:{{a.test=good.test:2525}}", "192.0.2.25", "unknown",
		"h", "", "u@far.test", 0, "", "", NULL},
	{"permit_direct_delivery_hosts, reject", "direct_delivery_maps=inline:{{a.test=good.test}}",
		"2001:db8::25", "unknown", "h", "", "u@far.test", 0, "", "", NULL},
	{"permit_direct_delivery_hosts, reject",
		"direct_delivery_maps=inline:{{a.test=[good.test]}}", "192.0.2.25", "unknown", "h",
		"", "u@far.test", 554, "5.7.1",
		"<u@far.test>: Recipient address rejected: Access denied", NULL},
	{"permit_direct_delivery_hosts, reject",
		"direct_delivery_maps=inline:{{a.test=[IPv6:2001:db8::1]}}", "2001:db8::1",
		"unknown", "h", "", "u@far.test", 0, "", "", NULL},
	{"permit_direct_delivery_hosts, reject",
		"direct_delivery_maps=inline:{{a.test=[soft.test]}}", "192.0.2.25", "unknown", "h",
		"", "u@far.test", 450, "4.4.3",
		"<u@far.test>: Recipient address rejected: Temporary lookup failure", NULL},
	{"permit_direct_delivery_hosts, reject",
		"direct_delivery_maps=inline:{{a.test=[soft.test], [host.test]}}", "192.0.2.80",
		"unknown", "h", "", "u@far.test", 0, "", "", NULL},
};

static struct policy *load(const char *list, const char *more, struct buf *why)
{
	char recipient[500];
	/* Relaying is somebody else's test; a guard must be there. */
	const char *overrides[] = {"myhostname=mx.test", "mydestination=local.test",
		"relay_domains=", "alias_maps=", "local_recipient_maps=", "inet_protocols=all",
		"proxy_interfaces=198.51.100.9",
		"smtpd_relay_restrictions=check_recipient_access static:OK, reject", recipient,
		more, NULL};

	(void)snprintf(recipient, sizeof(recipient), "smtpd_recipient_restrictions=%s", list);
	return stage_load(overrides, why);
}

static bool has_note(const struct policy_verdict *v, const char *text)
{
	struct policy_note n;
	size_t at = 0;

	while (policy_note_next(v, &at, &n)) {
		if (slice_find_str(n.text, text) >= 0)
			return true;
		diag("note: %.*s", SLICE_FMT(n.text));
	}
	return false;
}

static void test_row(size_t i)
{
	struct buf why = BUF_INIT(65536);
	struct policy_verdict v;
	struct policy_facts f = {.client_addr = slice_str(rows[i].client),
		.client_name = slice_str(rows[i].name),
		.reverse_name = slice_str(rows[i].name),
		.namaddr = slice_str(rows[i].name),
		.helo = slice_str(rows[i].helo),
		.sender = slice_str(rows[i].sender),
		.recipient = slice_str(rows[i].recipient)};
	struct policy *p = load(rows[i].list, rows[i].more, &why);

	policy_verdict_init(&v);
	if (!ok(p != NULL, "%zu: %s", i, rows[i].list))
		diag("%s", buf_str(&why));
	if (p != NULL)
		(void)stage_check(p, POLICY_RCPT, &f, &v);
	is_int(stage_code(&v), rows[i].code, "code");
	is_str(v.status, rows[i].status, "status");
	is_slice(buf_slice(&v.text), rows[i].text, "text");
	if (rows[i].warning != NULL)
		ok(has_note(&v, rows[i].warning), "it is noted: %s", rows[i].warning);
	policy_close(&p);
	policy_verdict_clear(&v);
	buf_clear(&why);
}

static void test_patterns(void)
{
	static const struct {
		const char *text;
		uint8_t address[4];
		int result; /* 1 matches, 0 not, -1 bad */
	} patterns[] = {
		{"127.0.0.2", {127, 0, 0, 2}, 1},
		{"127.0.0.2", {127, 0, 0, 3}, 0},
		{"127.0.0.[1..3;7]", {127, 0, 0, 7}, 1},
		{"127.0.0.[1..3;7]", {127, 0, 0, 3}, 1},
		{"127.0.0.[1..3;7]", {127, 0, 0, 4}, 0},
		{"127.[0..1].[0;9].[0..255]", {127, 1, 9, 255}, 1},
		{"127.[0..1].[0;9].[0..255]", {127, 1, 8, 255}, 0},
		{"", {0}, -1},
		{"127.0.0", {0}, -1},
		{"127.0.0.", {0}, -1},
		{"127.0.0.256", {0}, -1},
		{"127.0.0.[3..1]", {0}, -1},
		{"127.0.0.[1..3", {0}, -1},
		{"127.0.0.[]", {0}, -1},
		{"127.0.0.[1;]", {0}, -1},
		{"127.0.0.1.1", {0}, -1},
		{"127.0.0.1x", {0}, -1},
	};
	struct rbl_pattern p;
	struct buf why = BUF_INIT(4096);

	for (size_t i = 0; i < COUNT_OF(patterns); i++) {
		int err = rbl_pattern_parse(slice_str(patterns[i].text), &p, &why);
		int got = err != 0 ? -1 : rbl_pattern_match(&p, patterns[i].address);
		is_int(got, patterns[i].result, "pattern \"%s\"", patterns[i].text);
	}
	buf_clear(&why);
}

static void test_query_names(void)
{
	struct buf out = BUF_INIT(2048);

	is_int(rbl_query_name(SLICE_LIT("192.0.2.7"), SLICE_LIT("z.test"), &out), 0, "IPv4");
	is_slice(buf_slice(&out), "7.2.0.192.z.test", "backwards");
	is_int(rbl_query_name(SLICE_LIT("2001:db8::1"), SLICE_LIT("z.test"), &out), 0, "IPv6");
	is_slice(buf_slice(&out),
		"1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.z.test",
		"by half bytes");
	is_int(rbl_query_name(SLICE_LIT("unknown"), SLICE_LIT("z.test"), &out), ERR_SYNTAX,
		"no address");
	buf_clear(&out);
}

static void test_bad_lists(void)
{
	static const char *const bad[] = {"reject_rbl_client list.test=127.0.0",
		"reject_rhsbl_sender -list-.test=1.2.3.4.5", "permit_dnswl_client a..b"};
	struct buf why = BUF_INIT(65536);

	for (size_t i = 0; i < COUNT_OF(bad); i++) {
		struct policy *p = load(bad[i], NULL, &why);
		ok(p == NULL, "refused: %s", bad[i]);
		policy_close(&p);
		buf_reset(&why);
	}
	buf_clear(&why);
}

/* More questions than an evaluation may ask: no answer, and no pass for what must be known. */
static void test_limit(void)
{
	struct buf why = BUF_INIT(65536);
	struct policy_verdict v;
	struct policy_facts f = {.client_addr = SLICE_LIT("192.0.2.2"),
		.sender = SLICE_LIT("x@none.test"),
		.recipient = SLICE_LIT("u@far.test")};
	struct policy *p = load("reject_unknown_sender_domain", NULL, &why);
	struct later l;

	policy_verdict_init(&v);
	later_init(&l, 0, NULL, NULL);
	is_int(policy_check(p, POLICY_RCPT, &f, &l, &v), 0, "decided without a question");
	is_int(v.code, 450, "for later");
	later_clear(&l);
	policy_close(&p);
	policy_verdict_clear(&v);
	buf_clear(&why);
}

int main(void)
{
	stage_open(answer_all);
	for (size_t i = 0; i < COUNT_OF(rows); i++)
		test_row(i);
	ok(asked_n > 0, "questions were asked");
	test_patterns();
	test_query_names();
	test_bad_lists();
	test_limit();
	stage_close();
	return done_testing();
}
