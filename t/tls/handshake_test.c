/* SPDX-License-Identifier: ISC */
/* Handshakes whose keys are somewhere else: kinds of keys, versions, and all that vault may do. */
#include "t/tap.h"
#include "t/tls/kit.h"
#include "util/err.h"

static struct cert ca, rsa, ec, ed;
static struct tls_context *server, *client;

static void talk(struct pair *p, const char *name)
{
	stream_write_slice(p->client.s, SLICE_LIT("EHLO there\r\n"));
	ok(end_expect(&p->server, "EHLO there\r\n"), "%s: bytes to the server", name);
	stream_write_slice(p->server.s, SLICE_LIT("250 hello\r\n"));
	ok(end_expect(&p->client, "250 hello\r\n"), "%s: bytes to the client", name);
}

static void test_kinds(void)
{
	static const struct {
		const char *name, *protocols;
		const struct cert *cert;
		unsigned scheme;
	} cases[] = {
		{"RSA, 1.2", "TLSv1.2", &rsa, 0x0804},
		{"RSA, 1.3", "TLSv1.3", &rsa, 0x0804},
		{"P-256, 1.2", "TLSv1.2", &ec, 0x0403},
		{"P-256, 1.3", "TLSv1.3", &ec, 0x0403},
		{"Ed25519, 1.2", "TLSv1.2", &ed, 0x0807},
		{"Ed25519, 1.3", "TLSv1.3", &ed, 0x0807},
	};
	size_t i;

	for (i = 0; i < COUNT_OF(cases); i++) {
		struct stub *v = stub_new();
		struct tls_ask ask = plain_client;
		struct pair p;

		stub_add(v, cases[i].cert, NULL);
		stub_send(v);
		ask.protocols = cases[i].protocols;
		ask.exclude = "aNULL";
		pair_tls(&p, server, &plain_server, client, &ask);
		ok(pair_run(&p), "%s: it ends", cases[i].name);
		is_int(p.server.done, 0, "%s: server %s", cases[i].name, buf_str(&p.server.why));
		is_int(p.client.done, 0, "%s: client %s", cases[i].name, buf_str(&p.client.why));
		is_int(v->asked, 1, "%s: one signature", cases[i].name);
		is_int(v->schemes[0], cases[i].scheme, "%s: its scheme", cases[i].name);
		if (p.server.done == 0 && p.client.done == 0)
			talk(&p, cases[i].name);
		pair_free(&p);
		stub_kill(&v);
	}
}

int main(void)
{
	char *file;

	loop_init();
	ca = cert_new("P-256", "Test CA", NULL, NULL, CERT_CA);
	rsa = cert_new("RSA", "mx.test", "DNS:mx.test", &ca, 0);
	ec = cert_new("P-256", "mx.test", "DNS:mx.test", &ca, 0);
	ed = cert_new("ED25519", "mx.test", "DNS:mx.test", &ca, 0);
	file = cert_file(&ca);
	server = context(TLS_SERVER, file);
	client = context(TLS_CLIENT, file);
	test_kinds();
	return done_testing();
}
