/* SPDX-License-Identifier: ISC */
#ifndef T_TLS_KIT_H
#define T_TLS_KIT_H

#include "ipc/ipc.h"
#include "tls/keys.h"
#include "tls/openssl.h"
#include "tls/tls.h"

/* Certificates made at run time. */
struct cert {
	X509 *x;
	EVP_PKEY *key;
};

enum {
	CERT_CA = 1,
	CERT_EXPIRED = 2,
	CERT_FUTURE = 4,
	CERT_NUL_NAME = 8, /* "mx.test\0.evil.test" as the only alternative name */
};

/* kind "RSA", "P-256", "P-384", "ED25519"; alt "DNS:a.test,email:b@test" or NULL; issuer NULL:
 * itself. */
struct cert cert_new(
	const char *kind, const char *cn, const char *alt, const struct cert *issuer, int flags);
void cert_free(struct cert *c);
/* In a file below the test's own folder, owned path. */
char *cert_file(const struct cert *c);
char *cert_pem(const struct cert *c); /* owned */
void cert_fingerprint(const struct cert *c, bool key, struct buf *out);

/* A vault within the process, on the other end of a socket pair. */
enum signer_mode {
	SIGNER_SIGN,
	SIGNER_REFUSE,
	SIGNER_NOT_NOW,
	SIGNER_GARBAGE,
	SIGNER_EMPTY,
	SIGNER_SILENT
};
enum { SIGNER_KEYS = 8 };
struct signer {
	struct ipc *end, *ours;
	enum signer_mode mode;
	int64_t delay;
	struct cert chain[SIGNER_KEYS][3]; /* borrowed; leaf, intermediate, another */
	size_t chains;
	const char *name; /* chains from the index below on belong to this SNI name */
	size_t name_from;
	bool name_silent;
	unsigned asked, names_asked, schemes[8];
	uint64_t last_id;
};

struct signer *signer_new(void);
void signer_add(struct signer *v, const struct cert *leaf, const struct cert *intermediate);
void signer_send(struct signer *v); /* the chains of the service */
void signer_ticket_key(struct signer *v, char fill, int64_t until);
/* Dies; what was asked of it stays unanswered. */
void signer_kill(struct signer **v);

/* One end of a connection. */
enum { PENDING = 1 };
struct end {
	struct stream *s;
	struct tls *t;
	int done;  /* of the handshake, or PENDING */
	int ended; /* of the stream, or PENDING */
	struct buf got, why;
};

struct pair {
	struct end server, client;
};

extern const struct tls_ask plain_server, plain_client;
/* Both ends of a socket pair as streams, without TLS. */
void pair_new(struct pair *p);
void pair_tls(struct pair *p, struct tls_context *server, const struct tls_ask *server_ask,
	struct tls_context *client, const struct tls_ask *client_ask);
/* Runs the loop until both ends are done. */
bool pair_run(struct pair *p);
void pair_free(struct pair *p);
int end_start(struct end *e, struct tls_context *c, const struct tls_ask *ask);
/* Its stream tells it again, after another was told. */
void end_owns(struct end *e);
bool end_expect(struct end *e, const char *text);

/* Runs the loop until it is true; false after 20 seconds. */
bool until(bool (*is)(void *arg), void *arg);
void run_for(int64_t time);

struct tls_context *context(enum tls_side side, const char *ca_file);
struct tls_context *context_of(const struct tls_settings *s);

#endif
