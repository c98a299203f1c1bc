/* SPDX-License-Identifier: ISC */

#include "tls/tls_private.h"
#include "util/clock.h"
#include "util/err.h"

enum { KEYS = 32, NAME = 16, CIPHER = 32, HMAC_KEY = 32 };

/* The newest first. */
static struct ticket_key {
	unsigned char name[NAME], cipher[CIPHER], hmac[HMAC_KEY];
	int64_t until;
	const void *vault; /* NULL: gone */
} keys[KEYS];
static size_t keys_n;
static EVP_CIPHER *aes;

/* Fetched before a ticket is: the first fetch of a name costs most. */
int tls_tickets_init(void)
{
	if (aes == NULL)
		aes = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
	return aes != NULL ? 0 : ERR_STATE;
}

static void expire(void)
{
	int64_t now = clock_real();
	size_t i, n = 0;

	for (i = 0; i < keys_n; i++)
		if (keys[i].until > now)
			keys[n++] = keys[i];
	explicit_bzero(keys + n, (KEYS - n) * sizeof(*keys));
	keys_n = n;
}

void tls_tickets_add(const void *vault, struct slice key, int64_t until)
{
	int64_t last = clock_real() + TLS_TICKET_SECONDS * CLOCK_SEC;
	struct ticket_key *k = &keys[0];

	if (key.len != NAME + CIPHER + HMAC_KEY)
		return;
	expire();
	if (keys_n == KEYS)
		keys_n--;
	memmove(keys + 1, keys, keys_n * sizeof(*keys));
	keys_n++;
	memcpy(k->name, key.p, NAME);
	memcpy(k->cipher, key.p + NAME, CIPHER);
	memcpy(k->hmac, key.p + NAME + CIPHER, HMAC_KEY);
	k->until = until < last ? until : last;
	k->vault = vault;
}

void tls_tickets_orphan(const void *vault)
{
	size_t i;

	for (i = 0; i < keys_n; i++)
		if (keys[i].vault == vault)
			keys[i].vault = NULL;
}

/* The newest of a living vault; when none lives the newest. */
static const struct ticket_key *newest(void)
{
	size_t i;

	expire();
	for (i = 0; i < keys_n; i++)
		if (keys[i].vault != NULL)
			return &keys[i];
	return keys_n > 0 ? &keys[0] : NULL;
}

bool tls_tickets_any(void)
{
	return newest() != NULL;
}

static bool start_mac(EVP_MAC_CTX *mac, const struct ticket_key *k)
{
	char sha256[] = "SHA256";
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_octet_string(
			OSSL_MAC_PARAM_KEY, (void *)(uintptr_t)k->hmac, HMAC_KEY),
		OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, sha256, 0),
		OSSL_PARAM_construct_end(),
	};

	return EVP_MAC_CTX_set_params(mac, params) == 1;
}

/* 1: done; 2: done, and a new ticket is due; 0: no such key; -1: failed. */
int tls_ticket_key(SSL *ssl, unsigned char name[16], unsigned char iv[EVP_MAX_IV_LENGTH],
	EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int encrypt)
{
	const struct ticket_key *k = newest(), *current = k;
	size_t i;

	if (k == NULL)
		return 0;
	if (encrypt) {
		memcpy(name, k->name, NAME);
		if (RAND_bytes(iv, EVP_CIPHER_get_iv_length(aes)) != 1 ||
			EVP_EncryptInit_ex2(cipher, aes, k->cipher, iv, NULL) != 1)
			return -1;
		return start_mac(mac, k) ? 1 : -1;
	}
	for (i = 0; i < keys_n && memcmp(keys[i].name, name, NAME) != 0; i++)
		;
	if (i == keys_n)
		return 0;
	k = &keys[i];
	if (!start_mac(mac, k) || EVP_DecryptInit_ex2(cipher, aes, k->cipher, iv, NULL) != 1)
		return -1;
	/* One of TLS 1.3 is used once (RFC 8446, C.4): the client needs another. */
	return k == current && SSL_version(ssl) < TLS1_3_VERSION ? 1 : 2;
}
