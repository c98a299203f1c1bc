/* SPDX-License-Identifier: ISC */
#include "sasl/crypto.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>

#include "util/log.h"

void sasl_hmac(struct slice key, struct slice data, uint8_t out[SASL_KEY])
{
	unsigned len = 0;

	if (HMAC(EVP_sha256(), key.p, (int)key.len, (const unsigned char *)data.p, data.len, out,
		    &len) == NULL ||
		len != SASL_KEY)
		log_fatal("HMAC-SHA-256 fails");
}

void sasl_sha256(struct slice data, uint8_t out[SASL_KEY])
{
	SHA256((const unsigned char *)data.p, data.len, out);
}

void sasl_pbkdf2(
	struct slice password, struct slice salt, unsigned iterations, uint8_t out[SASL_KEY])
{
	if (PKCS5_PBKDF2_HMAC(password.p, (int)password.len, (const unsigned char *)salt.p,
		    (int)salt.len, (int)iterations, EVP_sha256(), SASL_KEY, out) != 1)
		log_fatal("PBKDF2 fails");
}

bool sasl_is_equal(const void *a, const void *b, size_t len)
{
	return CRYPTO_memcmp(a, b, len) == 0;
}
