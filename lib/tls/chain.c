/* SPDX-License-Identifier: ISC */
#include "tls/chain.h"

#include "tls/tls_private.h"
#include "util/err.h"
#include "util/mem.h"

enum { CERTS_IN_CHAIN = 16 };

struct tls_chains *tls_chains_new(void)
{
	struct tls_chains *c = mem_alloc(sizeof(*c));

	c->refs = 1;
	return c;
}

struct tls_chains *tls_chains_hold(struct tls_chains *c)
{
	if (c != NULL)
		c->refs++;
	return c;
}

void tls_chains_release(struct tls_chains **cp)
{
	struct tls_chains *c = *cp;
	size_t i;

	*cp = NULL;
	if (c == NULL || --c->refs > 0)
		return;
	for (i = 0; i < c->n; i++) {
		X509_free(c->chain[i].leaf);
		sk_X509_pop_free(c->chain[i].rest, X509_free);
		EVP_PKEY_free(c->chain[i].key);
	}
	mem_free(c);
}

/* One certificate behind its length. NULL: the end, or not a certificate (then *rest is not empty).
 */
static X509 *next_cert(struct slice *rest)
{
	const unsigned char *p = (const unsigned char *)rest->p;
	X509 *cert;
	size_t len;

	if (rest->len < 3)
		return NULL;
	len = (size_t)p[0] << 16 | (size_t)p[1] << 8 | p[2];
	if (len > rest->len - 3)
		return NULL;
	p += 3;
	cert = d2i_X509(NULL, &p, (long)len);
	if (cert == NULL)
		return NULL;
	*rest = slice_from(*rest, len + 3);
	return cert;
}

static int read_certs(struct tls_chain *c, struct slice certs, struct buf *why)
{
	X509 *cert;

	c->leaf = next_cert(&certs);
	c->rest = sk_X509_new_null();
	while (c->leaf != NULL && c->rest != NULL && sk_X509_num(c->rest) < CERTS_IN_CHAIN &&
		(cert = next_cert(&certs)) != NULL)
		if (sk_X509_push(c->rest, cert) <= 0)
			X509_free(cert);
	if (c->leaf != NULL && certs.len == 0)
		return 0;
	buf_add_str(why, "not a certificate");
	return ERR_SYNTAX;
}

static int make_key(struct tls_chain *c, struct slice key_id, struct buf *why)
{
	X509_PUBKEY *info = X509_get_X509_PUBKEY(c->leaf);
	unsigned char *der = NULL, id[TLS_KEY_ID];
	int len = i2d_X509_PUBKEY(info, &der);
	bool same;

	if (len <= 0 || X509_get0_pubkey(c->leaf) == NULL) {
		OPENSSL_free(der);
		buf_add_str(why, "its public key is of an unknown kind");
		return ERR_SYNTAX;
	}
	EVP_Digest(der, (size_t)len, id, NULL, EVP_sha256(), NULL);
	OPENSSL_free(der);
	same = key_id.len == sizeof(id) && memcmp(key_id.p, id, sizeof(id)) == 0;
	if (!same) {
		buf_add_str(why, "the private key belongs to another certificate");
		return ERR_SYNTAX;
	}
	c->key = tls_provider_key(id, X509_get0_pubkey(c->leaf));
	if (c->key != NULL)
		return 0;
	buf_add_str(why, "the key is neither RSA, ECDSA nor Ed25519");
	return ERR_SYNTAX;
}

/* Chains that are the same in the same order have the same digest. */
static void add_digest(struct tls_chains *c, struct slice certs)
{
	EVP_MD_CTX *md = EVP_MD_CTX_new();

	if (md != NULL && EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1) {
		EVP_DigestUpdate(md, c->digest, sizeof(c->digest));
		EVP_DigestUpdate(md, certs.p, certs.len);
		EVP_DigestFinal_ex(md, c->digest, NULL);
	}
	EVP_MD_CTX_free(md);
}

int tls_chains_add(struct tls_chains *c, struct slice key_id, struct slice certs, struct buf *why)
{
	struct tls_chain *at = &c->chain[c->n];
	int err;

	if (c->n == TLS_CHAIN_KEYS) {
		buf_add_str(why, "too many chains");
		return ERR_LIMIT;
	}
	if (tls_library_start() != 0) {
		buf_add_str(why, "OpenSSL does not start");
		return ERR_SYS;
	}
	err = read_certs(at, certs, why);
	if (err == 0)
		err = make_key(at, key_id, why);
	ERR_clear_error();
	if (err != 0) {
		X509_free(at->leaf);
		sk_X509_pop_free(at->rest, X509_free);
		*at = (struct tls_chain){0};
		return err;
	}
	add_digest(c, certs);
	c->n++;
	return 0;
}

size_t tls_chains_use(const struct tls_chains *c, SSL_CTX *ctx, SSL *ssl)
{
	size_t i, n = 0;

	for (i = 0; i < c->n; i++) {
		const struct tls_chain *at = &c->chain[i];
		int r = ctx != NULL ? SSL_CTX_use_cert_and_key(ctx, at->leaf, at->key, at->rest, 1)
				    : SSL_use_cert_and_key(ssl, at->leaf, at->key, at->rest, 1);

		n += r == 1;
	}
	return n;
}
