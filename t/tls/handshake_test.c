/* SPDX-License-Identifier: ISC */
/* Handshakes whose keys are somewhere else: kinds of keys, versions, and all that vault may do. */
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "t/tap.h"
#include "t/tls/kit.h"
#include "tls/tls_private.h"
#include "util/fd.h"
#include "util/err.h"
#include "util/mem.h"

static struct cert ca, rsa, ec, ed;
static struct tls_context *server, *client;
static char *ca_path;

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
		struct signer *v = signer_new();
		struct tls_ask ask = plain_client;
		struct pair p;

		signer_add(v, cases[i].cert, NULL);
		signer_send(v);
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
		signer_kill(&v);
	}
}

/* One handshake under a vault that is as it is. */
static void one(struct pair *p, const char *protocols)
{
	struct tls_ask ask = plain_client;

	ask.protocols = protocols;
	ask.exclude = "aNULL";
	pair_tls(p, server, &plain_server, client, &ask);
}

static struct signer *vault_with(const struct cert *cert)
{
	struct signer *v = signer_new();

	signer_add(v, cert, NULL);
	signer_send(v);
	return v;
}

/* Both kinds of key at once: the client's wish decides; a new chain replaces the old at once. */
static void test_chains(void)
{
	struct signer *v = signer_new();
	struct pair p;

	signer_add(v, &rsa, NULL);
	signer_add(v, &ec, NULL);
	signer_add(v, &ed, NULL);
	signer_send(v);
	one(&p, "");
	pair_run(&p);
	is_int(p.server.done, 0, "three chains: %s", buf_str(&p.server.why));
	pair_free(&p);
	v->chains = 0;
	signer_add(v, &rsa, NULL);
	signer_send(v);
	one(&p, "");
	pair_run(&p);
	is_str(tls_facts(p.client.t)->server_sig, "RSA-PSS", "only the last chain is offered");
	pair_free(&p);
	signer_kill(&v);
	ok(tls_keys_ready(), "chains outlive their vault");
}

static void test_client_cert(void)
{
	static const char *const protocols[] = {"TLSv1.2", "TLSv1.3"};
	const struct cert *certs[] = {&rsa, &ec, &ed};
	struct tls_settings s = {
		.side = TLS_SERVER, .listener = "test/inet", .ask_cert = true, .ca_file = ca_path};
	struct tls_context *asking = context_of(&s);
	size_t i;

	for (i = 0; i < 6; i++) {
		struct signer *v = vault_with(certs[i % 3]);
		struct tls_ask ask = plain_client;
		const struct tls_facts *f;
		struct pair p;

		ask.protocols = protocols[i / 3];
		pair_tls(&p, asking, &plain_server, client, &ask);
		ok(pair_run(&p), "client certificate %zu: it ends", i);
		is_int(p.server.done, 0, "client certificate %zu: server %s", i,
			buf_str(&p.server.why));
		is_int(p.client.done, 0, "client certificate %zu: client %s", i,
			buf_str(&p.client.why));
		is_int(v->asked, 2, "client certificate %zu: both sides sign", i);
		f = tls_facts(p.server.t);
		ok(f->has_cert && f->is_trusted && !f->is_matched,
			"client certificate %zu: trusted", i);
		is_str(f->subject_cn, "mx.test", "client certificate %zu: its name", i);
		talk(&p, "with a client certificate");
		pair_free(&p);
		signer_kill(&v);
	}
	tls_context_free(&asking);
}

static void test_refusals(void)
{
	static const struct {
		const char *name;
		enum signer_mode mode;
		int err;
		const char *why;
	} cases[] = {
		{"refused", SIGNER_REFUSE, ERR_TEMP, "SSL_accept error: not for you"},
		{"not now", SIGNER_NOT_NOW, ERR_TEMP, "SSL_accept error: vault cannot sign now"},
		{"empty", SIGNER_EMPTY, ERR_TEMP, "SSL_accept error: vault sent no signature"},
	};
	struct signer *v = vault_with(&ec), *other;
	struct pair p;
	size_t i;

	for (i = 0; i < 2 * COUNT_OF(cases); i++) {
		v->mode = cases[i / 2].mode;
		one(&p, i % 2 ? "TLSv1.3" : "TLSv1.2");
		ok(pair_run(&p), "%s: it ends", cases[i / 2].name);
		is_int(p.server.done, cases[i / 2].err, "%s: server", cases[i / 2].name);
		is_str(buf_str(&p.server.why), cases[i / 2].why, "%s: why", cases[i / 2].name);
		ok(p.client.done < 0, "%s: client", cases[i / 2].name);
		pair_free(&p);
	}
	v->mode = SIGNER_GARBAGE;
	one(&p, "TLSv1.3");
	ok(pair_run(&p), "garbage: it ends");
	is_int(p.client.done, ERR_CORRUPT, "garbage: client %s", buf_str(&p.client.why));
	pair_free(&p);

	/* The newest is asked first. */
	v->mode = SIGNER_SIGN;
	other = vault_with(&ec);
	other->mode = SIGNER_NOT_NOW;
	one(&p, "TLSv1.3");
	pair_run(&p);
	is_int(p.server.done, 0, "one vault cannot now, another does it");
	is_int(v->asked + other->asked, i + 3, "each was asked");
	pair_free(&p);
	signer_kill(&other);
	signer_kill(&v);
}

static bool was_asked(void *arg)
{
	struct signer *v = arg;

	return v->asked > 0;
}

static bool is_third_asked(void *arg)
{
	struct signer *const *two = arg;

	return two[0]->asked + two[1]->asked >= 3;
}

static void test_deaths(void)
{
	struct signer *v = vault_with(&rsa), *next;
	struct pair p, q;

	v->mode = SIGNER_SILENT;
	one(&p, "TLSv1.3");
	ok(until(was_asked, v), "vault is asked");
	signer_kill(&v);
	run_for(10 * CLOCK_MSEC);
	is_int(p.server.done, PENDING, "vault dies: the handshake waits");
	one(&q, "TLSv1.2");
	run_for(10 * CLOCK_MSEC);
	is_int(q.server.done, PENDING, "so does one that begins without a vault");
	next = vault_with(&rsa);
	pair_run(&p);
	pair_run(&q);
	is_int(p.server.done, 0, "the next vault is asked");
	is_int(q.server.done, 0, "for both");
	is_int(next->asked, 2, "once each");
	talk(&p, "after a vault's death");
	pair_free(&p);
	pair_free(&q);

	v = next;
	next = vault_with(&rsa);
	v->mode = next->mode = SIGNER_SILENT;
	one(&p, "TLSv1.3");
	ok(until(is_third_asked, (struct signer *[]){v, next}), "one of two vaults is asked");
	run_for(20 * CLOCK_MSEC);
	is_int(v->asked + next->asked, 3, "and not the other one");
	next->mode = v->mode = SIGNER_SIGN;
	signer_kill(v->asked == 3 ? &v : &next);
	pair_run(&p);
	is_int(p.server.done, 0, "it dies: the other one is asked at once");
	pair_free(&p);
	signer_kill(v != NULL ? &v : &next);
}

/* Whoever has said his chains last need not be who stays: then they are those of another. */
static void test_last_word(void)
{
	struct signer *stays = vault_with(&ec), *goes;
	struct pair p;

	run_for(20 * CLOCK_MSEC);
	goes = vault_with(&rsa);
	run_for(20 * CLOCK_MSEC);
	one(&p, "TLSv1.3");
	pair_run(&p);
	is_int(p.server.done, 0, "two vaults with other keys: %s", buf_str(&p.server.why));
	ok(goes->asked > 0, "the last one signs");
	pair_free(&p);
	signer_kill(&goes);
	one(&p, "TLSv1.3");
	pair_run(&p);
	is_int(p.server.done, 0, "it has gone: the other one's chains are in force: %s",
		buf_str(&p.server.why));
	pair_free(&p);
	signer_kill(&stays);
}

/* A session ends while its handshake waits. What crashed once. */
static void test_freed(void)
{
	struct signer *v = vault_with(&rsa);
	struct pair p;
	int i;

	v->delay = 30 * CLOCK_MSEC;
	for (i = 0; i < 4; i++) {
		unsigned before = v->asked;

		one(&p, i % 2 ? "TLSv1.2" : "TLSv1.3");
		while (v->asked == before)
			run_for(0);
		if (i >= 2)
			signer_kill(&v);
		pair_free(&p);
		if (v == NULL)
			v = vault_with(&rsa);
	}
	run_for(50 * CLOCK_MSEC);
	pass("sessions are freed while they wait for vault");
	v->mode = SIGNER_SIGN;
	v->delay = 0;
	one(&p, "");
	pair_run(&p);
	is_int(p.server.done, 0, "and the next one is served");
	pair_free(&p);
	signer_kill(&v);
}

enum { MANY = 100 };
static struct pair many[MANY];

static bool all_done(void *arg)
{
	int i;

	for (i = 0; i < MANY; i++)
		if (many[i].server.done == PENDING || many[i].client.done == PENDING)
			return false;
	return true;
}

/* A second a signature: they wait together, and a running session does not. */
static void test_slow(void)
{
	struct signer *v = vault_with(&ec);
	int64_t start;
	struct pair p;
	int i, good = 0, rounds = 0;

	one(&p, "");
	pair_run(&p);
	v->delay = CLOCK_SEC;
	for (i = 0; i < MANY; i++)
		one(&many[i], i % 2 ? "TLSv1.2" : "TLSv1.3");
	while (v->asked < MANY + 1)
		run_for(0);
	start = clock_mono();
	while (many[0].server.done == PENDING && rounds < 1000) {
		stream_write_slice(p.client.s, SLICE_LIT("NOOP\r\n"));
		if (!end_expect(&p.server, "NOOP\r\n"))
			break;
		rounds++;
	}
	ok(rounds >= 20, "%d exchanges in a running session meanwhile", rounds);
	ok(until(all_done, NULL), "%d handshakes end", MANY);
	for (i = 0; i < MANY; i++)
		good += many[i].server.done == 0 && many[i].client.done == 0;
	is_int(good, MANY, "all of them well");
	diag("%lld ms", (long long)(clock_mono() - start) / 1000);
	for (i = 0; i < MANY; i++)
		pair_free(&many[i]);
	pair_free(&p);
	signer_kill(&v);
}

static void test_silence(void)
{
	struct signer *v = vault_with(&ec);
	struct pair p, q;

	v->mode = SIGNER_SILENT;
	one(&p, "TLSv1.3");
	one(&q, "TLSv1.3");
	run_for(20 * CLOCK_MSEC);
	stream_deadline(q.server.s, loop_now() + 50 * CLOCK_MSEC);
	ok(pair_run(&p), "a silent vault: it ends");
	is_int(p.server.done, ERR_TEMP, "after the deadline");
	is_str(buf_str(&p.server.why), "SSL_accept error: vault did not answer in time", "why");
	is_int(q.server.done, ERR_TIMEOUT, "the stream's own deadline comes first");
	pair_free(&p);
	pair_free(&q);
	signer_kill(&v);
}

static void test_limits(void)
{
	struct tls_settings s = {.side = TLS_SERVER, .listener = "test/inet", .handshakes = 2};
	struct tls_context *small = context_of(&s);
	struct signer *v = vault_with(&ec);
	struct pair p[3];
	int i;

	v->mode = SIGNER_SILENT;
	for (i = 0; i < 3; i++) {
		pair_new(&p[i]);
		is_int(end_start(&p[i].server, small, &plain_server), i < 2 ? 0 : ERR_TEMP,
			"handshake %d of at most 2", i + 1);
	}
	is_str(buf_str(&p[2].server.why), "too many TLS handshakes at once (2)", "why not");
	pair_free(&p[0]);
	is_int(end_start(&p[2].server, small, &plain_server), 0, "one has ended: there is room");
	pair_free(&p[1]);
	pair_free(&p[2]);
	tls_context_free(&small);
	signer_kill(&v);
}

/* More handshakes wait than there are fibres: those behind begin when one has ended. */
static void test_fibres(void)
{
	enum { ALL = TLS_JOBS + 50 };
	struct tls_settings s = {.side = TLS_SERVER, .listener = "test/inet", .handshakes = ALL};
	struct tls_context *large = context_of(&s);
	static struct pair p[ALL];
	struct signer *v = vault_with(&ec);
	struct tls_ask ask = plain_client;
	unsigned before = v->asked;
	int i, good = 0;

	ask.exclude = "aNULL";
	s = (struct tls_settings){.side = TLS_CLIENT, .handshakes = ALL};
	{
		struct tls_context *clients = context_of(&s);

		v->mode = SIGNER_SILENT;
		for (i = 0; i < ALL; i++)
			pair_tls(&p[i], large, &plain_server, clients, &ask);
		/* The clients have a key, so their handshakes take fibres too while they run. */
		for (i = 0; i < 1000 && v->asked - before < TLS_JOBS - 1; i++)
			run_for(0);
		ok(v->asked - before >= TLS_JOBS - 1 && v->asked - before <= TLS_JOBS,
			"%u wait for vault at once", v->asked - before);
		signer_kill(&v);
		v = vault_with(&ec);
		for (i = 0; i < ALL; i++) {
			pair_run(&p[i]);
			good += p[i].server.done == 0 && p[i].client.done == 0;
		}
		is_int(good, ALL, "all end well with the next vault");
		for (i = 0; i < ALL; i++)
			pair_free(&p[i]);
		tls_context_free(&clients);
	}
	tls_context_free(&large);
	signer_kill(&v);
}

/* ------------------------------------------------------------ broken peers */

/* A client that wants to negotiate anew gets no second handshake, and no signature. */
static void test_renegotiation(void)
{
	struct signer *v = vault_with(&ec);
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	SSL *ssl = SSL_new(ctx);
	char bytes[10];
	struct pair p;
	int i, r = 0;

	pair_new(&p);
	stream_read(p.client.s, false);
	end_start(&p.server, server, &plain_server);
	SSL_set_max_proto_version(ssl, TLS1_2_VERSION);
	SSL_set_fd(ssl, stream_fd(p.client.s));
	for (i = 0; i < 1000 && SSL_connect(ssl) != 1; i++)
		loop_once(clock_mono() + CLOCK_MSEC);
	SSL_renegotiate(ssl);
	SSL_do_handshake(ssl);
	stream_write_slice(p.server.s, SLICE_LIT("250 on\r\n"));
	for (i = 0; i < 50 && (r = SSL_read(ssl, bytes, sizeof(bytes))) <= 0; i++)
		loop_once(clock_mono() + CLOCK_MSEC);
	is_int(p.server.done, 0, "handshake");
	is_int(v->asked, 1, "one signature, whatever the client wants");
	SSL_free(ssl);
	SSL_CTX_free(ctx);
	pair_free(&p);
	signer_kill(&v);
}

static bool server_done(void *arg)
{
	struct pair *p = arg;

	return p->server.done != PENDING;
}

static void test_not_tls(void)
{
	static const struct {
		const char *name, *text;
		bool closes;
		int err;
	} cases[] = {
		{"SMTP", "EHLO there\r\n", false, ERR_CORRUPT},
		{"closed at once", "", true, ERR_CLOSED},
		{"closed in a record", "\x16\x03\x01\x02", true, ERR_CLOSED},
		{"SSLv2", "\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10\x01\x00\x80\x03", true,
			ERR_CLOSED},
		{"an alert", "\x15\x03\x01\x00\x02\x02\x28", false, ERR_CORRUPT},
		{"data before the handshake", "\x17\x03\x03\x00\x01x", false, ERR_CORRUPT},
	};
	static const size_t lengths[] = {12, 0, 4, 15, 7, 6};
	struct signer *v = vault_with(&ec);
	size_t i;

	for (i = 0; i < COUNT_OF(cases); i++) {
		struct pair p;

		pair_new(&p);
		end_start(&p.server, server, &plain_server);
		stream_write(p.client.s, cases[i].text, lengths[i]);
		if (cases[i].closes)
			stream_finish(&p.client.s);
		ok(until(server_done, &p), "%s: it ends", cases[i].name);
		is_int(p.server.done, cases[i].err, "%s: %s", cases[i].name,
			buf_str(&p.server.why));
		stream_free(&p.client.s);
		pair_free(&p);
	}
	signer_kill(&v);
}

/* What came before the handshake is gone, on both sides (RFC 3207, 4.2). */
static void keep(struct stream *s, void *arg)
{
}

static void drop_end(struct stream *s, int err, void *arg)
{
}

static void test_injection(void)
{
	static const struct stream_events lazy = {keep, NULL, drop_end};
	struct signer *v = vault_with(&ec);
	struct pair p;

	pair_new(&p);
	stream_write_slice(p.client.s, SLICE_LIT("MAIL FROM:<evil@test>\r\n"));
	stream_set_arg(p.server.s, &lazy, &p.server);
	run_for(0);
	ok(stream_input(p.server.s).len > 0, "bytes are there before the handshake");
	is_int(end_start(&p.server, server, &plain_server), 0, "the server begins");
	is_int(stream_input(p.server.s).len, 0, "they are gone");
	end_start(&p.client, client, &plain_client);
	pair_run(&p);
	is_int(p.server.done, 0, "handshake");
	end_owns(&p.server);
	talk(&p, "behind it");
	pair_free(&p);

	pair_new(&p);
	stream_write_slice(p.client.s, SLICE_LIT("RSET\r\n"));
	stream_write_slice(p.server.s, SLICE_LIT("220 go\r\n"));
	run_for(0);
	is_slice(buf_slice(&p.server.got), "RSET\r\n", "in the clear");
	is_slice(buf_slice(&p.client.got), "220 go\r\n", "in the clear");
	buf_reset(&p.server.got);
	buf_reset(&p.client.got);
	/* Written, not yet sent: it goes out in the clear. */
	stream_write_slice(p.server.s, SLICE_LIT("220 now\r\n"));
	is_int(end_start(&p.server, server, &plain_server), 0, "the server begins");
	ok(end_expect(&p.client, "220 now\r\n"), "what it said before is in the clear");
	end_start(&p.client, client, &plain_client);
	pair_run(&p);
	is_int(p.server.done, 0, "handshake");
	talk(&p, "behind it");
	pair_free(&p);
	signer_kill(&v);
}

static bool server_ended(void *arg)
{
	struct pair *p = arg;

	return p->server.ended != PENDING;
}

static bool client_ended(void *arg)
{
	struct pair *p = arg;

	return p->client.ended != PENDING;
}

static void test_ends(void)
{
	struct signer *v = vault_with(&ec);
	struct pair p;
	int fd, i;

	for (i = 0; i < 4; i++) {
		one(&p, i % 2 ? "TLSv1.2" : "TLSv1.3");
		pair_run(&p);
		stream_write_slice(p.client.s, SLICE_LIT("QUIT\r\n"));
		stream_flush(p.client.s);
		if (i >= 2) {
			/* Behind TLS's back. */
			fd = stream_fd(p.client.s);
			shutdown(fd, SHUT_RDWR);
		} else
			stream_free(&p.client.s);
		ok(until(server_ended, &p), "the end is seen");
		is_int(p.server.ended, i >= 2 ? ERR_SYS : ERR_CLOSED,
			i >= 2 ? "cut off without close_notify" : "closed in good order");
		is_slice(buf_slice(&p.server.got), "QUIT\r\n", "the last bytes come first");
		pair_free(&p);
	}
	signer_kill(&v);
}

/* More than all buffers hold, both ways, through a reader that pauses. */
static void test_bulk(void)
{
	enum { SIZE = 3 << 20 };
	struct signer *v = vault_with(&ec);
	char *data = mem_alloc(SIZE);
	struct pair p;
	int i;

	for (i = 0; i < SIZE; i++)
		data[i] = (char)(i * 7 + (i >> 11));
	one(&p, "");
	pair_run(&p);
	stream_write(p.client.s, data, SIZE);
	stream_write(p.server.s, data, SIZE);
	for (i = 0; i < 20000 && (p.server.got.len < SIZE || p.client.got.len < SIZE); i++) {
		stream_read(p.server.s, i % 2);
		loop_once(clock_mono() + CLOCK_MSEC);
	}
	is_int(p.server.got.len, SIZE, "all bytes came to the server");
	is_int(p.client.got.len, SIZE, "all bytes came to the client");
	ok(p.server.got.len == SIZE && memcmp(buf_str(&p.server.got), data, SIZE) == 0, "the same");
	ok(p.client.got.len == SIZE && memcmp(buf_str(&p.client.got), data, SIZE) == 0, "the same");
	pair_free(&p);
	mem_free(data);
	signer_kill(&v);
}

/* ------------------------------------------------------- around the handshake's end */

/* Written while the handshake runs, it goes out behind it, whoever speaks. */
static void test_early_words(void)
{
	static const char *const protocols[] = {"TLSv1.2", "TLSv1.3"};
	struct signer *v = vault_with(&ec);

	for (size_t i = 0; i < COUNT_OF(protocols); i++) {
		struct pair p;

		one(&p, protocols[i]);
		run_for(0);
		stream_write_slice(p.client.s, SLICE_LIT("EHLO early\r\n"));
		stream_write_slice(p.server.s, SLICE_LIT("220 early\r\n"));
		ok(end_expect(&p.server, "EHLO early\r\n"), "%s: the client's", protocols[i]);
		ok(end_expect(&p.client, "220 early\r\n"), "%s: the server's", protocols[i]);
		pair_free(&p);
	}
	signer_kill(&v);
}

/* Something else makes the stream read again, until the handshake is over. */
struct nagger {
	struct loop_watch *watch;
	struct end *end;
	int fd[2];
};

static void nag(int what, void *arg)
{
	struct nagger *n = arg;

	if (n->end->t->phase == TLS_PHASE_HANDSHAKE)
		stream_retry(n->end->s);
	else
		loop_watch_set(n->watch, 0);
}

/* Between the handshake's end and its report a read must not leave the stream without a wish. */
static void test_read_at_the_end(bool is_server, const char *protocols)
{
	struct signer *v = vault_with(&ec);
	struct nagger n;
	struct pair p;
	const char *name = is_server ? "server" : "client";

	one(&p, protocols);
	n.end = is_server ? &p.server : &p.client;
	if (pipe2(n.fd, O_CLOEXEC) != 0 || write(n.fd[1], "x", 1) != 1)
		bail_out("pipe");
	n.watch = loop_watch_new(n.fd[0], nag, &n);
	loop_watch_set(n.watch, LOOP_READ);
	ok(pair_run(&p), "%s, %s: it ends", name, protocols);
	stream_write_slice(is_server ? p.client.s : p.server.s, SLICE_LIT("hello\r\n"));
	ok(end_expect(n.end, "hello\r\n"), "%s, %s: it hears its peer", name, protocols);
	loop_watch_free(&n.watch);
	fd_close(&n.fd[0]);
	fd_close(&n.fd[1]);
	pair_free(&p);
	signer_kill(&v);
}

/* Its certificate and what it has signed are on their way; the client has not answered yet. */
static bool server_waits(void *arg)
{
	const struct pair *p = arg;

	return p->server.t->has_written && p->server.t->has_asked && p->server.t->sign == NULL &&
	       p->server.t->held.len == 0;
}

static bool client_done(void *arg)
{
	const struct pair *p = arg;

	return p->client.done != PENDING;
}

/* The socket takes a part of the client's last flight; then the client waits for its peer. */
static void test_held_flight(void)
{
	struct buf names = BUF_INIT(16384);
	struct tls_settings s = {
		.side = TLS_SERVER, .listener = "test/inet", .ask_cert = true, .ca_file = ca_path};
	struct tls_context *asking = context_of(&s);
	struct tls_ask ask = plain_client;
	struct cert large;
	struct signer *v;
	struct pair p;
	int small = 1;

	for (int i = 0; i < 160; i++)
		buf_add_fmt(&names, "%sDNS:a-rather-long-name-%03d.mx.test", i > 0 ? "," : "", i);
	large = cert_new("P-256", "mx.test", buf_str(&names), &ca, 0);
	v = vault_with(&large);
	ask.protocols = "TLSv1.3";
	pair_tls(&p, asking, &plain_server, client, &ask);
	if (setsockopt(stream_fd(p.client.s), SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)) != 0)
		bail_out("setsockopt");
	ok(until(server_waits, &p), "the server has done its part");
	stream_read(p.server.s, false);
	ok(until(client_done, &p), "the client, too");
	run_for(10 * CLOCK_MSEC);
	ok(p.client.t->held.len > 0, "%zu bytes of it had no room", p.client.t->held.len);
	stream_read(p.server.s, true);
	ok(pair_run(&p), "they go when there is room");
	is_int(p.server.done, 0, "and it ends well: %s", buf_str(&p.server.why));
	stream_write_slice(p.server.s, SLICE_LIT("220 hello\r\n"));
	ok(end_expect(&p.client, "220 hello\r\n"), "a client that waited hears the server");
	pair_free(&p);
	signer_kill(&v);
	cert_free(&large);
	tls_context_free(&asking);
	buf_clear(&names);
}

/* What is held when the owner ends the connection at once goes before the close_notify. */
static void end_at_once(struct tls *t, int err, void *arg)
{
	struct end *e = arg;

	e->done = err;
	e->t = NULL;
	stream_free(&e->s);
}

static void test_held_at_close(void)
{
	static const struct tls_events events = {end_at_once};
	struct signer *v = vault_with(&ec);

	for (int i = 0; i < 4; i++) {
		struct tls_ask ask = plain_client;
		struct pair p;
		struct end *leaves = i < 2 ? &p.client : &p.server, *stays;

		stays = i < 2 ? &p.server : &p.client;
		ask.protocols = i % 2 ? "TLSv1.2" : "TLSv1.3";
		ask.exclude = "aNULL";
		pair_new(&p);
		is_int(tls_start(i < 2 ? client : server, leaves->s, i < 2 ? &ask : &plain_server,
			       &events, leaves, &leaves->t, &leaves->why),
			0, "it begins");
		end_start(stays, i < 2 ? server : client, i < 2 ? &plain_server : &ask);
		ok(pair_run(&p), "%s, %s leaves at once: both end", ask.protocols,
			i < 2 ? "client" : "server");
		is_int(stays->done, 0, "the other has a whole handshake: %s", buf_str(&stays->why));
		ok(until(i < 2 ? server_ended : client_ended, &p), "and sees the end");
		is_int(stays->ended, ERR_CLOSED, "in good order");
		pair_free(&p);
	}
	signer_kill(&v);
}

int main(void)
{
	fd_raise_limit();
	loop_init();
	ca = cert_new("P-256", "Test CA", NULL, NULL, CERT_CA);
	rsa = cert_new("RSA", "mx.test", "DNS:mx.test", &ca, 0);
	ec = cert_new("P-256", "mx.test", "DNS:mx.test", &ca, 0);
	ed = cert_new("ED25519", "mx.test", "DNS:mx.test", &ca, 0);
	ca_path = cert_file(&ca);
	server = context(TLS_SERVER, ca_path);
	client = context(TLS_CLIENT, ca_path);
	test_kinds();
	test_chains();
	test_client_cert();
	test_refusals();
	test_deaths();
	test_last_word();
	test_freed();
	test_slow();
	test_silence();
	test_limits();
	test_fibres();
	test_renegotiation();
	test_not_tls();
	test_injection();
	test_ends();
	test_bulk();
	test_early_words();
	for (int i = 0; i < 4; i++)
		test_read_at_the_end(i < 2, i % 2 ? "TLSv1.2" : "TLSv1.3");
	test_held_flight();
	test_held_at_close();
	tls_context_free(&server);
	tls_context_free(&client);
	cert_free(&ca);
	cert_free(&rsa);
	cert_free(&ec);
	cert_free(&ed);
	unlink(ca_path);
	mem_free(ca_path);
	return done_testing();
}
