/* SPDX-License-Identifier: ISC */
/* What a client makes of a server's certificate, and a server of a client's. */
#include <unistd.h>

#include "t/tap.h"
#include "t/tls/kit.h"
#include "util/err.h"
#include "util/mem.h"

static struct cert ca, other_ca, middle;
static struct cert good, expired, future, self, wrong, deep, nul, cn_only, idn, wild, rsa;
static struct tls_context *server, *client;
static char *ca_path;

static void make_certs(void)
{
	ca = cert_new("P-256", "Test CA", NULL, NULL, CERT_CA);
	other_ca = cert_new("P-256", "Other CA", NULL, NULL, CERT_CA);
	middle = cert_new("P-256", "Middle CA", NULL, &ca, CERT_CA);
	good = cert_new("P-256", "other.test", "DNS:a.test,DNS:MX.test,email:x@test", &ca, 0);
	expired = cert_new("P-256", "mx.test", "DNS:mx.test", &ca, CERT_EXPIRED);
	future = cert_new("P-256", "mx.test", "DNS:mx.test", &ca, CERT_FUTURE);
	self = cert_new("P-256", "mx.test", "DNS:mx.test", NULL, 0);
	wrong = cert_new("P-256", "mx.test", "DNS:elsewhere.test", &ca, 0);
	deep = cert_new("P-256", "mx.test", "DNS:mx.test", &middle, 0);
	nul = cert_new("P-256", "mx.test", NULL, &ca, CERT_NUL_NAME);
	cn_only = cert_new("P-256", "mx.test", "email:x@test", &ca, 0);
	idn = cert_new("P-256", "x", "DNS:xn--tst-bma.test", &ca, 0);
	wild = cert_new("P-256", "x", "DNS:*.test", &ca, 0);
	rsa = cert_new("RSA", "mx.test", "DNS:mx.test", &ca, 0);
	ca_path = cert_file(&ca);
}

/* A handshake with this certificate and this question; both ends stay. */
static struct signer *begin(struct pair *p, const struct cert *leaf,
	const struct cert *intermediate, const struct tls_ask *ask)
{
	struct signer *v = signer_new();

	signer_add(v, leaf, intermediate);
	signer_send(v);
	pair_tls(p, server, &plain_server, client, ask);
	pair_run(p);
	return v;
}

static void end(struct pair *p, struct signer *v)
{
	pair_free(p);
	signer_kill(&v);
}

/* ------------------------------------------------------------------ chains */

static void test_chains(void)
{
	static const char *const mx[] = {"mx.test"};
	static const struct {
		const char *name;
		const struct cert *leaf, *intermediate;
		const char *word, *error;
	} cases[] = {
		{"good", &good, NULL, "Verified", ""},
		{"expired", &expired, NULL, "Untrusted", "certificate has expired"},
		{"not yet valid", &future, NULL, "Untrusted", "certificate not yet valid"},
		{"self-signed", &self, NULL, "Untrusted", "self-signed certificate"},
		{"wrong name", &wrong, NULL, "Trusted",
			"certificate has no name that was asked for"},
		{"by an intermediate", &deep, &middle, "Verified", ""},
		{"missing intermediate", &deep, NULL, "Untrusted",
			"untrusted issuer /CN=Middle CA"},
		{"a name with a NUL in it", &nul, NULL, "Trusted",
			"certificate has no name that was asked for"},
		{"no name but the subject's", &cn_only, NULL, "Verified", ""},
	};
	size_t i;

	for (i = 0; i < 2 * COUNT_OF(cases); i++) {
		struct tls_ask ask = plain_client;
		const struct tls_facts *f;
		struct signer *v;
		struct pair p;

		ask.level = i % 2 ? TLS_SECURE : TLS_VERIFY;
		ask.protocols = i % 2 ? "TLSv1.3" : "TLSv1.2";
		ask.match = mx;
		ask.match_n = 1;
		v = begin(&p, cases[i / 2].leaf, cases[i / 2].intermediate, &ask);
		is_int(p.client.done, 0, "%s: handshake %s", cases[i / 2].name,
			buf_str(&p.client.why));
		f = tls_facts(p.client.t);
		is_str(tls_trust_word(f), cases[i / 2].word, "%s: word", cases[i / 2].name);
		is_str(f->trust_error, cases[i / 2].error, "%s: error", cases[i / 2].name);
		is_int(f->is_matched, cases[i / 2].error[0] == '\0', "%s: matched",
			cases[i / 2].name);
		end(&p, v);
	}
}

static void test_names(void)
{
	static const struct {
		const struct cert *cert;
		const char *match;
		bool good;
	} cases[] = {
		{&good, "mx.test", true},
		{&good, "MX.TEST", true},
		{&good, "x.mx.test", false},
		{&good, ".mx.test", false},
		{&good, ".test", true},
		{&good, "test", false},
		{&good, ".", false},
		{&good, "", false},
		{&good, "other.test", false}, /* its subject, which names of hosts outdo */
		{&cn_only, ".test", true},
		{&wild, "mx.test", true},
		{&wild, "a.b.test", false},
		{&wild, "test", false},
		{&wild, ".test", true},
		{&wild, "*.test", true},
		{&idn, "xn--tst-bma.test", true},
		{&idn, "t\xc3\xa9st.test", true},
		{&idn, "T\xc3\x89ST.test", true},
		{&nul, "mx.test", false},
		{&nul, ".evil.test", false},
	};
	size_t i;

	for (i = 0; i < COUNT_OF(cases); i++) {
		const char *match[] = {"unrelated.example", cases[i].match};
		struct tls_ask ask = plain_client;
		struct signer *v;
		struct pair p;

		ask.level = TLS_VERIFY;
		ask.match = match;
		ask.match_n = 2;
		v = begin(&p, cases[i].cert, NULL, &ask);
		is_int(tls_facts(p.client.t)->is_matched, cases[i].good, "%s %s",
			tls_facts(p.client.t)->subject_cn, cases[i].match);
		end(&p, v);
	}
}

static void test_fingerprints(void)
{
	struct buf cert = BUF_INIT(200), key = BUF_INIT(200), lower = BUF_INIT(200);
	struct tls_ask ask = plain_client;
	struct signer *v;
	struct pair p;
	size_t i;

	cert_fingerprint(&self, false, &cert);
	cert_fingerprint(&self, true, &key);
	buf_add_lower(&lower, buf_slice(&key));
	{
		const struct {
			const char *print;
			bool good;
		} cases[] = {
			{buf_str(&cert), true},
			{buf_str(&key), true},
			{buf_str(&lower), true},
			{"AB:CD", false},
			{"", false},
		};

		for (i = 0; i < COUNT_OF(cases); i++) {
			const char *prints[] = {"00:11", cases[i].print};

			ask.level = TLS_FINGERPRINT;
			ask.fingerprint = prints;
			ask.fingerprint_n = 2;
			v = begin(&p, &self, NULL, &ask);
			is_str(tls_trust_word(tls_facts(p.client.t)),
				cases[i].good ? "Verified" : "Untrusted", "fingerprint %s",
				cases[i].print);
			end(&p, v);
		}
	}
	buf_clear(&cert);
	buf_clear(&key);
	buf_clear(&lower);
}

/* -------------------------------------------------------------------- DANE */

/* What a record of this kind says about a certificate. */
static void record(struct buf *out, const struct cert *c, int selector, int matching)
{
	unsigned char *der = NULL, md[64];
	int len = selector ? i2d_PUBKEY(c->key, &der) : i2d_X509(c->x, &der);
	unsigned n = 0;

	buf_reset(out);
	if (matching == 0)
		buf_add(out, der, (size_t)len);
	else {
		EVP_Digest(der, (size_t)len, md, &n, matching == 1 ? EVP_sha256() : EVP_sha512(),
			NULL);
		buf_add(out, md, n);
	}
	OPENSSL_free(der);
}

static void test_tlsa(void)
{
	static const char *const mx[] = {"mx.test"};
	static const struct {
		const char *name;
		int usage, selector, matching;
		const struct cert *of, *leaf, *intermediate;
		const char *word;
	} cases[] = {
		{"3 1 1 of itself", 3, 1, 1, &self, &self, NULL, "Verified"},
		{"3 0 1 of itself", 3, 0, 1, &self, &self, NULL, "Verified"},
		{"3 1 2 of itself", 3, 1, 2, &self, &self, NULL, "Verified"},
		{"3 0 0 of itself", 3, 0, 0, &self, &self, NULL, "Verified"},
		{"3 1 0 of itself", 3, 1, 0, &self, &self, NULL, "Verified"},
		{"3 1 1 of another", 3, 1, 1, &good, &self, NULL, "Untrusted"},
		{"3 1 1 expired", 3, 1, 1, &expired, &expired, NULL, "Verified"},
		{"3 1 1 of another name", 3, 1, 1, &wrong, &wrong, NULL, "Verified"},
		{"2 0 1 of a CA that is sent", 2, 0, 1, &middle, &deep, &middle, "Verified"},
		{"2 1 1 of a CA that is sent", 2, 1, 1, &middle, &deep, &middle, "Verified"},
		{"2 0 0 of a CA that is not sent", 2, 0, 0, &ca, &good, NULL, "Verified"},
		{"2 1 0 of a CA that is not sent", 2, 1, 0, &ca, &good, NULL, "Verified"},
		{"2 0 1 of a CA that is not sent", 2, 0, 1, &other_ca, &good, NULL, "Untrusted"},
		{"2 0 1, expired", 2, 0, 1, &ca, &expired, &ca, "Untrusted"},
		{"2 0 1, wrong name", 2, 0, 1, &ca, &wrong, &ca, "Trusted"},
		{"3 1 1 of its CA", 3, 1, 1, &ca, &good, &ca, "Untrusted"},
		{"2 1 1 of itself", 2, 1, 1, &good, &good, NULL, "Untrusted"},
	};
	struct buf data = BUF_INIT(4096);
	size_t i;

	for (i = 0; i < COUNT_OF(cases); i++) {
		struct tls_ask ask = plain_client;
		struct tls_tlsa tlsa[2] = {{.usage = 0, .selector = 1, .matching = 1}};
		const struct tls_facts *f;
		struct signer *v;
		struct pair p;

		record(&data, cases[i].of, cases[i].selector, cases[i].matching);
		tlsa[1] = (struct tls_tlsa){(uint8_t)cases[i].usage, (uint8_t)cases[i].selector,
			(uint8_t)cases[i].matching, (const uint8_t *)buf_str(&data), data.len};
		ask.level = i % 2 ? TLS_DANE : TLS_DANE_ONLY;
		ask.servername = "mx.test";
		ask.match = mx;
		ask.match_n = 1;
		ask.tlsa = tlsa;
		ask.tlsa_n = 2;
		v = begin(&p, cases[i].leaf, cases[i].intermediate, &ask);
		is_int(p.client.done, 0, "%s: handshake %s", cases[i].name, buf_str(&p.client.why));
		f = tls_facts(p.client.t);
		is_str(tls_trust_word(f), cases[i].word, "%s: %s", cases[i].name, f->trust_error);
		is_int(f->is_dane, f->is_matched, "%s: by the record", cases[i].name);
		end(&p, v);
	}
	buf_clear(&data);
}

static void test_bad_tlsa(void)
{
	static const uint8_t bytes[64] = {3, 1, 1, 0x30, 0x82};
	static const struct {
		uint8_t usage, selector, matching;
		size_t len;
		bool usable;
	} cases[] = {
		{3, 1, 1, 0, false},
		{3, 1, 1, 3, false},
		{3, 1, 1, 19, false},
		{3, 1, 1, 31, false},
		{3, 1, 1, 33, false},
		{3, 1, 1, 32, true},
		{3, 1, 2, 32, false},
		{3, 1, 2, 64, true},
		{3, 0, 0, 0, false},
		{2, 0, 1, 32, true},
		{0, 0, 1, 32, false},
		{1, 1, 1, 32, false},
		{4, 1, 1, 32, false},
		{255, 1, 1, 32, false},
		{3, 2, 1, 32, false},
		{3, 255, 1, 32, false},
		{3, 1, 3, 32, false},
		{3, 1, 255, 32, false},
	};
	static const size_t garbage[] = {1, 3, 19, 64};
	struct buf why = BUF_INIT(500);
	size_t i;

	for (i = 0; i < COUNT_OF(cases); i++) {
		struct tls_tlsa r = {
			cases[i].usage, cases[i].selector, cases[i].matching, bytes, cases[i].len};

		is_int(tls_tlsa_is_usable(&r), cases[i].usable, "%d %d %d with %zu bytes", r.usage,
			r.selector, r.matching, r.len);
	}
	/* Not a certificate, not a key. */
	for (i = 0; i < 2 * COUNT_OF(garbage); i++) {
		struct tls_tlsa r = {3, i % 2, 0, bytes, garbage[i / 2]};
		struct tls_ask ask = plain_client;
		struct end e = {0};
		struct pair p;

		ok(!tls_tlsa_is_usable(&r), "not usable");
		ask.level = TLS_DANE;
		ask.tlsa = &r;
		ask.tlsa_n = 1;
		pair_new(&p);
		buf_init(&e.why, 500);
		is_int(end_start(&p.client, client, &ask), ERR_SYNTAX, "3 %d 0 with %zu bytes",
			r.selector, r.len);
		is_str(buf_str(&p.client.why), "no usable TLSA record", "why not");
		pair_free(&p);
	}
	buf_clear(&why);
}

static void test_anchors(void)
{
	static const char *const mx[] = {"mx.test"};
	char *right = cert_pem(&other_ca), *bad = mem_str("-----BEGIN nothing\n");
	struct cert by_other = cert_new("P-256", "mx.test", "DNS:mx.test", &other_ca, 0);
	struct tls_ask ask = plain_client;
	struct signer *v;
	struct pair p;

	ask.level = TLS_SECURE;
	ask.match = mx;
	ask.match_n = 1;
	v = begin(&p, &by_other, NULL, &ask);
	is_str(tls_trust_word(tls_facts(p.client.t)), "Untrusted",
		"not by the context's authorities");
	end(&p, v);
	ask.anchors = right;
	v = begin(&p, &by_other, NULL, &ask);
	is_str(tls_trust_word(tls_facts(p.client.t)), "Verified", "by an anchor: %s",
		tls_facts(p.client.t)->trust_error);
	ok(!tls_facts(p.client.t)->is_dane, "that is not DANE");
	end(&p, v);
	v = begin(&p, &good, NULL, &ask);
	is_str(tls_trust_word(tls_facts(p.client.t)), "Untrusted",
		"the context's authorities do not count then");
	end(&p, v);
	ask.anchors = bad;
	pair_new(&p);
	is_int(end_start(&p.client, client, &ask), ERR_SYNTAX, "no anchor in it");
	ok(p.client.why.len > 0, "%s", buf_str(&p.client.why));
	pair_free(&p);
	mem_free(right);
	mem_free(bad);
	cert_free(&by_other);
}

/* ------------------------------------------------------- server's question */

static void test_client_certs(void)
{
	static const struct {
		const char *name;
		const struct cert *cert;
		bool require;
		int err;
		const char *word;
	} cases[] = {
		{"asked, trusted", &good, false, 0, "Trusted"},
		{"asked, self-signed", &self, false, 0, "Untrusted"},
		{"asked, expired", &expired, false, 0, "Untrusted"},
		{"required, trusted", &good, true, 0, "Trusted"},
		{"required, self-signed", &self, true, ERR_CORRUPT, NULL},
		{"required, expired", &expired, true, ERR_CORRUPT, NULL},
	};
	struct tls_settings s = {.side = TLS_SERVER,
		.listener = "test/inet",
		.ask_cert = true,
		.ca_file = ca_path,
		.groups = "X25519 prime256v1"};
	struct tls_context *asking = context_of(&s);
	const char *const *names;
	size_t i;

	for (i = 0; i < 2 * COUNT_OF(cases); i++) {
		const char *name = cases[i / 2].name;
		struct tls_ask ask = plain_server, client_ask = plain_client;
		struct signer *v = signer_new();
		struct pair p;

		signer_add(v, cases[i / 2].cert, NULL);
		signer_send(v);
		ask.require_cert = cases[i / 2].require;
		client_ask.protocols = i % 2 ? "TLSv1.3" : "TLSv1.2";
		pair_tls(&p, asking, &ask, client, &client_ask);
		pair_run(&p);
		is_int(p.server.done, cases[i / 2].err, "%s: %s", name, buf_str(&p.server.why));
		if (p.server.done == 0)
			is_str(tls_trust_word(tls_facts(p.server.t)), cases[i / 2].word, "%s: %s",
				name, tls_facts(p.server.t)->trust_error);
		if (cases[i / 2].cert == &good) {
			struct buf print = BUF_INIT(200);

			is_int(tls_cert_names(p.server.t, &names), 2, "%s: names", name);
			is_str(names[0], "other.test", "%s: subject", name);
			is_str(names[1], "x@test", "%s: address", name);
			is_str(tls_facts(p.server.t)->issuer_cn, "Test CA", "%s: issuer", name);
			cert_fingerprint(&good, false, &print);
			is_str(tls_facts(p.server.t)->fingerprint, buf_str(&print),
				"%s: fingerprint", name);
			buf_reset(&print);
			cert_fingerprint(&good, true, &print);
			is_str(tls_facts(p.server.t)->key_fingerprint, buf_str(&print),
				"%s: key's fingerprint", name);
			buf_clear(&print);
		} else if (p.server.done == 0)
			is_int(tls_cert_names(p.server.t, &names), 0, "%s: no names", name);
		end(&p, v);
	}
	tls_context_free(&asking);
}

/* --------------------------------------------------------- facts and text */

static void test_summary(void)
{
	static const struct {
		const struct cert *cert;
		const char *protocols, *groups, *summary;
	} cases[] = {
		{&rsa, "TLSv1.3", "X25519",
			"TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits) key-exchange "
			"X25519 "
			"server-signature RSA-PSS (2048 bits) server-digest SHA256"},
		{&good, "TLSv1.3", "prime256v1",
			"TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits) key-exchange "
			"ECDHE "
			"(prime256v1) server-signature ECDSA (prime256v1) server-digest SHA256"},
		{&good, "TLSv1.3", "ffdhe2048",
			"TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits) key-exchange "
			"DHE "
			"(2048 bits) server-signature ECDSA (prime256v1) server-digest SHA256"},
		{&rsa, "TLSv1.2", "X25519",
			"TLSv1.2 with cipher ECDHE-RSA-AES256-GCM-SHA384 (256/256 bits)"},
	};
	struct buf text = BUF_INIT(500);
	size_t i;

	for (i = 0; i < COUNT_OF(cases); i++) {
		struct tls_settings s = {
			.side = TLS_CLIENT, .groups = cases[i].groups, .ca_file = ca_path};
		struct tls_context *c = context_of(&s), *old = client;
		struct tls_ask ask = plain_client;
		struct signer *v;
		struct pair p;

		ask.level = TLS_ENCRYPT;
		ask.exclude = "aNULL";
		ask.protocols = cases[i].protocols;
		client = c;
		v = begin(&p, cases[i].cert, NULL, &ask);
		client = old;
		buf_reset(&text);
		tls_add_summary(&text, tls_facts(p.client.t));
		is_str(buf_str(&text), cases[i].summary, "the client's");
		buf_reset(&text);
		tls_add_summary(&text, tls_facts(p.server.t));
		is_str(buf_str(&text), cases[i].summary, "the server's");
		is_str(tls_trust_word(tls_facts(p.server.t)), "Anonymous",
			"the client's certificate");
		is_str(tls_trust_word(tls_facts(p.client.t)), "Trusted", "the server's");
		end(&p, v);
		tls_context_free(&c);
	}
	buf_clear(&text);
}

static void test_bindings(void)
{
	static const struct {
		const char *type, *protocols;
		const struct cert *cert;
		bool there;
	} cases[] = {
		{"tls-exporter", "TLSv1.3", &good, true},
		{"tls-exporter", "TLSv1.2", &good, false},
		{"tls-server-end-point", "TLSv1.3", &rsa, true},
		{"tls-server-end-point", "TLSv1.2", &good, true},
		{"tls-unique", "TLSv1.2", &good, false},
	};
	struct buf a = BUF_INIT(100), b = BUF_INIT(100);
	size_t i;

	for (i = 0; i < COUNT_OF(cases); i++) {
		struct tls_ask ask = plain_client;
		struct slice type = slice_str(cases[i].type);
		int want = cases[i].there ? 0 : ERR_NOT_FOUND;
		struct signer *v;
		struct pair p;

		ask.protocols = cases[i].protocols;
		ask.exclude = "aNULL";
		v = begin(&p, cases[i].cert, NULL, &ask);
		buf_reset(&a);
		buf_reset(&b);
		is_int(tls_channel_binding(p.server.t, type, &a), want, "%s, %s: server",
			cases[i].type, cases[i].protocols);
		is_int(tls_channel_binding(p.client.t, type, &b), want, "client");
		is_int(a.len, want == 0 ? 32 : 0, "its length");
		ok(slice_eq(buf_slice(&a), buf_slice(&b)), "the same on both sides");
		end(&p, v);
	}
	buf_clear(&a);
	buf_clear(&b);
}

int main(void)
{
	struct cert *all[] = {&ca, &other_ca, &middle, &good, &expired, &future, &self, &wrong,
		&deep, &nul, &cn_only, &idn, &wild, &rsa};
	size_t i;

	loop_init();
	make_certs();
	server = context(TLS_SERVER, ca_path);
	client = context(TLS_CLIENT, ca_path);
	test_chains();
	test_names();
	test_fingerprints();
	test_tlsa();
	test_bad_tlsa();
	test_anchors();
	test_client_certs();
	test_summary();
	test_bindings();
	tls_context_free(&server);
	tls_context_free(&client);
	for (i = 0; i < COUNT_OF(all); i++)
		cert_free(all[i]);
	unlink(ca_path);
	mem_free(ca_path);
	return done_testing();
}
