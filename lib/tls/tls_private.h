/* SPDX-License-Identifier: ISC */
#ifndef TLS_TLS_PRIVATE_H
#define TLS_TLS_PRIVATE_H

#include <sys/queue.h>

#include "tls/chain.h"
#include "tls/keys.h"
#include "tls/openssl.h"
#include "tls/tls.h"

/*
 * What the files of lib/tls share.
 *
 *   context.c   SSL_CTX, the only place that opens files    start.c    what one session is to be
 *   cipher.c    protocols, grades, groups                   session.c  handshake, filter, its end
 *   provider.c  private keys that are somewhere else        hello.c    ClientHello: SNI, tickets
 *   verify.c    chains, TLSA, fingerprints                  keys.c     vault, with chain.c
 *   ticket.c    ticket keys                                 name.c     names in certificates
 *   facts.c     what was agreed, as text                    cache.c    the client's sessions
 *   log.c       OpenSSL's reasons                           about.c    its version
 *   bio.c       the socket, below OpenSSL
 *
 * A handshake of a side with a key runs in a fibre (SSL_MODE_ASYNC) of 32 KB of stack: what runs in
 * callbacks of OpenSSL asks nobody; it leaves a note, returns or pauses, and session.c does the
 * asking outside. (Measured: 8 KB at most, with all kinds of keys, groups and a client's chain.)
 */
enum {
	TLS_HANDSHAKES = 1000,      /* at once, of one context */
	TLS_JOBS = 1024,            /* fibres of a process */
	TLS_CERT_LIST = 100 * 1024, /* bytes of certificates that a peer may send */
	TLS_WHY_MAX = 300,
	TLS_HELD_MAX = 8192, /* of a last flight that waits for company */
};

/* protocols and ciphers of one session, as OpenSSL wants them. */
struct tls_protocols {
	int min, max;
};
int tls_protocols_parse(const char *text, struct tls_protocols *out, struct buf *why);
/* A cipher list of OpenSSL. */
int tls_cipher_list(const char *const *lists, const char *grade, const char *exclude, bool server,
	bool anonymous, struct buf *out, struct buf *why);
/* Names that OpenSSL does not know are left out, as Postfix does. */
int tls_groups_list(const char *groups, struct buf *out, struct buf *why);

struct tls_cache;

struct tls_context {
	enum tls_side side;
	SSL_CTX *ssl;     /* with the service's chains of the version below */
	unsigned version; /* of tls_chains_service */
	X509_STORE *store;
	STACK_OF(X509_NAME) * authorities; /* named in the request for a certificate */
	EVP_MD *digest;
	char *listener, *groups, *ciphers; /* ciphers: those of ssl */
	char *lists[TLS_GRADES];
	int depth, log_level;
	bool ask_cert, preempt, tickets;
	unsigned handshakes, active;
	struct tls_cache *cache;
};

/* What is asked of the peer's certificate. */
struct tls_check {
	enum tls_level level;
	bool require_cert, has_anchors;
	char **match;
	size_t match_n;
	char **fingerprint;
	size_t fingerprint_n;
};
/* Copies; adds TLSA records or trust anchors to the session. ERR_SYNTAX. */
int tls_check_set(struct tls_check *k, SSL *ssl, const struct tls_ask *ask, struct buf *why);
void tls_check_clear(struct tls_check *k);
/* The callback of OpenSSL instead of X509_verify_cert. */
int tls_verify(X509_STORE_CTX *sc, void *arg);
/* Sets has_cert, is_trusted, is_matched, is_dane, trust_error and what the certificate says. */
void tls_check_peer(struct tls *t);

/* name.c. A name of the certificate as UTF-8 without control characters, owned; NULL: refused. */
char *tls_name_entry(X509_NAME *name, int nid);
bool tls_cert_matches(X509 *cert, char *const *match, size_t n);
/* "MX.Tést" → "mx.xn--…", owned; NULL: not a name. */
char *tls_name_ascii(const char *name);
/* CN and e-mail addresses, owned array of owned texts. */
char **tls_cert_texts(X509 *cert, size_t *n);

/* ticket.c */
void tls_tickets_add(const void *vault, struct slice key, int64_t until);
void tls_tickets_orphan(const void *vault);
bool tls_tickets_any(void);
int tls_tickets_init(void);
int tls_ticket_key(SSL *ssl, unsigned char name[16], unsigned char iv[EVP_MAX_IV_LENGTH],
	EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int encrypt);

/* cache.c. Flags of a session that was verified: TLS_KEPT_*. */
enum { TLS_KEPT_TRUSTED = 1, TLS_KEPT_MATCHED = 2, TLS_KEPT_DANE = 4 };
struct tls_cache *tls_cache_new(unsigned limit, int64_t lifetime);
void tls_cache_free(struct tls_cache **c);
/* Takes session over. */
void tls_cache_add(struct tls_cache *c, struct slice key, SSL_SESSION *session, unsigned flags);
/* NULL, or an owned session; one of TLS 1.3 is not given twice (RFC 8446, C.4). */
SSL_SESSION *tls_cache_get(struct tls_cache *c, struct slice key, unsigned *flags);
size_t tls_cache_count(const struct tls_cache *c);

/* provider.c */
int tls_provider_load(void);

enum tls_phase {
	TLS_PHASE_DRAIN, /* what was written before TLS is still on its way */
	TLS_PHASE_HANDSHAKE,
	TLS_PHASE_REPORT, /* on_done comes at the end of this iteration */
	TLS_PHASE_OPEN,
	TLS_PHASE_FAILED,
};

struct tls {
	struct tls_context *c;
	struct stream *s;
	int fd;
	SSL *ssl;
	const struct tls_events *events;
	void *arg;
	const struct stream_events *owner; /* whose turn it is again after the handshake */
	void *owner_arg;
	struct loop_task report, release;
	struct buf held; /* bytes for the socket, in front of all that follow */
	bool has_written, has_asked, may_release; /* has_asked: in this call of OpenSSL */
	enum tls_phase phase;
	int err;
	int later, later_errno; /* an error that comes behind bytes */
	bool more;              /* SSL holds bytes for us */
	bool is_active;         /* counted in c->active */
	bool is_eof, is_dead, is_broken;
	/* What a callback left for us. */
	struct tls_sign *sign;      /* the paused handshake waits for it */
	struct tls_name_wait *name; /* it waits for the chains of this name */
	char *chain;                /* asked by tls_start instead of the client's name */
	bool name_failed;
	bool waits_for_job;
	TAILQ_ENTRY(tls) job_link;
	struct tls_check check;
	char *session_key;
	size_t session_key_len;
	SSL_SESSION *fresh;  /* came before the handshake was over (TLS 1.2) */
	unsigned kept_flags; /* of the session that is resumed */
	int verify_error;    /* X509_V_* */
	char *trust_error, *why;
	char *sni;
	struct tls_facts facts;
	char **names;
	size_t names_n;
};

/*
 * bio.c. A flight of the handshake that may be the last one is held until its call of OpenSSL is
 * over, and when it was the last one until the owner has said what he has to say: a ticket and a
 * greeting, a Finished and an EHLO go out as one.
 */
BIO *tls_bio_new(struct tls *t);
/* Sends what is held. False: not all of it now. */
bool tls_bio_release(struct tls *t);

/* In a fibre: asks for the signature and returns when it is there. 0, or why not. */
int tls_wait_for_signature(struct tls_sign *sign);
/* NULL: no memory in OpenSSL. Before tls_session_begin it is the caller's. */
struct tls *tls_session_new(
	struct tls_context *c, struct stream *s, const struct tls_events *events, void *arg);
void tls_session_free(struct tls **t);
void tls_session_begin(struct tls *t);
/* What sessions are kept under in the cache; none: empty. */
struct slice tls_session_key(const struct tls *t);
int tls_hello(SSL *ssl, int *alert, void *arg);
/* The handshake waits for no name any more. */
void tls_hello_forget(struct tls *t);
void tls_session_came(struct tls *t, SSL_SESSION *session);
/* Once; by the first context, or the first chain that comes. */
int tls_library_start(void);
/* A context for OpenSSL as c says, without certificates. */
int tls_context_chains(struct tls_context *c);

void tls_facts_set(struct tls *t);
void tls_facts_clear(struct tls *t);

/* The reasons on OpenSSL's error queue, which is empty behind it. */
void tls_add_reason(struct buf *out);

#endif
