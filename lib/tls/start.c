/* SPDX-License-Identifier: ISC */
/* What is asked of one session, as OpenSSL wants it. */
#include "tls/tls_private.h"
#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"

static const char *const level_names[TLS_LEVELS] = {
	"none", "may", "encrypt", "fingerprint", "verify", "secure", "dane", "dane-only"};

const char *tls_level_name(enum tls_level level)
{
	return level < TLS_LEVELS ? level_names[level] : "none";
}

int tls_level_parse(struct slice name, enum tls_level *level)
{
	int i;

	*level = TLS_NONE;
	for (i = 0; i < TLS_LEVELS; i++)
		if (slice_case_eq_str(name, level_names[i])) {
			*level = (enum tls_level)i;
			return 0;
		}
	return ERR_SYNTAX;
}

/* ------------------------------------------------------------------- asked */

static int set_protocols(struct tls *t, const struct tls_ask *ask, struct buf *why)
{
	struct tls_protocols p;
	int err = tls_protocols_parse(ask->protocols, &p, why);

	if (err != 0)
		return err;
	SSL_set_min_proto_version(t->ssl, p.min);
	SSL_set_max_proto_version(t->ssl, p.max);
	return 0;
}

/* The first list that is asked for becomes the context's: to set one costs as much as a ticket. */
static int set_ciphers(struct tls *t, const struct tls_ask *ask, struct buf *why)
{
	struct tls_context *c = t->c;
	struct buf list = BUF_INIT(4096);
	bool server = c->side == TLS_SERVER;
	bool anonymous = server ? !c->ask_cert : ask->level < TLS_FINGERPRINT;
	int err, r = 1;

	err = tls_cipher_list((const char *const *)c->lists, ask->grade, ask->exclude, server,
		anonymous, &list, why);
	if (err == 0 && c->ciphers == NULL) {
		r = SSL_CTX_set_cipher_list(c->ssl, buf_str(&list));
		if (r == 1)
			c->ciphers = mem_str(buf_str(&list));
	} else if (err == 0 && strcmp(c->ciphers, buf_str(&list)) != 0)
		r = SSL_set_cipher_list(t->ssl, buf_str(&list));
	buf_clear(&list);
	if (r != 1) {
		buf_add_fmt(why, "nothing is left of the ciphers of grade %s", log_qs(ask->grade));
		return ERR_SYNTAX;
	}
	return err;
}

static void add_part(struct buf *b, const char *text)
{
	buf_add_str(b, text != NULL ? text : "");
	buf_add_char(b, '\0');
}

/*
 * A session is resumed only for the same question: what was verified once is believed. The caller's
 * key comes with all that the answer depends on, as one digest.
 */
static void set_session_key(struct tls *t, const struct tls_ask *ask)
{
	struct buf b = BUF_INIT(1 << 20);
	unsigned char md[EVP_MAX_MD_SIZE];
	unsigned n = 0;
	size_t i;

	add_part(&b, ask->session_key);
	add_part(&b, tls_level_name(ask->level));
	add_part(&b, ask->protocols);
	add_part(&b, ask->grade);
	add_part(&b, ask->exclude);
	add_part(&b, ask->servername);
	add_part(&b, ask->anchors);
	for (i = 0; i < ask->match_n; i++)
		add_part(&b, ask->match[i]);
	add_part(&b, NULL);
	for (i = 0; i < ask->fingerprint_n; i++)
		add_part(&b, ask->fingerprint[i]);
	add_part(&b, NULL);
	for (i = 0; i < ask->tlsa_n; i++) {
		const struct tls_tlsa *r = &ask->tlsa[i];

		buf_add_fmt(&b, "%u %u %u %zu ", r->usage, r->selector, r->matching, r->len);
		buf_add(&b, r->data, r->len);
	}
	if (!buf_failed(&b) && EVP_Digest(buf_str(&b), b.len, md, &n, EVP_sha256(), NULL) == 1) {
		t->session_key = mem_dup(md, n);
		t->session_key_len = n;
	}
	buf_clear(&b);
}

static void resume(struct tls *t, const struct tls_ask *ask)
{
	SSL_SESSION *session;

	if (ask->session_key == NULL || t->c->cache == NULL)
		return;
	set_session_key(t, ask);
	if (t->session_key == NULL)
		return;
	session = tls_cache_get(t->c->cache, tls_session_key(t), &t->kept_flags);
	if (session != NULL)
		SSL_set_session(t->ssl, session);
	SSL_SESSION_free(session);
}

/* What SSL_set_tlsext_host_name is, whose cast drops const. */
static bool send_name(SSL *ssl, const char *name)
{
	return SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name,
		       (void *)(uintptr_t)name) == 1;
}

static int set_client(struct tls *t, const struct tls_ask *ask, struct buf *why)
{
	int err = tls_check_set(&t->check, t->ssl, ask, why);

	if (err != 0)
		return err;
	if (ask->servername != NULL && ask->servername[0] != '\0' &&
		!send_name(t->ssl, ask->servername)) {
		buf_add_fmt(why, "%s cannot be sent as a server's name", log_qs(ask->servername));
		return ERR_SYNTAX;
	}
	resume(t, ask);
	SSL_set_connect_state(t->ssl);
	return 0;
}

static int set_server(struct tls *t, const struct tls_ask *ask)
{
	t->check.require_cert = ask->require_cert;
	if (ask->require_cert)
		SSL_set_verify(t->ssl,
			SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT | SSL_VERIFY_CLIENT_ONCE,
			NULL);
	if (ask->chain != NULL && ask->chain[0] != '\0')
		t->chain = mem_str(ask->chain);
	if (!tls_tickets_any()) {
		SSL_set_options(t->ssl, SSL_OP_NO_TICKET);
		SSL_set_num_tickets(t->ssl, 0);
	}
	SSL_set_accept_state(t->ssl);
	return 0;
}

static int prepare(struct tls *t, const struct tls_ask *ask, struct buf *why)
{
	unsigned version;
	const struct tls_chains *chains = tls_chains_service(&version);
	int err;

	if (t->c->side == TLS_SERVER || (chains != NULL && chains->n > 0))
		SSL_set_mode(t->ssl, SSL_MODE_ASYNC);
	err = set_protocols(t, ask, why);
	if (err == 0)
		err = set_ciphers(t, ask, why);
	if (err != 0)
		return err;
	return t->c->side == TLS_SERVER ? set_server(t, ask) : set_client(t, ask, why);
}

static int admit(const struct tls_context *c, struct buf *why)
{
	if (c->active >= c->handshakes) {
		buf_add_fmt(why, "too many TLS handshakes at once (%u)", c->handshakes);
		return ERR_TEMP;
	}
	if (c->side == TLS_SERVER && !tls_keys_ready()) {
		buf_add_str(why, "no certificate chain has come from vault");
		return ERR_TEMP;
	}
	return 0;
}

int tls_start(struct tls_context *c, struct stream *s, const struct tls_ask *ask,
	const struct tls_events *events, void *arg, struct tls **out, struct buf *why)
{
	struct tls *t;
	int err = admit(c, why);

	*out = NULL;
	if (err != 0)
		return err;
	t = tls_context_chains(c) == 0 ? tls_session_new(c, s, events, arg) : NULL;
	if (t == NULL) {
		buf_add_str(why, "no session: ");
		tls_add_reason(why);
		return ERR_TEMP;
	}
	err = prepare(t, ask, why);
	ERR_clear_error();
	if (err != 0) {
		tls_session_free(&t);
		return err;
	}
	tls_session_begin(t);
	*out = t;
	return 0;
}
