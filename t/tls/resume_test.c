/* SPDX-License-Identifier: ISC */
/* Tickets and the client's cache: what is resumed, and what must not be. */
#include <unistd.h>

#include "t/tap.h"
#include "t/tls/kit.h"
#include "util/err.h"
#include "util/mem.h"

static struct cert ca, leaf, other;
static struct signer *vault;
static char *ca_path;

static int64_t in_seconds(int n)
{
	return clock_real() + n * CLOCK_SEC;
}

static struct tls_context *server_for(const char *listener)
{
	struct tls_settings s = {.side = TLS_SERVER, .listener = listener, .tickets = true};

	return context_of(&s);
}

static struct tls_context *client_with(unsigned sessions, int64_t lifetime)
{
	struct tls_settings s = {.side = TLS_CLIENT,
		.ca_file = ca_path,
		.sessions = sessions,
		.session_time = lifetime};

	return context_of(&s);
}

static struct tls_ask asking(const char *protocols, const char *name)
{
	struct tls_ask ask = plain_client;

	ask.level = TLS_ENCRYPT;
	ask.exclude = "aNULL";
	ask.protocols = protocols;
	ask.servername = name;
	ask.session_key = "mx.test";
	return ask;
}

/* Whether both sides resumed; 2: they do not agree. */
static int resumes(
	struct tls_context *server, struct tls_context *client, const struct tls_ask *ask)
{
	struct pair p;
	int r;

	pair_tls(&p, server, &plain_server, client, ask);
	if (!pair_run(&p) || p.server.done != 0 || p.client.done != 0) {
		diag("server %d %s, client %d %s", p.server.done, buf_str(&p.server.why),
			p.client.done, buf_str(&p.client.why));
		pair_free(&p);
		return 3;
	}
	/* Tickets of TLS 1.3 come behind the handshake. */
	stream_write_slice(p.server.s, SLICE_LIT("220 x\r\n"));
	end_expect(&p.client, "220 x\r\n");
	r = tls_facts(p.server.t)->is_reused + tls_facts(p.client.t)->is_reused;
	if (r == 2)
		is_str(tls_facts(p.client.t)->server_digest, "",
			"no signature in a resumed session");
	is_str(tls_facts(p.client.t)->subject_cn, "mx.test", "the certificate is known");
	pair_free(&p);
	return r == 2 ? 1 : r == 0 ? 0 : 2;
}

static void test_versions(void)
{
	static const char *const protocols[] = {"TLSv1.2", "TLSv1.3"};
	size_t i;

	for (i = 0; i < 2; i++) {
		struct tls_context *server = server_for("smtp/inet"),
				   *second = server_for("submission/inet");
		struct tls_context *client = client_with(10, 0);
		struct tls_ask ask = asking(protocols[i], "mx.test");
		const char *v = protocols[i];
		unsigned asked = vault->asked;

		is_int(resumes(server, client, &ask), 0, "%s: the first is new", v);
		is_int(vault->asked, asked + 1, "%s: vault signs", v);
		is_int(resumes(server, client, &ask), 1, "%s: the second is resumed", v);
		is_int(vault->asked, asked + 1, "%s: vault does not", v);
		is_int(resumes(server, client, &ask), 1, "%s: the third too", v);
		is_int(resumes(second, client, &ask), 0, "%s: not at another listener", v);
		tls_context_free(&client);

		client = client_with(10, 0);
		resumes(server, client, &ask);
		ask.servername = "MX.test";
		/* The cache has its own mind about names: the same session under another one. */
		is_int(resumes(server, client, &ask), 0, "%s: not for another question", v);
		tls_context_free(&client);
		tls_context_free(&server);
		tls_context_free(&second);
	}
}

/* With OpenSSL's own client, which lets us present a ticket for whatever name. */
struct raw {
	SSL_CTX *ctx;
	SSL_SESSION *session;
};

static int raw_new(SSL *ssl, SSL_SESSION *session)
{
	struct raw *r = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));

	SSL_SESSION_free(r->session);
	r->session = session;
	return 1;
}

static void raw_init(struct raw *r, int version)
{
	*r = (struct raw){SSL_CTX_new(TLS_client_method()), NULL};
	SSL_CTX_set_app_data(r->ctx, r);
	SSL_CTX_set_max_proto_version(r->ctx, version);
	SSL_CTX_set_session_cache_mode(r->ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(r->ctx, raw_new);
}

static void raw_clear(struct raw *r)
{
	SSL_SESSION_free(r->session);
	SSL_CTX_free(r->ctx);
}

/* Whether the server resumes r's session under this name. */
static int raw_resumes(struct raw *r, struct tls_context *server, const char *name)
{
	struct pair p;
	SSL *ssl = SSL_new(r->ctx);
	char bytes[10];
	int i, reused;

	pair_new(&p);
	stream_read(p.client.s, false);
	end_start(&p.server, server, &plain_server);
	SSL_set_fd(ssl, stream_fd(p.client.s));
	if (name != NULL)
		SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name,
			(void *)(uintptr_t)name);
	if (r->session != NULL)
		SSL_set_session(ssl, r->session);
	for (i = 0; i < 10000 && (SSL_connect(ssl) != 1 || p.server.done == PENDING); i++)
		loop_once(clock_mono() + CLOCK_MSEC);
	stream_write_slice(p.server.s, SLICE_LIT("220 x\r\n"));
	for (i = 0; i < 10000 && SSL_read(ssl, bytes, sizeof(bytes)) <= 0; i++)
		loop_once(clock_mono() + CLOCK_MSEC);
	is_int(p.server.done, 0, "handshake for %s %s", name != NULL ? name : "no name",
		buf_str(&p.server.why));
	reused = SSL_session_reused(ssl);
	if (SSL_version(ssl) < TLS1_3_VERSION) {
		/* A renewed ticket comes without raw_new. */
		SSL_SESSION_free(r->session);
		r->session = SSL_get1_session(ssl);
	}
	is_int(tls_facts(p.server.t)->is_reused, reused, "both agree");
	SSL_shutdown(ssl);
	SSL_free(ssl);
	pair_free(&p);
	return reused;
}

static void test_binding(void)
{
	static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
	struct tls_context *server = server_for("smtp/inet"), *second = server_for("x/inet"),
			   *twin = server_for("smtp/inet");
	size_t i;

	for (i = 0; i < 2; i++) {
		struct raw r;

		raw_init(&r, versions[i]);
		is_int(raw_resumes(&r, server, "a.test"), 0, "new");
		is_int(raw_resumes(&r, server, "a.test"), 1, "resumed");
		is_int(raw_resumes(&r, server, "A.TEST"), 1, "under the same name");
		is_int(raw_resumes(&r, twin, "a.test"), 1, "at another worker of the listener");
		is_int(raw_resumes(&r, server, "b.test"), 0, "not under another name");
		is_int(raw_resumes(&r, server, "b.test"), 1, "then under that");
		is_int(raw_resumes(&r, server, NULL), 0, "not without a name");
		is_int(raw_resumes(&r, server, NULL), 1, "then without");
		is_int(raw_resumes(&r, second, NULL), 0, "not at another listener");
		raw_clear(&r);
	}
	tls_context_free(&server);
	tls_context_free(&second);
	tls_context_free(&twin);
}

/* New keys take over; what the old ones made is good until they are forgotten. */
static void test_keys(void)
{
	struct tls_context *server = server_for("smtp/inet");
	struct signer *second;
	struct raw r;

	raw_init(&r, TLS1_2_VERSION);
	raw_resumes(&r, server, "a.test");
	signer_ticket_key(vault, 'b', in_seconds(3600));
	is_int(raw_resumes(&r, server, "a.test"), 1, "a ticket of the key before");
	is_int(raw_resumes(&r, server, "a.test"), 1, "which was renewed");
	second = signer_new();
	signer_add(second, &leaf, NULL);
	signer_ticket_key(second, 'c', in_seconds(3600));
	raw_resumes(&r, server, "a.test");
	signer_kill(&second);
	is_int(raw_resumes(&r, server, "a.test"), 1, "of a vault that is gone");
	raw_clear(&r);

	raw_init(&r, TLS1_3_VERSION);
	signer_ticket_key(vault, 'd', in_seconds(2));
	raw_resumes(&r, server, "a.test");
	run_for(2100 * CLOCK_MSEC);
	is_int(raw_resumes(&r, server, "a.test"), 0, "of a key that is forgotten");
	raw_clear(&r);
	tls_context_free(&server);
}

/* The client keeps so many, so long, and gives one of TLS 1.3 out once. */
static void test_cache(void)
{
	struct tls_context *server = server_for("smtp/inet"), *client = client_with(2, 0);
	static const char *const keys[] = {"a", "b", "c"};
	struct tls_ask ask = asking("TLSv1.3", "mx.test");
	struct pair p, q;
	int i;

	for (i = 0; i < 3; i++) {
		ask.session_key = keys[i];
		resumes(server, client, &ask);
	}
	ask.session_key = "c";
	is_int(resumes(server, client, &ask), 1, "the newest is kept");
	ask.session_key = "b";
	is_int(resumes(server, client, &ask), 1, "and the one before");
	ask.session_key = "a";
	is_int(resumes(server, client, &ask), 0, "the oldest of three is not");
	ask.session_key = NULL;
	resumes(server, client, &ask);
	is_int(resumes(server, client, &ask), 0, "nothing is kept without a key");

	ask.session_key = "a";
	pair_tls(&p, server, &plain_server, client, &ask);
	pair_tls(&q, server, &plain_server, client, &ask);
	pair_run(&p);
	pair_run(&q);
	is_int(tls_facts(p.client.t)->is_reused + tls_facts(q.client.t)->is_reused, 1,
		"of two at once one has the ticket");
	pair_free(&p);
	pair_free(&q);
	tls_context_free(&client);

	client = client_with(2, 100 * CLOCK_MSEC);
	ask.session_key = "a";
	resumes(server, client, &ask);
	run_for(150 * CLOCK_MSEC);
	is_int(resumes(server, client, &ask), 0, "nothing is kept longer than asked");
	tls_context_free(&client);

	client = client_with(0, 0);
	resumes(server, client, &ask);
	is_int(resumes(server, client, &ask), 0, "no cache");
	tls_context_free(&client);
	tls_context_free(&server);
}

/* What was verified stays so, and only for who asked that. */
static void test_verified(void)
{
	static const char *const mx[] = {"mx.test"}, *const no[] = {"no.test"};
	struct tls_context *server = server_for("smtp/inet"), *client = client_with(10, 0);
	struct tls_ask ask = asking("", "mx.test");
	struct pair p;
	int i;

	ask.level = TLS_VERIFY;
	ask.match = mx;
	ask.match_n = 1;
	for (i = 0; i < 4; i++) {
		ask.match = i < 2 ? mx : no;
		pair_tls(&p, server, &plain_server, client, &ask);
		pair_run(&p);
		stream_write_slice(p.server.s, SLICE_LIT("220 x\r\n"));
		end_expect(&p.client, "220 x\r\n");
		is_int(tls_facts(p.client.t)->is_reused, i % 2, "resumed");
		is_str(tls_trust_word(tls_facts(p.client.t)), i < 2 ? "Verified" : "Trusted",
			"what it was is what it is");
		pair_free(&p);
	}
	tls_context_free(&client);
	tls_context_free(&server);
}

/* ---------------------------------------------------------------- SNI names */

static void test_names(void)
{
	struct tls_context *server = server_for("smtp/inet"), *client = client_with(0, 0);
	static const struct {
		const char *name, *subject, *sni;
		unsigned asked;
	} cases[] = {
		{"", "mx.test", "", 0},
		{"any.test", "mx.test", "", 1},
		{"any.test", "mx.test", "", 1},
		{"Other.test", "other.test", "other.test", 2},
		{"other.TEST", "other.test", "other.test", 2},
		{"with space.test", "mx.test", "", 2},
	};
	struct tls_ask ask = asking("", "");
	struct signer *old = vault;
	struct pair p;
	size_t i;

	vault = signer_new();
	signer_add(vault, &leaf, NULL);
	signer_add(vault, &other, NULL);
	vault->name = "other.test";
	vault->name_from = 1;
	signer_send(vault);
	signer_kill(&old);
	for (i = 0; i < COUNT_OF(cases); i++) {
		ask.servername = cases[i].name;
		ask.protocols = i % 2 ? "TLSv1.2" : "TLSv1.3";
		pair_tls(&p, server, &plain_server, client, &ask);
		pair_run(&p);
		is_int(p.server.done, 0, "name \"%s\": %s", cases[i].name, buf_str(&p.server.why));
		is_str(tls_facts(p.client.t)->subject_cn, cases[i].subject, "its certificate");
		is_str(tls_facts(p.server.t)->sni, cases[i].sni, "its name");
		is_int(vault->names_asked, cases[i].asked, "vault is asked once a name");
		pair_free(&p);
	}
	vault->name_silent = true;
	ask.servername = "silent.test";
	pair_tls(&p, server, &plain_server, client, &ask);
	run_for(20 * CLOCK_MSEC);
	is_int(p.server.done, PENDING, "no answer: it waits");
	pair_free(&p);
	pair_tls(&p, server, &plain_server, client, &ask);
	run_for(20 * CLOCK_MSEC);
	is_int(vault->names_asked, 3, "the question is still open");
	old = vault;
	vault = signer_new();
	signer_add(vault, &leaf, NULL);
	signer_kill(&old);
	pair_run(&p);
	is_int(p.server.done, 0, "the next vault is asked when one dies");
	pair_free(&p);
	tls_context_free(&client);
	tls_context_free(&server);
}

int main(void)
{
	struct tls_context *server, *client;
	struct tls_ask ask = asking("", "");

	loop_init();
	ca = cert_new("P-256", "Test CA", NULL, NULL, CERT_CA);
	leaf = cert_new("P-256", "mx.test", "DNS:mx.test", &ca, 0);
	other = cert_new("RSA", "other.test", "DNS:other.test", &ca, 0);
	ca_path = cert_file(&ca);
	vault = signer_new();
	signer_add(vault, &leaf, NULL);
	signer_send(vault);
	server = server_for("smtp/inet");
	client = client_with(10, 0);
	is_int(resumes(server, client, &ask), 0, "no ticket key: new");
	is_int(resumes(server, client, &ask), 0, "and never resumed");
	tls_context_free(&client);
	tls_context_free(&server);
	signer_ticket_key(vault, 'a', in_seconds(3600));
	test_versions();
	test_binding();
	test_keys();
	signer_ticket_key(vault, 'e', in_seconds(3600));
	test_cache();
	test_verified();
	test_names();
	signer_kill(&vault);
	cert_free(&ca);
	cert_free(&leaf);
	cert_free(&other);
	unlink(ca_path);
	mem_free(ca_path);
	return done_testing();
}
