/* SPDX-License-Identifier: ISC */
#ifndef TLS_OPENSSL_H
#define TLS_OPENSSL_H

/* All of OpenSSL that lib/tls uses. It has a type of the name of one of our results. */
#define ERR_STATE OPENSSL_ERR_STATE
#include <openssl/async.h>
#include <openssl/core.h>
#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/provider.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#undef ERR_STATE

#endif
