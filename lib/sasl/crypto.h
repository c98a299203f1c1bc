/* SPDX-License-Identifier: ISC */
#ifndef SASL_CRYPTO_H
#define SASL_CRYPTO_H

#include "util/slice.h"

/* What SASL needs of OpenSSL. A library that cannot do it is fatal. */
enum { SASL_KEY = 32 };

void sasl_hmac(struct slice key, struct slice data, uint8_t out[SASL_KEY]); /* HMAC-SHA-256 */
void sasl_sha256(struct slice data, uint8_t out[SASL_KEY]);
void sasl_pbkdf2(
	struct slice password, struct slice salt, unsigned iterations, uint8_t out[SASL_KEY]);
/* Takes as long whatever they are. */
bool sasl_is_equal(const void *a, const void *b, size_t len);

#endif
