/* SPDX-License-Identifier: ISC */
/* Values of parameters: protocols, ciphers, groups, levels; what a context refuses. */
#include <stdlib.h>
#include <unistd.h>

#include "t/tap.h"
#include "t/tls/kit.h"
#include "tls/tls_private.h"
#include "util/err.h"
#include "util/mem.h"

static void test_protocols(void)
{
	static const struct {
		const char *text;
		int err, min, max;
	} cases[] = {
		{"", 0, TLS1_2_VERSION, TLS1_3_VERSION},
		{">=TLSv1", 0, TLS1_2_VERSION, TLS1_3_VERSION},
		{">=TLSv1.2", 0, TLS1_2_VERSION, TLS1_3_VERSION},
		{">=TLSv1.3", 0, TLS1_3_VERSION, TLS1_3_VERSION},
		{"<=TLSv1.2", 0, TLS1_2_VERSION, TLS1_2_VERSION},
		{">=TLSv1.2, <=TLSv1.3", 0, TLS1_2_VERSION, TLS1_3_VERSION},
		{">=tlsv1.2 !tlsv1.3", 0, TLS1_2_VERSION, TLS1_2_VERSION},
		{"!SSLv2, !SSLv3", 0, TLS1_2_VERSION, TLS1_3_VERSION},
		{"!SSLv2,!SSLv3,!TLSv1,!TLSv1.1,!TLSv1.2", 0, TLS1_3_VERSION, TLS1_3_VERSION},
		{"TLSv1.3", 0, TLS1_3_VERSION, TLS1_3_VERSION},
		{"TLSv1 TLSv1.2", 0, TLS1_2_VERSION, TLS1_2_VERSION},
		{"TLSv1.2:TLSv1.3", 0, TLS1_2_VERSION, TLS1_3_VERSION},
		{"TLSv1", ERR_SYNTAX, 0, 0},
		{"<=TLSv1.1", ERR_SYNTAX, 0, 0},
		{"!TLSv1.2, !TLSv1.3", ERR_SYNTAX, 0, 0},
		{"TLSv1.4", ERR_SYNTAX, 0, 0},
		{">=", ERR_SYNTAX, 0, 0},
		{"!", ERR_SYNTAX, 0, 0},
		{"yes", ERR_SYNTAX, 0, 0},
	};
	struct buf why = BUF_INIT(500);
	size_t i;

	for (i = 0; i < COUNT_OF(cases); i++) {
		struct tls_protocols p;

		buf_reset(&why);
		is_int(tls_protocols_parse(cases[i].text, &p, &why), cases[i].err, "\"%s\"",
			cases[i].text);
		if (cases[i].err == 0) {
			is_int(p.min, cases[i].min, "\"%s\": from", cases[i].text);
			is_int(p.max, cases[i].max, "\"%s\": to", cases[i].text);
		} else
			ok(why.len > 0, "\"%s\": %s", cases[i].text, buf_str(&why));
		is_int(tls_check_protocols(cases[i].text, &why), cases[i].err, "as checked");
	}
	buf_clear(&why);
}

static void test_ciphers(void)
{
	static const struct {
		const char *grade, *exclude;
		int err;
	} cases[] = {
		{"medium", "", 0},
		{"HIGH", "", 0},
		{"low", "", 0},
		{"export", "aNULL, MD5, DES", 0},
		{"null", "", 0},
		{"high", "eNULL aNULL", 0},
		{"high", "ALL", ERR_SYNTAX},
		{"strong", "", ERR_SYNTAX},
		{"", "", ERR_SYNTAX},
		{"high", "!aNULL", ERR_SYNTAX},
		{"high", "@SECLEVEL=0", ERR_SYNTAX},
	};
	static const char *const lists[TLS_GRADES] = {[TLS_HIGH] = "ECDHE"};
	struct buf why = BUF_INIT(500), list = BUF_INIT(500);
	size_t i;
	int err;

	for (i = 0; i < COUNT_OF(cases); i++) {
		buf_reset(&why);
		err = tls_check_ciphers(cases[i].grade, cases[i].exclude, &why);
		is_int(err, cases[i].err, "%s without \"%s\" %s", cases[i].grade, cases[i].exclude,
			buf_str(&why));
		ok((why.len > 0) == (cases[i].err != 0), "a reason or none");
	}
	is_int(tls_cipher_list(lists, "high", "RC4", true, false, &list, &why), 0, "own list");
	is_str(buf_str(&list), "ECDHE:!RC4:!PSK:!SRP:!aDSS:!kRSA:!kDHE:!aNULL",
		"as OpenSSL gets it");
	buf_clear(&why);
	buf_clear(&list);
}

static void test_groups(void)
{
	static const struct {
		const char *text, *list;
		int err;
	} cases[] = {
		{"", "", 0},
		{"X25519 X448 prime256v1 secp521r1 secp384r1 ffdhe2048 ffdhe3072",
			"X25519:X448:prime256v1:secp521r1:secp384r1:ffdhe2048:ffdhe3072", 0},
		{"X25519MLKEM768, X25519", "X25519", 0},
		{"no-such-group", "", ERR_SYNTAX},
	};
	struct buf why = BUF_INIT(500), list = BUF_INIT(500);
	size_t i;

	for (i = 0; i < COUNT_OF(cases); i++) {
		is_int(tls_groups_list(cases[i].text, &list, &why), cases[i].err, "\"%s\"",
			cases[i].text);
		is_str(buf_str(&list), cases[i].list, "\"%s\": as OpenSSL gets it", cases[i].text);
	}
	buf_clear(&why);
	buf_clear(&list);
}

static void test_levels(void)
{
	enum tls_level level;
	int i;

	for (i = 0; i < TLS_LEVELS; i++) {
		const char *name = tls_level_name((enum tls_level)i);

		is_int(tls_level_parse(slice_str(name), &level), 0, "level %s", name);
		is_int(level, i, "its number");
	}
	is_int(tls_level_parse(SLICE_LIT("half"), &level), ERR_SYNTAX, "no level");
	is_int(tls_level_parse(SLICE_NONE, &level), ERR_SYNTAX, "nothing");
}

static void test_contexts(void)
{
	struct cert ca = cert_new("P-256", "Test CA", NULL, NULL, CERT_CA);
	struct cert second = cert_new("P-256", "Second CA", NULL, NULL, CERT_CA);
	char *file = cert_file(&ca), dir[] = "/tmp/gp-tls-dir-XXXXXX", *hashed, *plain, *in_dir;
	struct tls_settings s = {.side = TLS_CLIENT};
	struct buf why = BUF_INIT(500);
	struct tls_context *c;

	s.digest = "no-such-digest";
	is_int(tls_context_new(&s, &c, &why), ERR_SYNTAX, "digest");
	diag("%s", buf_str(&why));
	ok(c == NULL, "no context");
	s.digest = "md5";
	s.groups = "none-such";
	is_int(tls_context_new(&s, &c, &why), ERR_SYNTAX, "groups");
	diag("%s", buf_str(&why));
	s.groups = NULL;
	buf_reset(&why);
	s.ca_file = "/no/such/file";
	is_int(tls_context_new(&s, &c, &why), ERR_SYS, "file");
	is_str(buf_str(&why),
		"cannot load the certificates of authorities in /no/such/file: No such file or "
		"directory",
		"which, and why");
	s.ca_file = "/etc/passwd";
	buf_reset(&why);
	is_int(tls_context_new(&s, &c, &why), ERR_SYS, "not a certificate");
	diag("%s", buf_str(&why));
	s.ca_file = file;
	is_int(tls_context_new(&s, &c, &why), 0, "a file");
	tls_context_free(&c);
	s.ca_path = "/no/such/dir";
	is_int(tls_context_new(&s, &c, &why), ERR_SYS, "no directory");

	if (mkdtemp(dir) == NULL)
		bail_out("mkdtemp");
	in_dir = cert_file(&second);
	hashed = mem_fmt("%s/%08lx.0", dir,
		X509_NAME_hash_ex(X509_get_subject_name(second.x), NULL, NULL, NULL));
	plain = mem_fmt("%s/README", dir);
	if (rename(in_dir, hashed) != 0 || symlink("/etc/passwd", plain) != 0)
		bail_out("%s", hashed);
	s.ca_path = dir;
	is_int(tls_context_new(&s, &c, &why), 0, "a file and a directory");
	if (c != NULL)
		is_int(sk_X509_OBJECT_num(X509_STORE_get0_objects(c->store)), 2,
			"both authorities are loaded at once");
	tls_context_free(&c);
	unlink(hashed);
	unlink(plain);
	rmdir(dir);
	s.ca_path = NULL;
	s.append_default_ca = true;
	is_int(tls_context_new(&s, &c, &why), 0, "the system's authorities too");
	if (c != NULL)
		diag("%d of them", sk_X509_OBJECT_num(X509_STORE_get0_objects(c->store)));
	tls_context_free(&c);
	unlink(file);
	mem_free(file);
	mem_free(in_dir);
	mem_free(hashed);
	mem_free(plain);
	cert_free(&ca);
	cert_free(&second);
	buf_clear(&why);
}

/* With it OpenSSL would find no algorithm at all: nothing but main.cf counts. */
static void write_bad_config(char *path)
{
	static const char text[] = "openssl_conf = a\n[a]\nalg_section = b\n[b]\n"
				   "default_properties = fips=yes\n";
	int fd = mkstemp(path);

	if (fd < 0 || write(fd, text, sizeof(text) - 1) != (ssize_t)sizeof(text) - 1)
		bail_out("%s", path);
	close(fd);
	setenv("OPENSSL_CONF", path, 1);
}

int main(void)
{
	char config[] = "/tmp/gp-tls-conf-XXXXXX";

	write_bad_config(config);
	loop_init();
	test_protocols();
	test_ciphers();
	test_groups();
	test_levels();
	test_contexts();
	unlink(config);
	return done_testing();
}
