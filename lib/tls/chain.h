/* SPDX-License-Identifier: ISC */
#ifndef TLS_CHAIN_H
#define TLS_CHAIN_H

#include <sys/queue.h>

#include "tls/openssl.h"
#include "util/buf.h"

/*
 * Chains as vault sent them, with key objects of the provider, and the questions that handshakes
 * have for vault. For lib/tls alone.
 */
enum { TLS_KEY_ID = 32, TLS_CHAIN_KEYS = 8, TLS_SIGNATURE_MAX = 1024 };

/* Certificates for one name, one chain for each kind of key. Counted. */
struct tls_chains {
	unsigned refs;
	size_t n;
	struct tls_chain {
		X509 *leaf;
		STACK_OF(X509) * rest;
		EVP_PKEY *key;
	} chain[TLS_CHAIN_KEYS];
	unsigned char digest[32]; /* over all of it */
};

struct tls_chains *tls_chains_new(void);
struct tls_chains *tls_chains_hold(struct tls_chains *c);
void tls_chains_release(struct tls_chains **c);
/* certs as in CERTS. ERR_SYNTAX, ERR_LIMIT with the reason. */
int tls_chains_add(struct tls_chains *c, struct slice key_id, struct slice certs, struct buf *why);
/* To a context or to one session; one of them is NULL. How many were usable. */
size_t tls_chains_use(const struct tls_chains *c, SSL_CTX *ctx, SSL *ssl);

/* The service's own. NULL: none has come. version changes with them. */
struct tls_chains *tls_chains_service(unsigned *version);

/* A private key that vault has, for the public key of a certificate. Owned; NULL: of no use. */
EVP_PKEY *tls_provider_key(const unsigned char id[TLS_KEY_ID], EVP_PKEY *public_key);

/*
 * A signature that is needed. key and input stay valid until the result is there: they are the
 * paused handshake's.
 */
struct tls_vault;
struct tls_sign {
	TAILQ_ENTRY(tls_sign) link;
	const unsigned char *key;
	unsigned scheme;
	struct slice input;
	void (*done)(struct tls_sign *s, void *arg);
	void *arg;
	struct tls_vault *at; /* NULL: not asked, or the one asked is gone */
	uint64_t id;
	int64_t due;
	unsigned refusals;
	bool is_open;
	int result; /* ERR_LATER, 0, ERR_TEMP, ERR_DENIED */
	size_t len;
	unsigned char signature[TLS_SIGNATURE_MAX];
	char why[128];
};
/* Asks vault; done is called from the loop. */
void tls_sign_ask(struct tls_sign *s);
void tls_sign_withdraw(struct tls_sign *s); /* done is not called */

/* Chains of an SNI name, lower-case. 0 with chains (borrowed; NULL: the service's), or ERR_LATER.
 */
int tls_name_find(struct slice name, struct tls_chains **chains);
struct tls_name;
struct tls_name_wait {
	TAILQ_ENTRY(tls_name_wait) link;
	struct tls_name *at;
	char *name;                                                   /* owned by who waits */
	void (*done)(struct tls_name_wait *w, int result, void *arg); /* 0 or ERR_TEMP */
	void *arg;
};
int tls_name_ask(struct tls_name_wait *w); /* ERR_TEMP: too many */
void tls_name_withdraw(struct tls_name_wait *w);

#endif
