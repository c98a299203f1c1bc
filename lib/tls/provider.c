/* SPDX-License-Identifier: ISC */
/*
 * A built-in OSSL_PROVIDER whose private keys are in vault. A key object is a name (the hash of its
 * public key) and that public key, to which all questions about it are passed on. There is one
 * operation: a signature over a whole message; no bare digest can be handed in.
 */

#include "tls/tls_private.h"
#include "util/err.h"
#include "util/mem.h"

enum { PAD_PKCS1 = 1, PAD_PSS = 6 };

static const char param_id[] = "gp-key-id", param_public[] = "gp-public-key";

struct key {
	unsigned char id[TLS_KEY_ID];
	EVP_PKEY *pub;
};

static OSSL_LIB_CTX *library;
static OSSL_PROVIDER *loaded;

/* ------------------------------------------------------------- key objects */

static void *key_new(void *provider)
{
	return mem_alloc(sizeof(struct key));
}

static void key_free(void *data)
{
	struct key *k = data;

	EVP_PKEY_free(k->pub);
	mem_free(k);
}

/* The private part is there as far as anyone can tell who only wants signatures. */
static int key_has(const void *data, int selection)
{
	const struct key *k = data;

	return k->pub != NULL;
}

static int key_import(void *data, int selection, const OSSL_PARAM params[])
{
	struct key *k = data;
	const OSSL_PARAM *id = OSSL_PARAM_locate_const(params, param_id);
	const OSSL_PARAM *pub = OSSL_PARAM_locate_const(params, param_public);
	const unsigned char *p;

	if (id == NULL || pub == NULL || id->data_size != sizeof(k->id))
		return 0;
	memcpy(k->id, id->data, sizeof(k->id));
	p = pub->data;
	k->pub = d2i_PUBKEY(NULL, &p, (long)pub->data_size);
	return k->pub != NULL;
}

static const OSSL_PARAM *key_import_types(int selection)
{
	static const OSSL_PARAM types[] = {
		{param_id, OSSL_PARAM_OCTET_STRING, NULL, 0, 0},
		{param_public, OSSL_PARAM_OCTET_STRING, NULL, 0, 0},
		OSSL_PARAM_END,
	};

	return types;
}

/*
 * With the private part it fails, else the default provider would take the public key and find that
 * it cannot sign with it. The public one is needed by the comparison with the certificate.
 */
static int key_export(void *data, int selection, OSSL_CALLBACK *take, void *arg)
{
	struct key *k = data;
	OSSL_PARAM *params = NULL;
	int r;

	if (selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY)
		return 0;
	if (EVP_PKEY_todata(k->pub, EVP_PKEY_PUBLIC_KEY, &params) != 1)
		return 0;
	r = take(params, arg);
	OSSL_PARAM_free(params);
	return r;
}

static const OSSL_PARAM *key_export_types_rsa(int selection)
{
	static const OSSL_PARAM types[] = {
		OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_N, NULL, 0),
		OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_E, NULL, 0),
		OSSL_PARAM_END,
	};

	return selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY ? NULL : types;
}

static const OSSL_PARAM *key_export_types_ec(int selection)
{
	static const OSSL_PARAM types[] = {
		OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, NULL, 0),
		OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PUB_KEY, NULL, 0),
		OSSL_PARAM_END,
	};

	return selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY ? NULL : types;
}

static const OSSL_PARAM *key_export_types_ed25519(int selection)
{
	static const OSSL_PARAM types[] = {
		OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PUB_KEY, NULL, 0),
		OSSL_PARAM_END,
	};

	return selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY ? NULL : types;
}

static int key_get_params(void *data, OSSL_PARAM params[])
{
	struct key *k = data;

	return EVP_PKEY_get_params(k->pub, params);
}

static const OSSL_PARAM *key_gettable(void *provider)
{
	static const OSSL_PARAM types[] = {
		OSSL_PARAM_int(OSSL_PKEY_PARAM_BITS, NULL),
		OSSL_PARAM_int(OSSL_PKEY_PARAM_SECURITY_BITS, NULL),
		OSSL_PARAM_int(OSSL_PKEY_PARAM_MAX_SIZE, NULL),
		OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, NULL, 0),
		OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_DEFAULT_DIGEST, NULL, 0),
		OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_MANDATORY_DIGEST, NULL, 0),
		OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, NULL, 0),
		OSSL_PARAM_END,
	};

	return types;
}

static const char *ec_operation(int operation)
{
	return operation == OSSL_OP_SIGNATURE ? "ECDSA" : NULL;
}

typedef void (*function)(void);

/* -Wcast-function-type is not asked for: this is how the API wants it. */
#define FN(id, f)                   \
	{                           \
		(id), (function)(f) \
	}
#define KEY_FUNCTIONS(types)                                                                  \
	FN(OSSL_FUNC_KEYMGMT_NEW, key_new), FN(OSSL_FUNC_KEYMGMT_FREE, key_free),             \
		FN(OSSL_FUNC_KEYMGMT_HAS, key_has), FN(OSSL_FUNC_KEYMGMT_IMPORT, key_import), \
		FN(OSSL_FUNC_KEYMGMT_IMPORT_TYPES, key_import_types),                         \
		FN(OSSL_FUNC_KEYMGMT_EXPORT, key_export),                                     \
		FN(OSSL_FUNC_KEYMGMT_EXPORT_TYPES, types),                                    \
		FN(OSSL_FUNC_KEYMGMT_GET_PARAMS, key_get_params),                             \
		FN(OSSL_FUNC_KEYMGMT_GETTABLE_PARAMS, key_gettable)

static const OSSL_DISPATCH rsa_key[] = {KEY_FUNCTIONS(key_export_types_rsa), {0, NULL}};
static const OSSL_DISPATCH ec_key[] = {KEY_FUNCTIONS(key_export_types_ec),
	FN(OSSL_FUNC_KEYMGMT_QUERY_OPERATION_NAME, ec_operation), {0, NULL}};
static const OSSL_DISPATCH ed25519_key[] = {KEY_FUNCTIONS(key_export_types_ed25519), {0, NULL}};

/* -------------------------------------------------------------- signatures */

struct signing {
	struct key *key; /* borrowed: the EVP_PKEY lives as long */
	int hash;        /* bits of SHA-2; 1: SHA-1; 0: none */
	int pad;
};

static void *signing_new(void *provider, const char *properties)
{
	struct signing *s = mem_alloc(sizeof(*s));

	s->pad = PAD_PKCS1;
	return s;
}

static void signing_free(void *data)
{
	mem_free(data);
}

static int signing_set(void *data, const OSSL_PARAM params[])
{
	struct signing *s = data;
	const OSSL_PARAM *p = OSSL_PARAM_locate_const(params, OSSL_SIGNATURE_PARAM_PAD_MODE);

	if (p == NULL)
		return 1; /* the length of the salt is the digest's in TLS, always */
	if (p->data_type == OSSL_PARAM_UTF8_STRING) {
		const char *mode = NULL;

		if (OSSL_PARAM_get_utf8_string_ptr(p, &mode) != 1)
			return 0;
		s->pad = strcmp(mode, OSSL_PKEY_RSA_PAD_MODE_PSS) == 0 ? PAD_PSS : PAD_PKCS1;
		return 1;
	}
	if (OSSL_PARAM_get_int(p, &s->pad) != 1)
		return 0;
	return s->pad == PAD_PKCS1 || s->pad == PAD_PSS;
}

static const OSSL_PARAM *signing_settable(void *data, void *provider)
{
	static const OSSL_PARAM types[] = {
		OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PAD_MODE, NULL, 0),
		OSSL_PARAM_int(OSSL_SIGNATURE_PARAM_PAD_MODE, NULL),
		OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PSS_SALTLEN, NULL, 0),
		OSSL_PARAM_int(OSSL_SIGNATURE_PARAM_PSS_SALTLEN, NULL),
		OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_DIGEST, NULL, 0),
		OSSL_PARAM_END,
	};

	return types;
}

static int hash_of(const char *digest)
{
	static const struct {
		const char *name;
		int bits;
	} known[] = {{"SHA256", 256}, {"SHA2-256", 256}, {"SHA384", 384}, {"SHA2-384", 384},
		{"SHA512", 512}, {"SHA2-512", 512}, {"SHA1", 1}, {"SHA-1", 1}, {"", 0}};
	size_t i;

	for (i = 0; digest != NULL && i < sizeof(known) / sizeof(*known); i++)
		if (strcasecmp(digest, known[i].name) == 0)
			return known[i].bits;
	return digest == NULL ? 0 : -1;
}

/* Runs twice a handshake: nothing is asked here. */
static int signing_init(void *data, const char *digest, void *key, const OSSL_PARAM params[])
{
	struct signing *s = data;

	if (key != NULL)
		s->key = key;
	s->hash = hash_of(digest);
	return s->hash >= 0 && s->key != NULL && (params == NULL || signing_set(s, params) == 1);
}

/* The SignatureScheme (RFC 8446, 4.2.3); 0: not one of ours. */
static unsigned scheme_of(const struct signing *s)
{
	static const struct {
		int type, pad, hash;
		unsigned scheme;
	} known[] = {
		{EVP_PKEY_RSA, PAD_PKCS1, 256, 0x0401},
		{EVP_PKEY_RSA, PAD_PKCS1, 384, 0x0501},
		{EVP_PKEY_RSA, PAD_PKCS1, 512, 0x0601},
		{EVP_PKEY_RSA, PAD_PKCS1, 1, 0x0201},
		{EVP_PKEY_RSA, PAD_PSS, 256, 0x0804},
		{EVP_PKEY_RSA, PAD_PSS, 384, 0x0805},
		{EVP_PKEY_RSA, PAD_PSS, 512, 0x0806},
		{EVP_PKEY_EC, PAD_PKCS1, 256, 0x0403},
		{EVP_PKEY_EC, PAD_PKCS1, 384, 0x0503},
		{EVP_PKEY_EC, PAD_PKCS1, 512, 0x0603},
		{EVP_PKEY_EC, PAD_PKCS1, 1, 0x0203},
		{EVP_PKEY_ED25519, PAD_PKCS1, 0, 0x0807},
	};
	int type = EVP_PKEY_get_base_id(s->key->pub);
	size_t i;

	for (i = 0; i < sizeof(known) / sizeof(*known); i++)
		if (known[i].type == type && known[i].pad == s->pad && known[i].hash == s->hash)
			return known[i].scheme;
	return 0;
}

static int signing_sign(void *data, unsigned char *out, size_t *len, size_t size,
	const unsigned char *input, size_t input_len)
{
	struct signing *s = data;
	struct tls_sign *ask;
	int r;

	if (out == NULL) {
		*len = (size_t)EVP_PKEY_get_size(s->key->pub);
		return *len > 0;
	}
	ask = mem_alloc(sizeof(*ask));
	ask->key = s->key->id;
	ask->scheme = scheme_of(s);
	ask->input = slice_of(input, input_len);
	ask->result = ERR_LATER;
	r = ask->scheme == 0 ? ERR_DENIED : tls_wait_for_signature(ask);
	if (r == 0 && ask->len <= size) {
		memcpy(out, ask->signature, ask->len);
		*len = ask->len;
	} else
		r = ERR_DENIED;
	mem_free(ask);
	return r == 0;
}

static const OSSL_DISPATCH signature[] = {
	FN(OSSL_FUNC_SIGNATURE_NEWCTX, signing_new),
	FN(OSSL_FUNC_SIGNATURE_FREECTX, signing_free),
	FN(OSSL_FUNC_SIGNATURE_DIGEST_SIGN_INIT, signing_init),
	FN(OSSL_FUNC_SIGNATURE_DIGEST_SIGN, signing_sign),
	FN(OSSL_FUNC_SIGNATURE_SET_CTX_PARAMS, signing_set),
	FN(OSSL_FUNC_SIGNATURE_SETTABLE_CTX_PARAMS, signing_settable),
	{0, NULL},
};

/* ---------------------------------------------------------------- provider */

static const OSSL_ALGORITHM *query(void *provider, int operation, int *no_cache)
{
	static const OSSL_ALGORITHM keys[] = {
		{"RSA:rsaEncryption", "provider=vault", rsa_key, NULL},
		{"EC:id-ecPublicKey", "provider=vault", ec_key, NULL},
		{"ED25519", "provider=vault", ed25519_key, NULL},
		{NULL, NULL, NULL, NULL},
	};
	static const OSSL_ALGORITHM signatures[] = {
		{"RSA:rsaEncryption", "provider=vault", signature, NULL},
		{"ECDSA", "provider=vault", signature, NULL},
		{"ED25519", "provider=vault", signature, NULL},
		{NULL, NULL, NULL, NULL},
	};

	*no_cache = 0;
	if (operation == OSSL_OP_KEYMGMT)
		return keys;
	return operation == OSSL_OP_SIGNATURE ? signatures : NULL;
}

static int start(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *in, const OSSL_DISPATCH **out,
	void **provider)
{
	static const OSSL_DISPATCH functions[] = {
		FN(OSSL_FUNC_PROVIDER_QUERY_OPERATION, query), {0, NULL}};
	static char nothing;

	*out = functions;
	*provider = &nothing;
	return 1;
}

/* In a library context of its own, so that no key of a peer lands in it. */
int tls_provider_load(void)
{
	if (loaded != NULL)
		return 0;
	library = OSSL_LIB_CTX_new();
	if (library == NULL || OSSL_PROVIDER_add_builtin(library, "vault", start) != 1)
		return ERR_STATE;
	loaded = OSSL_PROVIDER_load(library, "vault");
	return loaded != NULL ? 0 : ERR_STATE;
}

EVP_PKEY *tls_provider_key(const unsigned char id[TLS_KEY_ID], EVP_PKEY *public_key)
{
	int type = EVP_PKEY_get_base_id(public_key);
	const char *name = type == EVP_PKEY_RSA       ? "RSA"
			   : type == EVP_PKEY_EC      ? "EC"
			   : type == EVP_PKEY_ED25519 ? "ED25519"
						      : NULL;
	unsigned char *der = NULL;
	int len = i2d_PUBKEY(public_key, &der);
	EVP_PKEY_CTX *ctx = NULL;
	EVP_PKEY *key = NULL;
	OSSL_PARAM params[3];

	if (name == NULL || len <= 0)
		goto out;
	params[0] = OSSL_PARAM_construct_octet_string(param_id, (void *)(uintptr_t)id, TLS_KEY_ID);
	params[1] = OSSL_PARAM_construct_octet_string(param_public, der, (size_t)len);
	params[2] = OSSL_PARAM_construct_end();
	ctx = EVP_PKEY_CTX_new_from_name(library, name, "provider=vault");
	if (ctx == NULL || EVP_PKEY_fromdata_init(ctx) != 1 ||
		EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_KEYPAIR, params) != 1)
		key = NULL;
out:
	EVP_PKEY_CTX_free(ctx);
	OPENSSL_free(der);
	return key;
}
