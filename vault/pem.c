/* SPDX-License-Identifier: ISC */
#include "vault/pem.h"

#include <time.h>

#include "util/err.h"
#include "util/mem.h"
#include "vault/openssl.h"

enum { WHY = 1024, WARNINGS = 16384, BITS_RSA_LEAST = 1024, DER_LENGTH = 3, TEXT_MAX = 1 << 20 };

void pem_pair_free(struct pem_pair **pp)
{
	struct pem_pair *p = *pp;

	*pp = NULL;
	if (p == NULL)
		return;
	EVP_PKEY_free(p->key);
	buf_clear(&p->certs);
	mem_free(p);
}

void pem_pairs_clear(struct pem_pairs *pairs)
{
	struct pem_pair *p = NULL;

	while ((p = STAILQ_FIRST(pairs)) != NULL) {
		STAILQ_REMOVE_HEAD(pairs, next);
		pem_pair_free(&p);
	}
}

static int fail(struct pem_reader *r, const char *what)
{
	unsigned long code = ERR_peek_last_error();
	const char *reason = code != 0 ? ERR_reason_error_string(code) : NULL;

	if (r->why.len == 0)
		(void)buf_add_fmt(&r->why, "%s: %s%s%s%s", r->file, what,
			reason != NULL ? " (" : "", reason != NULL ? reason : "",
			reason != NULL ? ")" : "");
	ERR_clear_error();
	return ERR_SYNTAX;
}

/* ---- keys ---- */

static bool is_known_curve(const EVP_PKEY *key)
{
	char name[40] = "";

	return EVP_PKEY_get_group_name(key, name, sizeof(name), NULL) == 1 &&
	       (strcmp(name, "prime256v1") == 0 || strcmp(name, "secp384r1") == 0 ||
		       strcmp(name, "secp521r1") == 0);
}

static int key_kind(const EVP_PKEY *key, enum pem_kind *kind)
{
	static const struct {
		int id;
		enum pem_kind kind;
	} known[] = {{EVP_PKEY_RSA, PEM_RSA}, {EVP_PKEY_RSA_PSS, PEM_RSA_PSS},
		{EVP_PKEY_EC, PEM_EC}, {EVP_PKEY_ED25519, PEM_ED25519},
		{EVP_PKEY_ED448, PEM_ED448}};
	int bits = EVP_PKEY_get_bits(key);

	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++) {
		if (EVP_PKEY_get_base_id(key) != known[i].id)
			continue;
		*kind = known[i].kind;
		if (*kind == PEM_EC)
			return is_known_curve(key) ? 0 : ERR_SYNTAX;
		return bits >= BITS_RSA_LEAST || *kind > PEM_EC ? 0 : ERR_SYNTAX;
	}
	return ERR_SYNTAX;
}

static int id_of(X509_PUBKEY *key, uint8_t id[PEM_ID])
{
	unsigned char *der = NULL;
	int len = i2d_X509_PUBKEY(key, &der);

	if (len <= 0)
		return ERR_SYNTAX;
	SHA256(der, (size_t)len, id);
	OPENSSL_free(der);
	return 0;
}

static int id_of_key(EVP_PKEY *key, uint8_t id[PEM_ID])
{
	X509_PUBKEY *public = NULL;
	int r = X509_PUBKEY_set(&public, key) == 1 ? id_of(public, id) : ERR_SYNTAX;

	X509_PUBKEY_free(public);
	return r;
}

static int no_passphrase(char *buf, int size, int writing, void *arg)
{
	(void)buf;
	(void)size;
	(void)writing;
	*(bool *)arg = true;
	return 0;
}

static bool is_key(const char *name)
{
	struct slice s = slice_str(name);

	return slice_eq_str(s, PEM_STRING_PKCS8INF) || slice_ends(s, " " PEM_STRING_PKCS8INF) ||
	       slice_eq_str(s, PEM_STRING_PKCS8);
}

static bool is_cert(const char *name)
{
	struct slice s = slice_str(name);

	return slice_eq_str(s, PEM_STRING_X509) || slice_eq_str(s, PEM_STRING_X509_OLD) ||
	       slice_eq_str(s, PEM_STRING_X509_TRUSTED);
}

/* A key from one PEM block, put into a pair of its own. */
static int take_key(struct pem_reader *r, EVP_PKEY *key, bool is_encrypted)
{
	struct pem_pair *p = NULL;
	enum pem_kind kind;

	if (is_encrypted)
		return fail(r, "the key is encrypted; expected one without a passphrase");
	if (key == NULL)
		return fail(r, "no private key can be read; expected one in PEM form");
	if (key_kind(key, &kind) != 0) {
		EVP_PKEY_free(key);
		return fail(r, "the key is of another kind; expected RSA, ECDSA on P-256, P-384 or "
			       "P-521, Ed25519 or Ed448");
	}
	p = mem_alloc(sizeof(*p));
	*p = (struct pem_pair){.kind = kind,
		.bits = (unsigned)EVP_PKEY_get_bits(key),
		.key = key,
		.certs = BUF_INIT(PEM_CERTS_MAX)};
	r->open = p;
	r->open_file = r->file;
	return id_of_key(key, p->id) == 0 ? 0 : fail(r, "the key has no public half");
}

/* ---- certificates ---- */

static void look_at_time(struct pem_reader *r, const X509 *cert)
{
	struct tm tm = {0};

	if (ASN1_TIME_to_tm(X509_get0_notAfter(cert), &tm) == 1)
		r->open->not_after = (int64_t)timegm(&tm);
	if (X509_cmp_current_time(X509_get0_notAfter(cert)) < 0)
		(void)buf_add_fmt(&r->warnings, "%s: the certificate has expired\n", r->file);
	else if (X509_cmp_current_time(X509_get0_notBefore(cert)) > 0)
		(void)buf_add_fmt(&r->warnings, "%s: the certificate is not valid yet\n", r->file);
}

static int add_der(struct pem_reader *r, X509 *cert)
{
	unsigned char *der = NULL;
	int len = i2d_X509(cert, &der);
	uint8_t head[DER_LENGTH];

	if (len <= 0)
		return fail(r, "a certificate cannot be encoded");
	for (int i = 0; i < DER_LENGTH; i++)
		head[i] = (uint8_t)(len >> 8 * (DER_LENGTH - 1 - i));
	(void)buf_add(&r->open->certs, head, sizeof(head));
	(void)buf_add(&r->open->certs, der, (size_t)len);
	OPENSSL_free(der);
	return buf_failed(&r->open->certs)
		       ? fail(r, "the chain is too long; expected 60000 bytes at most")
		       : 0;
}

static int take_cert(struct pem_reader *r, X509 *cert)
{
	uint8_t id[PEM_ID];

	if (cert == NULL)
		return fail(r, "a certificate cannot be read; expected one in PEM form");
	if (r->open == NULL)
		return fail(r, "a certificate without a key; expected the key in front of it");
	if (r->open->certs.len == 0) {
		if (id_of(X509_get_X509_PUBKEY(cert), id) != 0 ||
			memcmp(id, r->open->id, sizeof(id)) != 0)
			return fail(r, "the certificate does not belong to the key; expected its "
				       "own first, then those of the authorities");
		look_at_time(r, cert);
	}
	return add_der(r, cert);
}

/* ---- texts ---- */

/* The blocks of one text that are for us; EC PARAMETERS and the like are passed over. */
struct block {
	char *name, *header;
	unsigned char *data;
	long len;
};

static void block_clear(struct block *b)
{
	OPENSSL_free(b->name);
	OPENSSL_free(b->header);
	OPENSSL_clear_free(b->data, b->len > 0 ? (size_t)b->len : 0);
	*b = (struct block){0};
}

static bool next_block(BIO *in, struct block *b)
{
	block_clear(b);
	return PEM_read_bio(in, &b->name, &b->header, &b->data, &b->len) == 1;
}

/* Asks OpenSSL for the key in the block, which knows all its forms. */
static EVP_PKEY *key_of(const struct block *b, bool *is_encrypted)
{
	BIO *one = BIO_new(BIO_s_mem());
	EVP_PKEY *key = NULL;

	if (one != NULL && PEM_write_bio(one, b->name, b->header, b->data, b->len) > 0)
		key = PEM_read_bio_PrivateKey(one, NULL, no_passphrase, is_encrypted);
	BIO_free(one);
	return key;
}

static X509 *cert_of(const struct block *b)
{
	const unsigned char *at = b->data;

	return strcmp(b->name, PEM_STRING_X509_TRUSTED) == 0 ? d2i_X509_AUX(NULL, &at, b->len)
							     : d2i_X509(NULL, &at, b->len);
}

static int end_of_text(struct pem_reader *r)
{
	unsigned long code = ERR_peek_last_error();

	if (code != 0 &&
		(ERR_GET_LIB(code) != ERR_LIB_PEM || ERR_GET_REASON(code) != PEM_R_NO_START_LINE))
		return fail(r, "the file is damaged; expected PEM blocks");
	ERR_clear_error();
	return 0;
}

/* The open pair is complete when it has a certificate. Of one kind the last one stays. */
static int close_pair(struct pem_reader *r)
{
	struct pem_pair *p = NULL;

	if (r->open == NULL)
		return 0;
	if (r->open->certs.len == 0) {
		r->file = r->open_file;
		return fail(r, "a key without a certificate; expected the certificate behind it");
	}
	STAILQ_FOREACH(p, &r->pairs, next)
	if (p->kind == r->open->kind)
		break;
	if (p != NULL) {
		(void)buf_add_fmt(&r->warnings,
			"%s: a second key of the same kind takes the first one's place\n", r->file);
		STAILQ_REMOVE(&r->pairs, p, pem_pair, next);
		pem_pair_free(&p);
	}
	STAILQ_INSERT_TAIL(&r->pairs, r->open, next);
	r->open = NULL;
	return 0;
}

enum wanted { KEYS = 1, CERTS = 2 };

static int take_block(struct pem_reader *r, const struct block *b, unsigned wanted)
{
	if ((wanted & KEYS) != 0 && is_key(b->name)) {
		bool is_encrypted = false;
		EVP_PKEY *key = NULL;
		int err = wanted == KEYS ? 0 : close_pair(r);

		if (err != 0)
			return err;
		key = key_of(b, &is_encrypted);
		return take_key(r, key, is_encrypted);
	}
	if ((wanted & CERTS) != 0 && is_cert(b->name)) {
		X509 *cert = cert_of(b);
		int err = take_cert(r, cert);

		X509_free(cert);
		return err;
	}
	return 0;
}

static int read_text(struct pem_reader *r, const char *name, struct slice text, unsigned wanted)
{
	BIO *in = NULL;
	struct block b = {0};
	int err = 0;

	r->file = name;
	ERR_clear_error();
	if (text.len > TEXT_MAX)
		return fail(r, "the file is too long; expected a megabyte at most");
	in = BIO_new_mem_buf(text.p, (int)text.len);
	if (in == NULL)
		return fail(r, "no memory");
	while (err == 0 && next_block(in, &b)) {
		err = take_block(r, &b, wanted);
		/* One key is enough. */
		if (wanted == KEYS && r->open != NULL)
			wanted = 0;
	}
	if (err == 0)
		err = end_of_text(r);
	block_clear(&b);
	BIO_free(in);
	return err;
}

void pem_begin(struct pem_reader *r)
{
	*r = (struct pem_reader){.why = BUF_INIT(WHY), .warnings = BUF_INIT(WARNINGS)};
	STAILQ_INIT(&r->pairs);
}

int pem_add(struct pem_reader *r, const char *name, struct slice text)
{
	return read_text(r, name, text, KEYS | CERTS);
}

int pem_add_pair(struct pem_reader *r, const char *cert_name, struct slice certs,
	const char *key_name, struct slice key)
{
	int err = close_pair(r);

	if (err == 0)
		err = read_text(r, key_name, key, KEYS);
	if (err == 0 && r->open == NULL)
		err = fail(r, "no private key; expected one in PEM form");
	if (err == 0)
		err = read_text(r, cert_name, certs, CERTS);
	if (err == 0 && r->open->certs.len == 0)
		err = fail(r, "no certificate; expected that of the key");
	return err == 0 ? close_pair(r) : err;
}

int pem_end(struct pem_reader *r)
{
	int err = close_pair(r);

	if (err == 0 && STAILQ_EMPTY(&r->pairs))
		err = fail(r, "nothing in it; expected a private key and its certificates");
	return err;
}

void pem_clear(struct pem_reader *r)
{
	pem_pairs_clear(&r->pairs);
	pem_pair_free(&r->open);
	buf_clear(&r->why);
	buf_clear(&r->warnings);
}

static bool id_of_cert(const struct block *b, uint8_t id[PEM_ID])
{
	X509 *cert = cert_of(b);
	bool is_good = cert != NULL && id_of(X509_get_X509_PUBKEY(cert), id) == 0;

	X509_free(cert);
	return is_good;
}

void pem_walk_ids(struct slice text, void (*visit)(const uint8_t id[PEM_ID], void *arg), void *arg)
{
	BIO *in = text.len <= TEXT_MAX ? BIO_new_mem_buf(text.p, (int)text.len) : NULL;
	struct block b = {0};
	bool behind_key = false;
	uint8_t id[PEM_ID];

	while (in != NULL && next_block(in, &b)) {
		if (is_key(b.name)) {
			behind_key = true;
		} else if (behind_key && is_cert(b.name)) {
			behind_key = false;
			if (id_of_cert(&b, id))
				visit(id, arg);
		}
	}
	block_clear(&b);
	BIO_free(in);
	ERR_clear_error();
}
