/* SPDX-License-Identifier: ISC */
#include "t/tls/kit.h"

#include <stdlib.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "t/tap.h"
#include "util/err.h"
#include "util/mem.h"

/* ------------------------------------------------------------ certificates */

static EVP_PKEY *make_key(const char *kind)
{
	if (strcmp(kind, "RSA") == 0)
		return EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)2048);
	if (strcmp(kind, "ED25519") == 0)
		return EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	return EVP_PKEY_Q_keygen(NULL, NULL, "EC", kind);
}

static void extend(X509 *x, const struct cert *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *e;

	X509V3_set_ctx(&ctx, issuer->x, x, NULL, NULL, 0);
	e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	if (e == NULL)
		bail_out("extension %d: %s", nid, value);
	X509_add_ext(x, e, -1);
	X509_EXTENSION_free(e);
}

static void add_nul_name(X509 *x)
{
	static const char name[] = "mx.test\0.evil.test";
	GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
	GENERAL_NAME *g = GENERAL_NAME_new();
	ASN1_IA5STRING *s = ASN1_IA5STRING_new();

	ASN1_STRING_set(s, name, sizeof(name) - 1);
	GENERAL_NAME_set0_value(g, GEN_DNS, s);
	sk_GENERAL_NAME_push(names, g);
	X509_add1_ext_i2d(x, NID_subject_alt_name, names, 0, 0);
	GENERAL_NAMES_free(names);
}

struct cert cert_new(
	const char *kind, const char *cn, const char *alt, const struct cert *issuer, int flags)
{
	static long serial = 1000;
	struct cert c = {X509_new(), make_key(kind)};
	X509_NAME *name = X509_get_subject_name(c.x);
	long day = 24 * 3600, from = -day, to = 30 * day;

	if (flags & CERT_EXPIRED)
		from = -10 * day, to = -day;
	if (flags & CERT_FUTURE)
		from = 5 * day;
	if (issuer == NULL)
		issuer = &c;
	X509_set_version(c.x, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(c.x), serial++);
	X509_gmtime_adj(X509_getm_notBefore(c.x), from);
	X509_gmtime_adj(X509_getm_notAfter(c.x), to);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)cn, -1, -1, 0);
	X509_set_issuer_name(c.x, X509_get_subject_name(issuer->x));
	X509_set_pubkey(c.x, c.key);
	if (flags & CERT_CA) {
		extend(c.x, issuer, NID_basic_constraints, "critical,CA:TRUE");
		extend(c.x, issuer, NID_subject_key_identifier, "hash");
	}
	if (alt != NULL)
		extend(c.x, issuer, NID_subject_alt_name, alt);
	if (flags & CERT_NUL_NAME)
		add_nul_name(c.x);
	if (X509_sign(c.x, issuer->key,
		    EVP_PKEY_is_a(issuer->key, "ED25519") ? NULL : EVP_sha256()) == 0)
		bail_out("no certificate for %s", cn);
	return c;
}

void cert_free(struct cert *c)
{
	X509_free(c->x);
	EVP_PKEY_free(c->key);
	*c = (struct cert){0};
}

char *cert_pem(const struct cert *c)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *text, *p;
	long n;

	PEM_write_bio_X509(bio, c->x);
	n = BIO_get_mem_data(bio, &p);
	text = mem_dup(p, (size_t)n);
	BIO_free(bio);
	return text;
}

char *cert_file(const struct cert *c)
{
	const char *dir = getenv("TMPDIR");
	char *path = mem_fmt("%s/gp-tls-XXXXXX", dir != NULL ? dir : "/tmp");
	char *pem = cert_pem(c);
	int fd = mkstemp(path);

	if (fd < 0 || write(fd, pem, strlen(pem)) != (ssize_t)strlen(pem))
		bail_out("cannot write %s", path);
	close(fd);
	mem_free(pem);
	return path;
}

void cert_fingerprint(const struct cert *c, bool key, struct buf *out)
{
	unsigned char *der = NULL, md[EVP_MAX_MD_SIZE];
	int len = key ? i2d_PUBKEY(c->key, &der) : i2d_X509(c->x, &der);
	unsigned n = 0, i;

	EVP_Digest(der, (size_t)len, md, &n, EVP_sha256(), NULL);
	for (i = 0; i < n; i++)
		buf_add_fmt(out, "%s%02X", i > 0 ? ":" : "", md[i]);
	OPENSSL_free(der);
}

/* ------------------------------------------------------------------ vault */

static void key_id(const struct cert *c, unsigned char id[32])
{
	unsigned char *der = NULL;
	int len = i2d_PUBKEY(c->key, &der);

	EVP_Digest(der, (size_t)len, id, NULL, EVP_sha256(), NULL);
	OPENSSL_free(der);
}

static void add_der(struct buf *out, const struct cert *c)
{
	unsigned char *der = NULL;
	int len = c->x != NULL ? i2d_X509(c->x, &der) : 0;

	if (len <= 0)
		return;
	buf_add_char(out, (char)(len >> 16));
	buf_add_char(out, (char)(len >> 8));
	buf_add_char(out, (char)len);
	buf_add(out, der, (size_t)len);
	OPENSSL_free(der);
}

static void put_chain(struct signer *v, const struct cert *chain)
{
	struct buf certs = BUF_INIT(60000);
	unsigned char id[32];
	int i;

	key_id(&chain[0], id);
	for (i = 0; i < 3; i++)
		add_der(&certs, &chain[i]);
	ipc_put_bytes(v->end, FIELD_KEY_ID, slice_of(id, sizeof(id)));
	ipc_put_bytes(v->end, FIELD_CERTS, buf_slice(&certs));
	buf_clear(&certs);
}

static const struct cert *find_key(const struct signer *v, struct slice id)
{
	size_t i;

	for (i = 0; i < v->chains; i++) {
		unsigned char mine[32];

		key_id(&v->chain[i][0], mine);
		if (slice_eq(id, slice_of(mine, sizeof(mine))))
			return &v->chain[i][0];
	}
	return NULL;
}

static size_t sign(
	const struct cert *c, unsigned scheme, struct slice in, unsigned char *out, size_t size)
{
	const char *digest = (scheme >> 8) == 4   ? "SHA256"
			     : (scheme >> 8) == 5 ? "SHA384"
			     : (scheme >> 8) == 6 ? "SHA512"
			     : scheme == 0x0804   ? "SHA256"
			     : scheme == 0x0805   ? "SHA384"
			     : scheme == 0x0806   ? "SHA512"
						  : NULL;
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	EVP_PKEY_CTX *ctx;
	size_t len = size;

	if (EVP_DigestSignInit_ex(md, &ctx, digest, NULL, NULL, c->key, NULL) != 1)
		bail_out("scheme %04x cannot be signed", scheme);
	if (scheme >= 0x0804 && scheme <= 0x0806) {
		EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING);
		EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, RSA_PSS_SALTLEN_DIGEST);
	}
	if (EVP_DigestSign(md, out, &len, (const unsigned char *)in.p, in.len) != 1)
		len = 0;
	EVP_MD_CTX_free(md);
	return len;
}

struct answer {
	struct loop_timer timer;
	struct signer *v;
	uint64_t id;
	unsigned char signature[1024];
	size_t len;
	unsigned result;
	TAILQ_ENTRY(answer) link;
};
static TAILQ_HEAD(, answer) answers = TAILQ_HEAD_INITIALIZER(answers);

static void answer_free(struct answer *a)
{
	TAILQ_REMOVE(&answers, a, link);
	loop_timer_clear(&a->timer);
	mem_free(a);
}

static void answer_now(void *arg)
{
	struct answer *a = arg;
	struct ipc *c = a->v->end;

	ipc_begin(c, PROTO_TLS_SIGNED, a->id);
	ipc_put_u64(c, FIELD_RESULT, a->result);
	if (a->len > 0)
		ipc_put_bytes(c, FIELD_SIGNATURE, slice_of(a->signature, a->len));
	if (a->result == 2)
		ipc_put_str(c, FIELD_TEXT, "not for you");
	ipc_end(c);
	answer_free(a);
}

static void asked(struct signer *v, struct ipc_msg *m)
{
	struct answer *a = mem_alloc(sizeof(*a));
	const struct cert *key = find_key(v, ipc_bytes(m, FIELD_KEY_ID));
	unsigned scheme = (unsigned)ipc_u64(m, FIELD_SCHEME);

	v->schemes[v->asked++ % 8] = scheme;
	a->v = v;
	a->id = m->id;
	loop_timer_init(&a->timer, answer_now, a);
	TAILQ_INSERT_TAIL(&answers, a, link);
	if (v->mode == SIGNER_SIGN && key != NULL)
		a->len = sign(key, scheme, ipc_bytes(m, FIELD_HANDSHAKE), a->signature,
			sizeof(a->signature));
	else if (v->mode == SIGNER_GARBAGE)
		memset(a->signature, 'x', a->len = 70);
	else if (v->mode == SIGNER_REFUSE || (v->mode == SIGNER_SIGN && key == NULL))
		a->result = 2;
	else if (v->mode == SIGNER_NOT_NOW)
		a->result = 1;
	if (v->mode == SIGNER_SILENT)
		return;
	if (v->delay > 0)
		loop_timer_set(&a->timer, loop_now() + v->delay);
	else
		answer_now(a);
}

static void asked_name(struct signer *v, struct ipc_msg *m)
{
	bool known = v->name != NULL && slice_eq_str(ipc_bytes(m, FIELD_NAME), v->name);
	size_t i;

	v->names_asked++;
	if (v->name_silent)
		return;
	for (i = v->name_from; known && i < v->chains; i++) {
		ipc_begin(v->end, PROTO_TLS_NAME_CHAIN, m->id);
		put_chain(v, v->chain[i]);
		ipc_end(v->end);
	}
	ipc_begin(v->end, PROTO_TLS_NAME_END, m->id);
	ipc_put_u64(v->end, FIELD_RESULT, known ? 0 : 1);
	ipc_end(v->end);
}

static void vault_msg(struct ipc *c, struct ipc_msg *m, void *arg)
{
	if (m->type == PROTO_TLS_SIGN)
		asked(arg, m);
	else if (m->type == PROTO_TLS_NAME)
		asked_name(arg, m);
}

static void worker_msg(struct ipc *c, struct ipc_msg *m, void *arg)
{
	tls_keys_peer_msg(c, m);
}

static void ipc_over(struct ipc *c, int err, void *arg)
{
	diag("ipc ended: %s", err_str(err));
}

static const struct ipc_events vault_events = {vault_msg, ipc_over, NULL};
static const struct ipc_events worker_events = {worker_msg, ipc_over, NULL};

struct signer *signer_new(void)
{
	struct signer *v = mem_alloc(sizeof(*v));
	int fd[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd) != 0)
		bail_out("socketpair");
	v->end = ipc_new(fd[0], ROLE_VAULT, ROLE_SMTPD, &vault_events, v, 0);
	v->ours = ipc_new(fd[1], ROLE_SMTPD, ROLE_VAULT, &worker_events, v, 0);
	tls_keys_peer_new(v->ours);
	return v;
}

void signer_add(struct signer *v, const struct cert *leaf, const struct cert *intermediate)
{
	v->chain[v->chains][0] = *leaf;
	if (intermediate != NULL)
		v->chain[v->chains][1] = *intermediate;
	v->chains++;
}

static bool chains_are_there(void *arg)
{
	return tls_keys_ready();
}

void signer_send(struct signer *v)
{
	size_t n = v->name != NULL ? v->name_from : v->chains, i;

	for (i = 0; i < n; i++) {
		ipc_begin(v->end, PROTO_TLS_CHAIN, 0);
		ipc_put_u64(v->end, FIELD_FLAGS, (i == 0) + 2 * (i == n - 1));
		put_chain(v, v->chain[i]);
		ipc_end(v->end);
	}
	until(chains_are_there, v);
	run_for(0);
}

void signer_ticket_key(struct signer *v, char fill, int64_t until_)
{
	char key[80];

	memset(key, fill, sizeof(key));
	ipc_begin(v->end, PROTO_TLS_TICKETS, 0);
	ipc_put_bytes(v->end, FIELD_TICKET_KEY, slice_of(key, sizeof(key)));
	ipc_put_u64(v->end, FIELD_UNTIL, (uint64_t)until_);
	ipc_end(v->end);
	run_for(0);
}

void signer_kill(struct signer **vp)
{
	struct signer *v = *vp;
	struct answer *a, *next;

	*vp = NULL;
	for (a = TAILQ_FIRST(&answers); a != NULL; a = next) {
		next = TAILQ_NEXT(a, link);
		if (a->v == v)
			answer_free(a);
	}
	tls_keys_peer_gone(v->ours);
	ipc_free(&v->ours);
	ipc_free(&v->end);
	mem_free(v);
}

/* ------------------------------------------------------------- connections */

const struct tls_ask plain_server = {
	.level = TLS_MAY, .protocols = "", .grade = "medium", .exclude = ""};
const struct tls_ask plain_client = {
	.level = TLS_MAY, .protocols = "", .grade = "medium", .exclude = "", .servername = ""};

static void on_input(struct stream *s, void *arg)
{
	struct end *e = arg;
	struct slice in = stream_input(s);

	buf_add_slice(&e->got, in);
	stream_consume(s, in.len);
}

static void on_end(struct stream *s, int err, void *arg)
{
	struct end *e = arg;

	e->ended = err;
}

static const struct stream_events stream_events = {on_input, NULL, on_end};

void end_owns(struct end *e)
{
	stream_set_arg(e->s, &stream_events, e);
}

static void on_done(struct tls *t, int err, void *arg)
{
	struct end *e = arg;

	e->done = err;
	buf_add_str(&e->why, tls_why(t));
}

static const struct tls_events tls_events = {on_done};

static void end_init(struct end *e, int fd)
{
	*e = (struct end){.done = PENDING, .ended = PENDING};
	buf_init(&e->got, 10 << 20);
	buf_init(&e->why, 1000);
	e->s = stream_new(fd, &stream_events, e, 1 << 16, 10 << 20);
	stream_read(e->s, true);
}

void pair_new(struct pair *p)
{
	int fd[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd) != 0)
		bail_out("socketpair");
	end_init(&p->server, fd[0]);
	end_init(&p->client, fd[1]);
}

int end_start(struct end *e, struct tls_context *c, const struct tls_ask *ask)
{
	int err = tls_start(c, e->s, ask, &tls_events, e, &e->t, &e->why);

	if (err != 0)
		e->done = err;
	return err;
}

void pair_tls(struct pair *p, struct tls_context *server, const struct tls_ask *server_ask,
	struct tls_context *client, const struct tls_ask *client_ask)
{
	pair_new(p);
	end_start(&p->server, server, server_ask);
	end_start(&p->client, client, client_ask);
}

static bool both_done(void *arg)
{
	struct pair *p = arg;

	return p->server.done != PENDING && p->client.done != PENDING;
}

bool pair_run(struct pair *p)
{
	return until(both_done, p);
}

static void end_clear(struct end *e)
{
	stream_free(&e->s);
	e->t = NULL;
	buf_clear(&e->got);
	buf_clear(&e->why);
}

void pair_free(struct pair *p)
{
	end_clear(&p->client);
	end_clear(&p->server);
}

struct expected {
	struct end *e;
	const char *text;
};

static bool has_come(void *arg)
{
	struct expected *x = arg;

	return x->e->got.len >= strlen(x->text) || x->e->ended != PENDING;
}

bool end_expect(struct end *e, const char *text)
{
	struct expected x = {e, text};
	bool good = until(has_come, &x) && slice_eq_str(buf_slice(&e->got), text);

	buf_reset(&e->got);
	return good;
}

bool until(bool (*is)(void *arg), void *arg)
{
	int64_t deadline = clock_mono() + 60 * CLOCK_SEC;

	while (!is(arg)) {
		if (clock_mono() > deadline)
			return false;
		/* Not longer: tasks that make it true run before the wait. */
		loop_once(clock_mono() + 10 * CLOCK_MSEC);
	}
	return true;
}

void run_for(int64_t time)
{
	int64_t deadline = clock_mono() + time;
	int i;

	for (i = 0; i < 4 || clock_mono() < deadline; i++)
		loop_once(i < 4 ? clock_mono() : deadline);
}

struct tls_context *context_of(const struct tls_settings *s)
{
	struct buf why = BUF_INIT(1000);
	struct tls_context *c;

	if (tls_context_new(s, &c, &why) != 0)
		bail_out("no context: %s", buf_str(&why));
	buf_clear(&why);
	return c;
}

struct tls_context *context(enum tls_side side, const char *ca_file)
{
	struct tls_settings s = {.side = side,
		.ca_file = ca_file,
		.listener = "test/inet",
		.tickets = true,
		.groups = "X25519 prime256v1 ffdhe2048",
		.sessions = 100,
		.session_time = 3600 * CLOCK_SEC};

	return context_of(&s);
}
