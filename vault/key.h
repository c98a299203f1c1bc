/* SPDX-License-Identifier: ISC */
#ifndef VAULT_KEY_H
#define VAULT_KEY_H

#include "sasl/crypto.h"

/*
 * A secret of this instance, made once and kept in data_directory/vault/key: what is said of logins
 * that do not exist must stay the same over restarts.
 */
void key_open(void); /* while the rights are there; may log_fatal */
/* HMAC of the purpose and two texts under the key. */
void key_derive(const char *purpose, struct slice a, struct slice b, uint8_t out[SASL_KEY]);

#endif
