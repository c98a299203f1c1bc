/* SPDX-License-Identifier: ISC */
#include "conf/set.h"
#include "conf/value.h"
#include "t/conf/stage.h"
#include "t/tap.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/mem.h"

#define ARRAY_LEN(a) (sizeof(a) / sizeof(*(a)))

/* Loads the text as main.cf; the mistakes without the directory's name. */
static char *load(const char *text, int *result)
{
	struct buf why = BUF_INIT(100000);
	char *copy = NULL;

	stage_write("main.cf", text);
	*result = conf_load(stage_dir, NULL, &why);
	copy = stage_mistakes(&why);
	buf_clear(&why);
	return copy;
}

static const struct {
	const char *text, *mistakes;
} mistaken[] = {
	{"message_size_limit = 1\n", ""},
	{"message_size_limit = x\n", "main.cf:1:22: error: message_size_limit: \"x\" is no "
				     "number; expected 0 or more\n"},
	{"\n# c\nsmtpd_timeout =\n  # in between\n  30q\n",
		"main.cf:5:3: error: smtpd_timeout: \"30q\" is no time; expected a number "
		"and s, "
		"m, h, d or w, 1s or more\n"},
	{"smtpd_timeout = 0\n", "main.cf:1:17: error: smtpd_timeout: \"0\" is out of "
				"bounds; expected 1s or more\n"},
	{"maximal_queue_lifetime = 101\n",
		"main.cf:1:26: error: maximal_queue_lifetime: \"101\" is "
		"out of bounds; expected 0d to 100d\n"},
	{"soft_bounce = maybe\n", "main.cf:1:15: error: soft_bounce: \"maybe\" is neither; "
				  "expected yes or no\n"},
	{"log_level = loud\n", "main.cf:1:13: error: log_level: \"loud\" is none of its values; "
			       "expected one of none, error, info, debug\n"},
	{"transport_maps = hsah:/x, btree:/y\n", "main.cf:1:18: error: transport_maps: unknown "
						 "table type \"hsah\"; expected \"hash\"\n"},
	{"transport_maps = hash:/x,\n  /y\n", "main.cf:2:3: error: transport_maps: \"/y\" is no "
					      "table; expected type:name\n"},
	{"mynetworks = 127.0.0.0/8 [::1]/128 fd00::/8 !10.0.0.1 /etc/x cidr:/y\n", ""},
	{"myhostname = $mydomian\n", "main.cf:1:14: error: myhostname: \"$mydomian\" is not "
				     "defined; expected \"$mydomain\"\n"},
	{"smtpd_recipient_restrictions = permit_mynetworks,\n\treject_unauth_destinatio\n",
		"main.cf:2:2: error: smtpd_recipient_restrictions: unknown restriction "
		"\"reject_unauth_destinatio\"; expected \"reject_unauth_destination\"\n"},
	{"smtpd_data_restrictions = check_policy_service { unix:p, timeout=1s },\n"
	 "\treject_rbl_client z.test=127.0.0.[1;3..5]\n",
		""},
	{"smtpd_data_restrictions = check_policy_service 127.0.0.1:10023\n",
		"main.cf:1:27: error: smtpd_data_restrictions: \"127.0.0.1:10023\" behind "
		"\"check_policy_service\" is no server; expected unix:PATH or "
		"inet:HOST:PORT\n"},
	{"smtpd_data_restrictions = reject_rbl_client permit_mynetworks.test,x\n",
		"main.cf:1:68: error: smtpd_data_restrictions: unknown restriction \"x\"; expected "
		"one of "
		"gatepost.conf(5)\n"},
	{"smtpd_data_restrictions = reject_rbl_client permit_mynetworks,x\n",
		"main.cf:1:27: error: smtpd_data_restrictions: \"reject_rbl_client\" without its "
		"argument; "
		"expected a name\n"},
	{"smtpd_data_restrictions = reject_rbl_client z.test=any\n",
		"main.cf:1:27: error: smtpd_data_restrictions: \"z.test=any\" behind "
		"\"reject_rbl_client\" is no DNS list; expected DOMAIN or "
		"DOMAIN=127.0.0.[2;4..11]\n"},
	{"smtpd_data_restrictions = check_ccert_access { hash:x, { search_order = "
	 "pubkey_fingerprint, subject issuer_cn } }\n",
		""},
	{"smtpd_data_restrictions = check_ccert_access { hash:x { search_order = subjct } }\n",
		"main.cf:1:27: error: smtpd_data_restrictions: search_order: \"subjct\" is not "
		"known; expected cert_fingerprint, pubkey_fingerprint, subject or issuer, each "
		"once\n"},
	{"smtpd_data_restrictions = check_ccert_access { hash:x { search_order = subject subject "
	 "subject subject issuer } }\n",
		"main.cf:1:27: error: smtpd_data_restrictions: search_order: \"issuer\" is one "
		"too many; expected cert_fingerprint, pubkey_fingerprint, subject or issuer, each "
		"once\n"},
	{"smtpd_data_restrictions = check_ccert_access { hash:x search_order }\n",
		"main.cf:1:27: error: smtpd_data_restrictions: \"search_order\" is no attribute "
		"of a table; expected { search_order = … } behind the table of "
		"check_ccert_access\n"},
	{"smtpd_data_restrictions = check_ccert_access { hash:x { search_order = } }\n",
		"main.cf:1:27: error: smtpd_data_restrictions: search_order: \"\" is not known; "
		"expected cert_fingerprint, pubkey_fingerprint, subject or issuer, each once\n"},
	{"smtpd_data_restrictions = check_sender_access { hash:x { search_order = subject } }\n",
		"main.cf:1:27: error: smtpd_data_restrictions: \"{ search_order = subject }\" is "
		"no "
		"attribute of a table; expected { search_order = … } behind the table of "
		"check_ccert_access\n"},
	{"smtpd_restriction_classes = mine\nmine = permit\nsmtpd_relay_restrictions = "
	 "mine\n",
		""},
	{"local_header_rewrite_clients = permit_tls_clientcerts, check_address_map hash:x "
	 "static:all\n",
		""},
	{"local_header_rewrite_clients = permit_mynetworks,\n reject\n",
		"main.cf:2:2: error: local_header_rewrite_clients: \"reject\" is none of its "
		"words; expected permit_inet_interfaces, permit_mynetworks, "
		"permit_sasl_authenticated, permit_tls_clientcerts, permit_tls_all_clientcerts, "
		"check_address_map, type:name\n"},
	{"local_header_rewrite_clients = hsah:x\n",
		"main.cf:1:32: error: local_header_rewrite_clients: unknown table type \"hsah\"; "
		"expected \"hash\"\n"},
	{"a = $b\nb = $a\n", "main.cf:1:5: error: a: a value that leads back to itself; "
			     "expected one that ends\n"},
	{"myhostname = ${mydomain\n", "main.cf:1:14: error: myhostname: a \"${\" without "
				      "its \"}\"; expected ${name}\n"},
	{" myhostname = a\n",
		"main.cf:1:1: error: the first line begins with a blank; expected name "
		"= value at its beginning\n"},
	{"nothing\n", "main.cf:1:1: error: no \"=\"; expected name = value\n"},
	{"a b = c\n", "main.cf:1:1: error: \"a b\" is no name; expected letters, digits and _\n"},
	{"soft_bounce = yes\nsoft_bounce = no\n",
		"main.cf:2:1: warning: soft_bounce is set again; expected one setting, the "
		"one "
		"in line 1 is not used\n"},
	{"default_destination_rate_delay = x\n",
		"main.cf:1:34: error: default_destination_rate_delay: \"x\" is no time; "
		"expected a "
		"number and s, m, h, d or w, 0s or more\n"},
	{"slow_destination_rate_delay = x\n",
		"main.cf:1:31: error: slow_destination_rate_delay: \"x\" is no time; "
		"expected a "
		"number and s, m, h, d or w, 0s or more\n"},
};

static void check_mistakes(void)
{
	for (size_t i = 0; i < ARRAY_LEN(mistaken); i++) {
		int r = 0;
		char *got = load(mistaken[i].text, &r);

		is_str(got, mistaken[i].mistakes, "mistakes of case %zu", i);
		is_int(r == 0, strstr(mistaken[i].mistakes, ": error: ") == NULL,
			"result of case %zu", i);
		mem_free(got);
	}
}

/* A row of LMTP is checked as the one of SMTP is: the same values are mistakes. */
static void check_twins(void)
{
	static const char *const values[] = {"-1", "0", "1000000000", "junk word", "hsah:x", "[",
		"noanonymous", "dns", "res_defnames", "ipv4", ">=TLSv1.2", "10.0.0.1", "::1",
		"disable_esmtp", "/nonexistent"};
	size_t pairs = 0;

	for (int i = 0; i < P_COUNT; i++) {
		enum param own = param_lmtp((enum param)i);
		const char *differs = NULL;

		for (size_t k = 0; own != P_COUNT && k < ARRAY_LEN(values); k++) {
			char *smtp = mem_fmt("%s = %s\n", conf_name((enum param)i), values[k]);
			char *lmtp = mem_fmt("%s = %s\n", conf_name(own), values[k]);
			int r[2] = {0};
			char *first = load(smtp, &r[0]), *second = load(lmtp, &r[1]);

			if (r[0] != r[1])
				differs = values[k];
			mem_free(smtp);
			mem_free(lmtp);
			mem_free(first);
			mem_free(second);
		}
		pairs += own != P_COUNT;
		if (differs != NULL)
			fail("%s = %s is as good or bad as with SMTP", conf_name(own), differs);
	}
	ok(pairs > 90, "%zu rows of LMTP", pairs);
}

static void check_expansion(void)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
		{"a$mydomain", "aexample.test"},
		{"${mydomain}b$(mydomain)", "example.testbexample.test"},
		{"$$mydomain", "$mydomain"},
		{"${stress?a}${stress:b}", "b"},
		{"${mydomain?{yes}:{no}} ${stress?{yes}:{no}}", "yes no"},
		{"${mydomain ? { yes } : { no }}", "yes"},
		{"${mydomain?$mydomain}", "example.test"},
		{"${{$mydomain} == {example.test} ? {x} : {y}}", "x"},
		{"${{9} < {10} ? {x} : {y}}", "x"},
		{"${{9a} < {10} ? {x} : {y}}", "y"},
		{"${{1}>={2}?{x}:{y}}${{2}!={2}?{x}:{y}}${{2}<={2}?{x}:{y}}", "yyx"},
		{"${{3.6} <level {3.11} ? {x} : {y}}${{3} ==level {3.0.0} ? {x} : {y}}", "xx"},
		{"${{1} == {2} ? {x}}", ""},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char *text = mem_fmt("mydomain = example.test\nx = %s\n", cases[i].text);
		int r = 0;

		mem_free(load(text, &r));
		is_int(r, 0, "%s", cases[i].text);
		is_str(conf_lookup("x"), cases[i].want, "value of %s", cases[i].text);
		mem_free(text);
	}
}

static void check_values(void)
{
	int r = 0;

	mem_free(
		load("myhostname = mx.example.test\nsmtpd_timeout = 2m\nqueue_file_delay = 5\n"
		     "slow_destination_rate_delay = 3s\nlocal_initial_destination_concurrency = 7\n"
		     "maximal_queue_lifetime = 2\nmynetworks = 10.0.0.0/8\nluser_relay = $user@x\n",
			&r));
	is_int(r, 0, "loads");
	is_str(conf_str(P_mydomain), "example.test", "mydomain comes of myhostname");
	is_str(conf_str(P_smtpd_banner), "mx.example.test ESMTP Gatepost", "a default is expanded");
	is_str(conf_str(P_luser_relay), "$user@x", "a raw value is not");
	is_str(conf_str(P_relay_domains), "", "the default of the present level");
	is_int(conf_time(P_smtpd_timeout), 120 * CLOCK_SEC, "minutes");
	is_int(conf_time(P_maximal_queue_lifetime), INT64_C(172800) * CLOCK_SEC, "days by default");
	is_int(conf_time(P_queue_file_delay), 5 * CLOCK_SEC, "seconds by default");
	is_int(conf_transport_time("slow", P_transport_destination_rate_delay), 3 * CLOCK_SEC,
		"a transport's own");
	is_int(conf_transport_time("smtp", P_transport_destination_rate_delay), 0, "the default");
	is_int(conf_transport_int("local", P_transport_destination_concurrency_limit), 2,
		"a row of a transport's own");
	is_int(conf_transport_int("local", P_transport_initial_destination_concurrency), 7,
		"a longer name is not taken for a shorter");
	is_int(conf_transport_int("smtp", P_transport_destination_concurrency_limit), 20,
		"by the row which the default names");
	ok(conf_int(P_default_process_limit) >= 100, "a process limit from the machine");
	ok(conf_lookup("message_size_limit") == NULL, "not set");
	is_str(conf_lookup("mynetworks"), "10.0.0.0/8", "set");
	is_str(conf_name(P_2bounce_notice_recipient), "2bounce_notice_recipient", "name");
}

static void check_encoding(void)
{
	struct conf *c = conf_new(stage_dir), *d = NULL;
	struct buf bytes = BUF_INIT(1 << 20), why = BUF_INIT(1000);
	struct mistakes m;

	mistakes_init(&m);
	stage_write("main.cf", "myhostname = a.test\nown = x$myhostname\n");
	set_read_main(c, &m);
	set_override(c, SLICE_LIT("smtpd_banner"), SLICE_LIT("hello"), NULL, NULL);
	is_int(set_build(c, &m), 0, "builds");
	set_encode(c, &bytes);
	is_int(conf_decode(buf_slice(&bytes), &why, &d), 0, "decodes: %s", buf_str(&why));
	is_str(set_str(d, P_smtpd_banner), "hello", "an override");
	is_str(set_str(d, P_mynetworks), set_str(c, P_mynetworks), "the machine's");
	is_str(set_str(d, P_config_directory), stage_dir, "the directory");
	conf_install(&d);
	is_str(conf_lookup("own"), "xa.test", "a name of its own");
	for (size_t i = 1; i < bytes.len; i += 7) {
		if (conf_decode(slice_first(buf_slice(&bytes), i), &why, &d) == 0)
			conf_free(&d);
	}
	set_override(c, SLICE_LIT("soft_bounce"), SLICE_LIT("?"), NULL, NULL);
	buf_reset(&bytes);
	buf_reset(&why);
	set_encode(c, &bytes);
	is_int(conf_decode(buf_slice(&bytes), &why, &d), ERR_SYNTAX, "a wrong value is refused");
	is_str(buf_str(&why), "error: soft_bounce: \"?\" is neither; expected yes or no", "why");
	conf_free(&c);
	buf_clear(&bytes);
	buf_clear(&why);
	mistakes_clear(&m);
}

static void check_names(void)
{
	ok(param_is_unsupported(SLICE_LIT("smtp_tls_per_site")), "known to Postfix");
	ok(!param_is_unsupported(SLICE_LIT("mynetworks")), "supported");
	is_str(param_nearest(SLICE_LIT("mynetwork")), "mynetworks", "one letter missing");
	is_str(param_nearest(SLICE_LIT("smptd_banner")), "smtpd_banner", "letters swapped");
	ok(param_nearest(SLICE_LIT("colourless_green_ideas")) == NULL, "nothing near");
	for (int i = 0; i < P_COUNT; i++) {
		const struct param_row *row = param_row((enum param)i);

		if (param_find(slice_str(row->name)) != (enum param)i ||
			(row->programs & ~(unsigned)PROG_ALL) != 0 ||
			row->text[strlen(row->text) - 1] != '.' ||
			param_is_unsupported(slice_str(row->name)))
			fail("row %s is sound", row->name);
	}
}

int main(void)
{
	stage_begin();
	check_mistakes();
	check_twins();
	check_expansion();
	check_values();
	check_encoding();
	check_names();
	stage_end();
	return done_testing();
}
