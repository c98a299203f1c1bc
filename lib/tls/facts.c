/* SPDX-License-Identifier: ISC */

#include "tls/tls_private.h"
#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"

/* ------------------------------------------------------------ certificates */

static char *hex_digest(const struct tls_context *c, const unsigned char *p, size_t len)
{
	unsigned char md[EVP_MAX_MD_SIZE];
	struct buf out = BUF_INIT(4 * EVP_MAX_MD_SIZE);
	unsigned n = 0, i;
	char *text;

	if (EVP_Digest(p, len, md, &n, c->digest, NULL) != 1)
		n = 0;
	for (i = 0; i < n; i++)
		buf_add_fmt(&out, "%s%02X", i > 0 ? ":" : "", md[i]);
	text = mem_str(buf_str(&out));
	buf_clear(&out);
	return text;
}

static char *fingerprint(const struct tls_context *c, X509 *cert)
{
	unsigned char *der = NULL;
	int len = i2d_X509(cert, &der);
	char *text = hex_digest(c, der, len > 0 ? (size_t)len : 0);

	OPENSSL_free(der);
	return text;
}

static char *key_fingerprint(const struct tls_context *c, X509 *cert)
{
	unsigned char *der = NULL;
	int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), &der);
	char *text = hex_digest(c, der, len > 0 ? (size_t)len : 0);

	OPENSSL_free(der);
	return text;
}

static char *serial(X509 *cert)
{
	BIGNUM *n = ASN1_INTEGER_to_BN(X509_get0_serialNumber(cert), NULL);
	char *hex = n != NULL ? BN_bn2hex(n) : NULL;
	char *text = mem_str(hex != NULL ? hex : "");

	OPENSSL_free(hex);
	BN_free(n);
	return text;
}

static char *or_empty(char *text)
{
	return text != NULL ? text : mem_str("");
}

/* Of the issuer, its organisation when it has no name, as Postfix. */
static char *issuer(X509 *cert)
{
	X509_NAME *name = X509_get_issuer_name(cert);
	char *text = tls_name_entry(name, NID_commonName);

	return or_empty(text != NULL ? text : tls_name_entry(name, NID_organizationName));
}

static void certificate(struct tls *t)
{
	X509 *cert = SSL_get0_peer_certificate(t->ssl);
	struct tls_facts *f = &t->facts;

	if (cert == NULL)
		return;
	f->subject_cn = or_empty(tls_name_entry(X509_get_subject_name(cert), NID_commonName));
	f->issuer_cn = issuer(cert);
	f->serial = serial(cert);
	f->fingerprint = fingerprint(t->c, cert);
	f->key_fingerprint = key_fingerprint(t->c, cert);
}

/* -------------------------------------------------------------- key exchange */

/* "prime256v1": OpenSSL's name, as Postfix prints it. */
static char *curve_name(EVP_PKEY *key)
{
	char name[80] = "";
	size_t len = 0;

	return mem_str(EVP_PKEY_get_group_name(key, name, sizeof(name), &len) == 1 ? name : "");
}

static void key_exchange(struct tls *t)
{
	struct tls_facts *f = &t->facts;
	EVP_PKEY *key = NULL;

	if (SSL_get_peer_tmp_key(t->ssl, &key) != 1 || key == NULL)
		return;
	switch (EVP_PKEY_get_base_id(key)) {
	case EVP_PKEY_DH:
		f->kex = "DHE";
		f->kex_bits = EVP_PKEY_get_bits(key);
		break;
	case EVP_PKEY_EC:
		f->kex = "ECDHE";
		f->kex_group = curve_name(key);
		break;
	default: f->kex = OBJ_nid2sn(EVP_PKEY_get_base_id(key)); break;
	}
	EVP_PKEY_free(key);
}

struct signature {
	const char *name, *digest;
	char *curve;
	int bits;
};

static void signature(struct signature *s, EVP_PKEY *key, int digest)
{
	s->name = s->digest = "";
	s->bits = 0;
	switch (EVP_PKEY_get_base_id(key)) {
	case EVP_PKEY_RSA: /* in TLS 1.3 the padding is always PSS */
		s->name = "RSA-PSS";
		s->bits = EVP_PKEY_get_bits(key);
		break;
	case EVP_PKEY_EC:
		s->name = "ECDSA";
		s->curve = curve_name(key);
		break;
	default: s->name = OBJ_nid2sn(EVP_PKEY_get_base_id(key)); break;
	}
	if (s->curve == NULL)
		s->curve = mem_str("");
	if (digest != NID_undef)
		s->digest = OBJ_nid2sn(digest);
}

static void set_signature(struct tls *t, bool server, EVP_PKEY *key, int digest)
{
	struct tls_facts *f = &t->facts;
	struct signature s = {0};

	if (key == NULL)
		return;
	signature(&s, key, digest);
	if (server) {
		f->server_sig = s.name;
		f->server_digest = s.digest;
		f->server_sig_curve = s.curve;
		f->server_sig_bits = s.bits;
	} else {
		f->client_sig = s.name;
		f->client_digest = s.digest;
		f->client_sig_curve = s.curve;
		f->client_sig_bits = s.bits;
	}
}

static void signatures(struct tls *t)
{
	bool server = t->c->side == TLS_SERVER;
	X509 *own = SSL_get_certificate(t->ssl), *peer = SSL_get0_peer_certificate(t->ssl);
	int digest = NID_undef;
	bool did_sign = SSL_get_signature_nid(t->ssl, &digest) == 1;

	/* A client's certificate was not necessarily used. In a session that is resumed nobody
	 * signs: then Postfix says the kind of the key alone. */
	if (own != NULL && (server || did_sign))
		set_signature(t, server, X509_get0_pubkey(own), did_sign ? digest : NID_undef);
	did_sign = SSL_get_peer_signature_nid(t->ssl, &digest) == 1;
	if (peer != NULL)
		set_signature(t, !server, X509_get0_pubkey(peer), did_sign ? digest : NID_undef);
}

/* -------------------------------------------------------------------- facts */

static const char empty[] = "";

static void no_null(const char **text)
{
	if (*text == NULL)
		*text = empty;
}

static void fill(struct tls_facts *f)
{
	no_null(&f->protocol);
	no_null(&f->cipher);
	no_null(&f->kex);
	no_null(&f->kex_group);
	no_null(&f->server_sig_curve);
	no_null(&f->client_sig_curve);
	no_null(&f->subject_cn);
	no_null(&f->issuer_cn);
	no_null(&f->serial);
	no_null(&f->fingerprint);
	no_null(&f->key_fingerprint);
	no_null(&f->server_sig);
	no_null(&f->server_digest);
	no_null(&f->client_sig);
	no_null(&f->client_digest);
	no_null(&f->sni);
	no_null(&f->trust_error);
}

void tls_facts_set(struct tls *t)
{
	struct tls_facts *f = &t->facts;
	const SSL_CIPHER *cipher = SSL_get_current_cipher(t->ssl);

	f->protocol = SSL_get_version(t->ssl);
	f->cipher = SSL_CIPHER_get_name(cipher);
	f->used_bits = SSL_CIPHER_get_bits(cipher, &f->cipher_bits);
	f->is_reused = SSL_session_reused(t->ssl) == 1;
	f->sni = t->sni;
	certificate(t);
	if (SSL_version(t->ssl) >= TLS1_3_VERSION) {
		key_exchange(t);
		signatures(t);
	}
	tls_check_peer(t);
	f->trust_error = t->trust_error;
	fill(f);
	if (t->c->side == TLS_SERVER && f->is_trusted)
		t->names = tls_cert_texts(SSL_get0_peer_certificate(t->ssl), &t->names_n);
	ERR_clear_error();
}

static void free_text(const char *text)
{
	if (text != empty)
		mem_free((void *)(uintptr_t)text);
}

void tls_facts_clear(struct tls *t)
{
	struct tls_facts *f = &t->facts;

	free_text(f->subject_cn);
	free_text(f->issuer_cn);
	free_text(f->serial);
	free_text(f->fingerprint);
	free_text(f->key_fingerprint);
	free_text(f->kex_group);
	free_text(f->server_sig_curve);
	free_text(f->client_sig_curve);
	while (t->names_n > 0)
		mem_free(t->names[--t->names_n]);
	mem_free(t->names);
}

size_t tls_cert_names(const struct tls *t, const char *const **names)
{
	*names = (const char *const *)t->names;
	return t->names_n;
}

/* --------------------------------------------------------------------- text */

const char *tls_trust_word(const struct tls_facts *f)
{
	if (!f->has_cert)
		return "Anonymous";
	if (f->is_matched)
		return "Verified";
	return f->is_trusted ? "Trusted" : "Untrusted";
}

static void add_size(struct buf *out, const char *curve, int bits)
{
	if (curve != NULL && curve[0] != '\0')
		buf_add_fmt(out, " (%s)", curve);
	else if (bits > 0)
		buf_add_fmt(out, " (%d bits)", bits);
}

void tls_add_summary(struct buf *out, const struct tls_facts *f)
{
	buf_add_fmt(out, "%s with cipher %s (%d/%d bits)", f->protocol, f->cipher, f->used_bits,
		f->cipher_bits);
	if (f->kex[0] != '\0') {
		buf_add_fmt(out, " key-exchange %s", f->kex);
		add_size(out, f->kex_group, f->kex_bits);
	}
	if (f->server_sig[0] != '\0') {
		buf_add_fmt(out, " server-signature %s", f->server_sig);
		add_size(out, f->server_sig_curve, f->server_sig_bits);
		if (f->server_digest[0] != '\0')
			buf_add_fmt(out, " server-digest %s", f->server_digest);
	}
	if (f->client_sig[0] != '\0') {
		buf_add_fmt(out, " client-signature %s", f->client_sig);
		add_size(out, f->client_sig_curve, f->client_sig_bits);
		if (f->client_digest[0] != '\0')
			buf_add_fmt(out, " client-digest %s", f->client_digest);
	}
}

/* ---------------------------------------------------------- channel bindings */

static int exporter(const struct tls *t, struct buf *out)
{
	static const char label[] = "EXPORTER-Channel-Binding";
	unsigned char key[32];
	static const unsigned char none[1];

	if (SSL_version(t->ssl) < TLS1_3_VERSION ||
		SSL_export_keying_material(
			t->ssl, key, sizeof(key), label, sizeof(label) - 1, none, 0, 1) != 1)
		return ERR_NOT_FOUND;
	return buf_add(out, key, sizeof(key));
}

/* MD5 and SHA-1 of its signature are replaced by SHA-256 (RFC 5929, 4.1). */
static int end_point(const struct tls *t, struct buf *out)
{
	bool server = t->c->side == TLS_SERVER;
	X509 *cert = server ? SSL_get_certificate(t->ssl) : SSL_get0_peer_certificate(t->ssl);
	unsigned char md[EVP_MAX_MD_SIZE];
	int nid = NID_undef;
	unsigned n = 0;

	/* Which one of several the client saw when the session began is not known any more. */
	if (cert == NULL || (server && t->facts.is_reused) ||
		X509_get_signature_info(cert, &nid, NULL, NULL, NULL) != 1 || nid == NID_undef)
		return ERR_NOT_FOUND;
	if (nid == NID_md5 || nid == NID_sha1)
		nid = NID_sha256;
	if (X509_digest(cert, EVP_get_digestbynid(nid), md, &n) != 1)
		return ERR_NOT_FOUND;
	return buf_add(out, md, n);
}

int tls_channel_binding(const struct tls *t, struct slice type, struct buf *out)
{
	int err = ERR_NOT_FOUND;

	if (t->phase != TLS_PHASE_OPEN)
		return ERR_NOT_FOUND;
	if (slice_eq_str(type, "tls-exporter"))
		err = exporter(t, out);
	else if (slice_eq_str(type, "tls-server-end-point"))
		err = end_point(t, out);
	ERR_clear_error();
	return err;
}
