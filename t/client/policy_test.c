/* SPDX-License-Identifier: ISC */
/* What main.cf and smtp_tls_policy_maps say of a next hop, and what DANE makes of it. */
#include "t/tap.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "net/loop.h"
#include "smtp-client/anchors.h"
#include "smtp-client/dane.h"
#include "smtp-client/delivery.h"
#include "smtp-client/policy.h"
#include "util/err.h"
#include "util/fd.h"
#include "util/mem.h"

static char dir[] = "/tmp/gp-policy-XXXXXX";
static char *pem, *secret, *nothing;

static const char fake[] = "-----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----";
static const char key[] = "-----BEGIN PRIVATE KEY-----\nSECRET\n-----END PRIVATE KEY-----";

static void put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || fd_write_full(fd, text, strlen(text)) != 0) {
		bail_out("cannot write %s", path);
	}
	fd_close(&fd);
}

static void set_up(void)
{
	struct buf why = BUF_INIT(65536);
	char *text = mem_fmt("%s\n%s\njunk\n", key, fake);
	if (mkdtemp(dir) == NULL) {
		bail_out("no directory");
	}
	pem = mem_fmt("%s/ta.pem", dir);
	secret = mem_fmt("%s/key.pem", dir);
	nothing = mem_fmt("%s/nothing", dir);
	put(pem, text);
	put(secret, key);
	char *main_cf = mem_fmt("%s/main.cf", dir);
	char *table = mem_fmt("%s/table", dir);
	char *cf = mem_fmt("compatibility_level = 3.6\nmyhostname = client.test\n"
			   "smtp_tls_security_level = may\nsmtp_tls_fingerprint_cert_match =\n"
			   "smtp_tls_exclude_ciphers = SEED\n"
			   "smtp_tls_mandatory_exclude_ciphers = RC4\n"
			   "smtp_tls_policy_maps = later:inline:{{none.test=none}, "
			   "{.parent.test=encrypt}, {exact.test:25=may}, {[10.0.0.1]:25=verify}, "
			   "{anchor.test=secure tafile=%s match=a.test:.b.test}, "
			   "{secret.test=secure tafile=%s}, {gone.test=verify tafile=%s}},"
			   "inline:{{bad.test=fail}, {empty.test=,}}, inline:{{error.test=x}}\n",
		pem, secret, nothing);
	put(main_cf, cf);
	if (conf_load(dir, NULL, &why) != 0) {
		bail_out("%s", buf_str(&why));
	}
	mem_free(text);
	mem_free(main_cf);
	mem_free(table);
	mem_free(cf);
	buf_clear(&why);
}

static void add(struct buf *out, const char *name, const char *value)
{
	if (value != NULL) {
		buf_add_fmt(out, " %s=%s", name, value);
	}
}

static const char *describe(int r, const struct policy *p, const struct buf *why)
{
	static struct buf out = BUF_INIT(8192);
	buf_reset(&out);
	if (r != 0) {
		buf_add_fmt(&out, "%s: %s", r == ERR_TEMP ? "TEMP" : "BAD", buf_str(why));
		return buf_str(&out);
	}
	buf_add_str(&out, tls_level_name(p->level));
	add(&out, "protocols", p->protocols);
	add(&out, "ciphers", p->grade);
	add(&out, "exclude", p->exclude);
	add(&out, "servername", p->servername);
	for (size_t i = 0; i < p->match_n; i++) {
		add(&out, "match", p->match[i]);
	}
	add(&out, "anchors", p->anchors);
	buf_add_str(&out, p->reuse ? "" : " once");
	return buf_str(&out);
}

static const struct {
	const char *value, *want;
} values[] = {
	{"none", "none"},
	{"may", "may"},
	{" encrypt ", "encrypt"},
	{"ENCRYPT", "encrypt"},
	{"dane", "dane"},
	{"dane-only", "dane-only"},
	{"verify", "verify match=hostname"},
	{"secure", "secure match=nexthop match=dot-nexthop"},
	{"verify match=mx.test", "verify match=mx.test"},
	{"secure match=a.test:.b.test match=hostname",
		"secure match=a.test match=.b.test match=hostname"},
	{"fingerprint match=AB:CD|12:34, match=56:78",
		"fingerprint match=AB:CD match=12:34 match=56:78"},
	{"encrypt protocols=>=TLSv1.3 ciphers=high exclude=AES128",
		"encrypt protocols=>=TLSv1.3 ciphers=high exclude=AES128"},
	{"encrypt exclude=", "encrypt exclude="},
	{"may servername=mx.test connection_reuse=no", "may servername=mx.test once"},
	{"may servername=hostname enable_rpk=yes", "may servername=hostname"},
	{"none match=x", "none"},
	{"", "BAD: here: invalid empty policy"},
	{" , ", "BAD: here: invalid empty policy"},
	{"encrpyt", "BAD: here: invalid security level \"encrpyt\""},
	{"match=x", "BAD: here: invalid security level \"match=x\""},
	{"encrypt match=x", "BAD: here: attribute \"match\" invalid at security level \"encrypt\""},
	{"may tafile=/x", "BAD: here: attribute \"tafile\" invalid at security level \"may\""},
	{"verify match=", "BAD: here: attribute \"match\" has empty value"},
	{"verify match", "BAD: here: malformed attribute/value pair \"match\""},
	{"verify =x", "BAD: here: malformed attribute/value pair \"=x\""},
	{"may matsch=x", "BAD: here: invalid attribute name: \"matsch\""},
	{"may ciphers=low ciphers=high",
		"BAD: here: attribute \"ciphers\" is specified multiple times"},
	{"may protocols=TLSv1.2 protocols=TLSv1.3",
		"BAD: here: attribute \"protocols\" is specified multiple times"},
	{"may connection_reuse=maybe",
		"BAD: here: attribute \"connection_reuse\" has bad value: \"maybe\""},
	{"may servername=a..b", "BAD: here: \"a..b\" specifies an invalid hostname"},
	{"fingerprint", "BAD: here: configured at fingerprint security level, but with no "
			"fingerprints to match"},
	{"verify tafile=/not/read", "BAD: here: trust anchors of /not/read are not known; files "
				    "are read at start"},
};

static void test_values(void)
{
	struct buf why = BUF_INIT(8192);
	for (size_t i = 0; i < COUNT_OF(values); i++) {
		struct policy *p = NULL;
		buf_reset(&why);
		int r = policy_parse(slice_str(values[i].value), "here", &p, &why);
		is_str(describe(r, p, &why), values[i].want, "\"%s\"", values[i].value);
		ok((r == 0) == (p != NULL), "no policy without a good value");
		policy_unref(&p);
	}
	/* The reason is lib/tls's. */
	static const char *const wrong[] = {"may protocols=TLSv9", "may ciphers=fine"};
	for (size_t i = 0; i < COUNT_OF(wrong); i++) {
		struct policy *p = NULL;
		is_int(policy_parse(slice_str(wrong[i]), "here", &p, &why), ERR_SYNTAX, "\"%s\"",
			wrong[i]);
		policy_unref(&p);
	}
	buf_clear(&why);
}

static void wake(void *arg)
{
	*(bool *)arg = true;
}

static const char *find(const char *site)
{
	struct buf why = BUF_INIT(8192);
	struct policy *p = NULL;
	struct later l;
	bool awake = false;
	later_init(&l, 100, wake, &awake);
	int r = policy_find(slice_str(site), &l, &p, &why);
	for (int turn = 0; r == ERR_LATER && turn < 100; turn++) {
		loop_once(clock_mono() + 100 * CLOCK_MSEC);
		r = policy_find(slice_str(site), &l, &p, &why);
	}
	const char *text = describe(r, p, &why);
	later_clear(&l);
	policy_unref(&p);
	buf_clear(&why);
	return text;
}

static void test_sites(void)
{
	static const char where[] = "BAD: smtp_tls_policy_maps, next-hop destination ";
	static const struct {
		const char *site, *want;
	} sites[] = {
		{"none.test", "none"},
		{"other.test", "may"},
		{"x.none.test", "may"},
		{"parent.test", "may"},
		{"a.parent.test", "encrypt"},
		{"b.a.parent.test", "encrypt"},
		{"exact.test:25", "may"},
		{"exact.test", "may"},
		{"[10.0.0.1]:25", "verify match=hostname"},
		{"[a.parent.test]", "may"},
		{"a.parent.test:25", "may"},
	};
	for (size_t i = 0; i < COUNT_OF(sites); i++) {
		is_str(find(sites[i].site), sites[i].want, "%s", sites[i].site);
	}
	char *want = mem_fmt("secure match=a.test match=.b.test anchors=%s\n\n", fake);
	is_str(find("anchor.test"), want, "a file of anchors, without the key in it");
	mem_free(want);
	want = mem_fmt("%s\"secret.test\": trust anchors of %s are not known; files are read at "
		       "start",
		where, secret);
	is_str(find("secret.test"), want, "a key alone is no anchor");
	mem_free(want);
	want = mem_fmt("%s\"bad.test\": invalid security level \"fail\"", where);
	is_str(find("bad.test"), want, "a bad value of the second table");
	mem_free(want);
	want = mem_fmt("%s\"empty.test\": invalid empty policy", where);
	is_str(find("empty.test"), want, "an empty one");
	mem_free(want);
	ok(strstr(find("gone.test"), "are not known") != NULL, "a file that is not there");
}

static void test_defaults(void)
{
	struct buf out = BUF_INIT(1024);
	struct policy *p = NULL;
	is_int(policy_parse(slice_str("may"), "here", &p, &out), 0, "may");
	is_str(policy_grade(p, TLS_MAY), "medium", "the grade of level may");
	policy_add_exclusions(&out, p, TLS_MAY);
	is_str(buf_str(&out), "SEED", "what level may excludes");
	buf_reset(&out);
	policy_add_exclusions(&out, p, TLS_ENCRYPT);
	is_str(buf_str(&out), "SEED RC4 eNULL", "what encrypt does");
	char *before = mem_str(p->key);
	policy_set_level(&p, TLS_SECURE);
	is_str(describe(0, p, NULL), "secure match=nexthop match=dot-nexthop", "raised");
	ok(strcmp(p->key, before) != 0, "another level is another key");
	policy_set_level(&p, TLS_MAY);
	is_str(p->key, before, "the same again is the same key");
	mem_free(before);
	policy_unref(&p);
	buf_clear(&out);
}

/* In a program of its own, which has read these settings and no others. */
static void answer_with(const char *const *more, int fd)
{
	const char *set[6] = {"smtp_tls_policy_maps="};
	struct buf why = BUF_INIT(65536);
	struct policy *p = NULL;
	struct later l;
	memcpy(set + 1, more, 4 * sizeof(*more));
	later_init(&l, 10, NULL, NULL);
	if (conf_load(dir, set, &why) == 0) {
		policy_init();
		int r = policy_find(SLICE_LIT("x.test"), &l, &p, &why);
		const char *said = describe(r, p, &why);
		(void)dprintf(fd, "%s: %s", said, p != NULL ? policy_grade(p, p->level) : "");
	}
	_exit(0);
}

static const char *by_itself(const char *const *more)
{
	static struct buf out = BUF_INIT(8192);
	int ends[2];
	pid_t pid = -1;
	if (pipe(ends) != 0 || (pid = fork()) < 0) {
		bail_out("no child");
	}
	if (pid == 0) {
		answer_with(more, ends[1]);
	}
	fd_close(&ends[1]);
	buf_reset(&out);
	(void)fd_read_all(ends[0], &out);
	fd_close(&ends[0]);
	(void)waitpid(pid, NULL, 0);
	return buf_str(&out);
}

/* What other settings make of a next hop without an entry, and the ciphers of its level. */
static void test_parameters(void)
{
	static const struct {
		const char *set[4];
		const char *want; /* and the grade */
	} rows[] = {
		{{"smtp_tls_security_level="}, "none: medium"},
		{{"smtp_tls_security_level=", "smtp_use_tls=yes"}, "may: medium"},
		{{"smtp_tls_security_level=", "smtp_enforce_tls=yes"},
			"verify match=hostname: medium"},
		{{"smtp_tls_security_level=", "smtp_enforce_tls=yes",
			 "smtp_tls_enforce_peername=no"},
			"encrypt: medium"},
		{{"smtp_use_tls=no", "smtp_enforce_tls=yes"}, "may: medium"},
		{{"smtp_tls_ciphers=high", "smtp_tls_mandatory_ciphers=low"}, "may: high"},
		{{"smtp_tls_security_level=encrypt", "smtp_tls_ciphers=low",
			 "smtp_tls_mandatory_ciphers=high"},
			"encrypt: high"},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		is_str(by_itself(rows[i].set), rows[i].want, "level of %s %s", rows[i].set[0],
			rows[i].set[1] != NULL ? rows[i].set[1] : "");
	}
}

static const uint8_t digest[32] = {1, 2, 3};
static const struct tls_tlsa usable[] = {{9, 9, 9, digest, 32}, {3, 1, 1, digest, 32}};
static const struct tls_tlsa unusable[] = {{1, 1, 1, digest, 32}, {3, 1, 1, digest, 20}};

static void test_dane(void)
{
	static const struct {
		enum tls_level level;
		enum tlsa_status status;
		bool mx, secure;
		const struct tls_tlsa *records;
		size_t n;
		enum tls_level insecure, want; /* TLS_LEVELS: not at all */
		const char *why;
	} rows[] = {
		{TLS_DANE, TLSA_INSECURE, true, false, NULL, 0, TLS_MAY, TLS_MAY, ""},
		{TLS_DANE, TLSA_INSECURE, true, false, NULL, 0, TLS_DANE, TLS_MAY, ""},
		{TLS_DANE_ONLY, TLSA_INSECURE, true, false, NULL, 0, TLS_DANE, TLS_LEVELS,
			"non DNSSEC destination"},
		{TLS_DANE_ONLY, TLSA_INSECURE, false, false, NULL, 0, TLS_DANE, TLS_LEVELS,
			"no TLSA records found"},
		{TLS_DANE, TLSA_NONE, true, true, NULL, 0, TLS_MAY, TLS_MAY, ""},
		{TLS_DANE_ONLY, TLSA_NONE, true, true, NULL, 0, TLS_MAY, TLS_LEVELS,
			"no TLSA records found"},
		{TLS_DANE, TLSA_FOUND, true, true, usable, 2, TLS_MAY, TLS_DANE, ""},
		{TLS_DANE_ONLY, TLSA_FOUND, true, true, usable, 2, TLS_MAY, TLS_DANE, ""},
		{TLS_DANE, TLSA_FOUND, true, false, usable, 2, TLS_MAY, TLS_MAY, ""},
		{TLS_DANE, TLSA_FOUND, true, false, usable, 2, TLS_ENCRYPT, TLS_ENCRYPT, ""},
		{TLS_DANE, TLSA_FOUND, true, false, usable, 2, TLS_DANE, TLS_DANE, ""},
		{TLS_DANE_ONLY, TLSA_FOUND, true, false, usable, 2, TLS_DANE, TLS_LEVELS,
			"non DNSSEC destination"},
		{TLS_DANE, TLSA_FOUND, false, false, usable, 2, TLS_MAY, TLS_DANE, ""},
		{TLS_DANE, TLSA_FOUND, true, true, unusable, 2, TLS_MAY, TLS_ENCRYPT, ""},
		{TLS_DANE_ONLY, TLSA_FOUND, true, true, unusable, 2, TLS_MAY, TLS_LEVELS,
			"TLSA records unusable"},
		{TLS_DANE, TLSA_FAILED, true, true, NULL, 0, TLS_MAY, TLS_LEVELS,
			"TLSA lookup error"},
		{TLS_DANE_ONLY, TLSA_FAILED, true, true, NULL, 0, TLS_MAY, TLS_LEVELS,
			"TLSA lookup error"},
	};
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct tlsa_answer a = {rows[i].status, rows[i].mx, rows[i].secure, "mx.test", "",
			rows[i].records, rows[i].n, {{0}}};
		struct buf why = BUF_INIT(1024);
		enum tls_level level = TLS_NONE;
		int r = dane_choose(rows[i].level, &a, rows[i].insecure, &level, &why);
		is_int(r == 0 ? level : TLS_LEVELS, rows[i].want, "DANE, row %zu", i);
		is_str(buf_str(&why), rows[i].why, "and why");
		buf_clear(&why);
	}
}

/* What stays of a host's records. */
static void test_records(void)
{
	static const struct {
		const char *in, *out; /* usage, selector, matching type; x: cut off */
	} rows[] = {
		{"311", "311"},
		{"311 312", "312"},
		{"312 311 311", "312"},
		{"311 302", "311 302"},
		{"211 312", "211 312"},
		{"111 311 x", "311"},
		{"111 x 319", "111 x 319"},
		{"x", "x"},
		{"311 112", "311"},
	};
	static char bytes[64];
	static struct hosts h;
	struct delivery d = {.hosts = &h, .at = 1};
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct buf records = BUF_INIT(1 << 16), out = BUF_INIT(1000);
		struct slice rest = slice_str(rows[i].in), word;
		struct tlsa_answer a;
		h = (struct hosts){0};
		hosts_add_addr(&h, hosts_add_host(&h, SLICE_LIT("mx.test"), 10), 2, "1234");
		while (slice_token(&rest, " ", &word)) {
			struct buf data = BUF_INIT(100);
			for (size_t k = 0; k < 3 && word.len == 3; k++) {
				buf_add_char(&data, (char)(word.p[k] - '0'));
			}
			buf_add(&data, bytes, word.len != 3 ? 2 : word.p[2] == '2' ? 64 : 32);
			host_record_add(&records, buf_slice(&data));
			h.host[0].count++;
			buf_clear(&data);
		}
		h.host[0].tlsa = TLSA_FOUND;
		h.host[0].records = buf_slice(&records);
		client_tlsa(&d, &a);
		for (size_t k = 0; k < a.n; k++) {
			const struct tls_tlsa *r = &a.records[k];
			buf_add_str(&out, k > 0 ? " " : "");
			buf_add_fmt(&out, r->usage == UINT8_MAX ? "x" : "%u%u%u", r->usage,
				r->selector, r->matching);
		}
		is_str(buf_str(&out), rows[i].out, "records %s", rows[i].in);
		buf_clear(&records);
		buf_clear(&out);
	}
	d.at = 0;
	struct tlsa_answer a;
	client_tlsa(&d, &a);
	ok(a.status == TLSA_INSECURE && a.n == 0, "no present address: nothing is known");
}

int main(void)
{
	set_up();
	loop_init();
	map_set_deferrer(loop_defer);
	policy_init();
	test_values();
	test_sites();
	test_defaults();
	test_dane();
	test_records();
	test_parameters();
	(void)unlink(pem);
	(void)unlink(secret);
	char *main_cf = mem_fmt("%s/main.cf", dir);
	(void)unlink(main_cf);
	(void)rmdir(dir);
	mem_free(main_cf);
	mem_free(pem);
	mem_free(secret);
	mem_free(nothing);
	return done_testing();
}
