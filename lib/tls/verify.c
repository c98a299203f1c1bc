/* SPDX-License-Identifier: ISC */

#include "tls/tls_private.h"
#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"

enum { USAGE_TA = 2, USAGE_EE = 3, MATCH_FULL = 0, ANCHORS_MAX = 64 };

/* A whole certificate, or a whole key, and nothing behind it: what OpenSSL will take. */
static bool is_der(const struct tls_tlsa *r)
{
	const unsigned char *p = r->data, *end = r->data + r->len;
	X509 *cert = NULL;
	EVP_PKEY *key = NULL;
	bool good = false;

	if (r->selector == 0)
		cert = d2i_X509(NULL, &p, (long)r->len);
	else
		key = d2i_PUBKEY(NULL, &p, (long)r->len);
	good = p == end && (key != NULL || (cert != NULL && X509_get0_pubkey(cert) != NULL));
	X509_free(cert);
	EVP_PKEY_free(key);
	ERR_clear_error();
	return good;
}

bool tls_tlsa_is_usable(const struct tls_tlsa *r)
{
	static const size_t length[] = {0, 32, 64};

	if ((r->usage != USAGE_TA && r->usage != USAGE_EE) || r->selector > 1 || r->matching > 2)
		return false;
	return r->matching == MATCH_FULL ? r->len > 0 && is_der(r) : r->len == length[r->matching];
}

/* ------------------------------------------------------------ what is asked */

static void copy_texts(char ***to, size_t *to_n, const char *const *from, size_t n, bool names)
{
	size_t i;

	*to = mem_array(n > 0 ? n : 1, sizeof(**to));
	for (i = 0; i < n; i++) {
		char *text = names ? tls_name_ascii(from[i]) : mem_str(from[i]);

		if (text != NULL)
			(*to)[(*to_n)++] = text;
	}
}

static int add_tlsa(SSL *ssl, const struct tls_ask *ask, struct buf *why)
{
	size_t i, usable = 0;

	for (i = 0; i < ask->tlsa_n; i++) {
		const struct tls_tlsa *r = &ask->tlsa[i];

		if (tls_tlsa_is_usable(r) && SSL_dane_tlsa_add(ssl, r->usage, r->selector,
						     r->matching, r->data, r->len) > 0)
			usable++;
	}
	ERR_clear_error();
	if (usable > 0)
		return 0;
	buf_add_str(why, "no usable TLSA record");
	return ERR_SYNTAX;
}

/* Certificates and bare keys, as records that say "issued by this one". */
static int add_anchors(SSL *ssl, const char *pem, struct buf *why)
{
	BIO *bio = BIO_new_mem_buf(pem, -1);
	char *name = NULL, *header = NULL;
	unsigned char *data = NULL;
	int n = 0, bad = 0;
	long len;

	while (bio != NULL && n < ANCHORS_MAX &&
		PEM_read_bio(bio, &name, &header, &data, &len) == 1) {
		bool is_key = strcmp(name, PEM_STRING_PUBLIC) == 0;

		if (is_key || strcmp(name, PEM_STRING_X509) == 0 ||
			strcmp(name, PEM_STRING_X509_OLD) == 0) {
			if (SSL_dane_tlsa_add(
				    ssl, USAGE_TA, is_key, MATCH_FULL, data, (size_t)len) > 0)
				n++;
			else
				bad++;
		}
		OPENSSL_free(name);
		OPENSSL_free(header);
		OPENSSL_free(data);
	}
	BIO_free(bio);
	ERR_clear_error();
	if (n > 0 && bad == 0)
		return 0;
	buf_add_str(why, "no usable certificate or public key in the file of trust anchors");
	return ERR_SYNTAX;
}

int tls_check_set(struct tls_check *k, SSL *ssl, const struct tls_ask *ask, struct buf *why)
{
	bool dane = ask->level == TLS_DANE || ask->level == TLS_DANE_ONLY;

	k->level = ask->level;
	k->require_cert = ask->require_cert;
	copy_texts(&k->match, &k->match_n, ask->match, ask->match_n, true);
	copy_texts(&k->fingerprint, &k->fingerprint_n, ask->fingerprint, ask->fingerprint_n, false);
	if (!dane && ask->anchors == NULL)
		return 0;
	/* No base domain: names are compared by us. A key that the record names needs none. */
	if (SSL_dane_enable(ssl, NULL) <= 0) {
		tls_add_reason(why);
		return ERR_TEMP;
	}
	SSL_dane_set_flags(ssl, DANE_FLAG_NO_DANE_EE_NAMECHECKS);
	k->has_anchors = !dane;
	return dane ? add_tlsa(ssl, ask, why) : add_anchors(ssl, ask->anchors, why);
}

static void free_texts(char ***texts, size_t *n)
{
	while (*n > 0)
		mem_free((*texts)[--*n]);
	mem_free(*texts);
	*texts = NULL;
}

void tls_check_clear(struct tls_check *k)
{
	free_texts(&k->match, &k->match_n);
	free_texts(&k->fingerprint, &k->fingerprint_n);
}

/* ------------------------------------------------------------------ chains */

/* In Postfix's words, for its readers of logs. */
static char *describe(X509_STORE_CTX *sc, int error, enum tls_side peer)
{
	X509 *cert = X509_STORE_CTX_get_current_cert(sc);
	char *issuer;
	char *text;

	switch (error) {
	case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT: return mem_str("self-signed certificate");
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
	case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
	case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
		issuer = cert != NULL ? X509_NAME_oneline(X509_get_issuer_name(cert), NULL, 0)
				      : NULL;
		text = mem_fmt("untrusted issuer %s", log_qs(issuer != NULL ? issuer : ""));
		OPENSSL_free(issuer);
		return text;
	case X509_V_ERR_CERT_NOT_YET_VALID:
	case X509_V_ERR_ERROR_IN_CERT_NOT_BEFORE_FIELD: return mem_str("certificate not yet valid");
	case X509_V_ERR_CERT_HAS_EXPIRED:
	case X509_V_ERR_ERROR_IN_CERT_NOT_AFTER_FIELD: return mem_str("certificate has expired");
	case X509_V_ERR_INVALID_PURPOSE:
		return mem_fmt("not designated for use as a %s certificate",
			peer == TLS_SERVER ? "server" : "client");
	case X509_V_ERR_CERT_CHAIN_TOO_LONG:
		return mem_fmt("certificate chain longer than limit(%d)",
			X509_VERIFY_PARAM_get_depth(X509_STORE_CTX_get0_param(sc)));
	default: return mem_fmt("num=%d:%s", error, X509_verify_cert_error_string(error));
	}
}

/*
 * A chain that does not verify ends no handshake but that of a server that requires one: whether
 * it is good enough is said by the level, behind the handshake.
 */
int tls_verify(X509_STORE_CTX *sc, void *arg)
{
	SSL *ssl = X509_STORE_CTX_get_ex_data(sc, SSL_get_ex_data_X509_STORE_CTX_idx());
	struct tls *t = SSL_get_app_data(ssl);
	int error = X509_V_OK;

	if (X509_verify_cert(sc) != 1) {
		error = X509_STORE_CTX_get_error(sc);
		if (error == X509_V_OK)
			error = X509_V_ERR_UNSPECIFIED;
	}
	mem_free(t->trust_error);
	t->trust_error = NULL;
	if (error != X509_V_OK)
		t->trust_error =
			describe(sc, error, t->c->side == TLS_SERVER ? TLS_CLIENT : TLS_SERVER);
	X509_STORE_CTX_set_error(sc, error);
	ERR_clear_error();
	return error == X509_V_OK || !t->check.require_cert;
}

/* ---------------------------------------------------------- what it came to */

static bool fingerprint_matches(const struct tls *t)
{
	size_t i;

	for (i = 0; i < t->check.fingerprint_n; i++) {
		struct slice want = slice_str(t->check.fingerprint[i]);

		if (slice_case_eq_str(want, t->facts.fingerprint) ||
			slice_case_eq_str(want, t->facts.key_fingerprint))
			return true;
	}
	return false;
}

static void set_error(struct tls *t, const char *text)
{
	if (t->trust_error == NULL)
		t->trust_error = mem_str(text);
}

static void check_names(struct tls *t, X509 *cert)
{
	t->facts.is_matched = tls_cert_matches(cert, t->check.match, t->check.match_n);
	if (!t->facts.is_matched)
		set_error(t, "certificate has no name that was asked for");
}

static void check_dane(struct tls *t, X509 *cert)
{
	uint8_t usage = 0;

	if (SSL_get0_dane_authority(t->ssl, NULL, NULL) < 0) {
		t->facts.is_trusted = false;
		set_error(t, "no TLSA record matches");
		return;
	}
	SSL_get0_dane_tlsa(t->ssl, &usage, NULL, NULL, NULL, NULL);
	if (usage == USAGE_EE && !t->check.has_anchors)
		t->facts.is_matched = true;
	else
		check_names(t, cert);
	t->facts.is_dane = t->facts.is_matched && !t->check.has_anchors;
}

/* A session that is resumed was verified when it began, for the same question. */
static void check_kept(struct tls *t)
{
	t->facts.is_trusted = t->kept_flags & TLS_KEPT_TRUSTED;
	t->facts.is_matched = t->kept_flags & TLS_KEPT_MATCHED;
	t->facts.is_dane = t->kept_flags & TLS_KEPT_DANE;
	if (!t->facts.is_trusted)
		set_error(t, X509_verify_cert_error_string(SSL_get_verify_result(t->ssl)));
}

static void check_client(struct tls *t, X509 *cert)
{
	if (t->facts.is_reused) {
		check_kept(t);
		return;
	}
	switch (t->check.level) {
	case TLS_FINGERPRINT:
		t->facts.is_trusted = t->facts.is_matched = fingerprint_matches(t);
		mem_free(t->trust_error);
		t->trust_error = NULL;
		if (!t->facts.is_matched)
			set_error(t, "no fingerprint matches");
		break;
	case TLS_VERIFY:
	case TLS_SECURE:
		if (t->facts.is_trusted)
			check_names(t, cert);
		break;
	case TLS_DANE:
	case TLS_DANE_ONLY:
		if (t->facts.is_trusted)
			check_dane(t, cert);
		break;
	default: break;
	}
}

void tls_check_peer(struct tls *t)
{
	X509 *cert = SSL_get0_peer_certificate(t->ssl);

	if (cert == NULL) {
		if (t->check.level >= TLS_FINGERPRINT)
			set_error(t, "no certificate");
		return;
	}
	t->facts.has_cert = true;
	t->facts.is_trusted = SSL_get_verify_result(t->ssl) == X509_V_OK;
	if (t->c->side == TLS_CLIENT)
		check_client(t, cert);
	else if (!t->facts.is_trusted)
		set_error(t, X509_verify_cert_error_string(SSL_get_verify_result(t->ssl)));
}
