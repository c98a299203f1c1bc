/* SPDX-License-Identifier: ISC */
#include "tls/about.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/opensslv.h>

const char *tls_about_compiled(void)
{
	return OPENSSL_VERSION_TEXT;
}

const char *tls_about_running(void)
{
	return OpenSSL_version(OPENSSL_VERSION);
}

const char *tls_about_key_kind(unsigned at)
{
	static const char *const kinds[] = {"dsa", "ecdsa", "rsa"};
	unsigned found = 0;

	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
		EVP_SIGNATURE *s = EVP_SIGNATURE_fetch(NULL, kinds[i], NULL);

		EVP_SIGNATURE_free(s);
		if (s != NULL && found++ == at)
			return kinds[i];
	}
	return NULL;
}
