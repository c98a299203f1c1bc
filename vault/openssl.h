/* SPDX-License-Identifier: ISC */
#ifndef VAULT_OPENSSL_H
#define VAULT_OPENSSL_H

/* OpenSSL has a type of this name; util/err.h an error. */
#define ERR_STATE OPENSSL_ERR_STATE
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#undef ERR_STATE

#endif
