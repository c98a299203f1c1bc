/* SPDX-License-Identifier: ISC */
#ifndef TLS_TLS_H
#define TLS_TLS_H

#include "net/stream.h"
#include "util/buf.h"

/*
 * TLS 1.2 and 1.3 (RFC 5246, RFC 8446) as the filter of a stream, on both sides; the only user of
 * libssl. No private key is ever in a process that uses it: keys and signatures come from vault by
 * tls/keys.h, and a handshake that waits for them stops nothing but itself.
 *
 * A context is what the sessions of a process share: certificates of authorities, groups, tickets,
 * the cache of sessions. It is made at start-up, while files can be read; nothing here opens a file
 * after that. Beside what the event loop does, OpenSSL then needs recvfrom, sendto, getpid (it
 * looks for a fork), getrandom, rt_sigprocmask (fibres of handshakes that wait for vault), futex,
 * brk, mmap, munmap, mremap, madvise without PROT_EXEC, sysinfo (qsort), clock_gettime; the time
 * zone must be loaded (clock_load_zone). t/tls/sandbox_test.c proves it. A session is one handshake
 * and what follows it. It belongs to its stream as soon as tls_start has returned 0 and lives as
 * long as that: the owner keeps the pointer for tls_facts only.
 *
 *   tls_start ──► handshake ──► on_done(0) ──► bytes flow through the stream as before
 *                     └───────► on_done(ERR_*): ERR_CORRUPT not TLS, or refused (tls_why says
 * what); ERR_TEMP vault did not answer or too many handshakes; ERR_CLOSED; ERR_SYS; ERR_TIMEOUT
 * (the stream's deadline, set by the owner) After an error the owner drops the connection: nothing
 * can be said on it any more. Until on_done the stream's own events are silent (its on_end too);
 * on_done may free the stream. What the owner writes while the handshake runs goes out behind it.
 */
struct tls_context;
struct tls;

/* Grades of ciphers (smtp_tls_ciphers), the order of tls_settings.lists. */
enum tls_grade { TLS_EXPORT, TLS_LOW, TLS_MEDIUM, TLS_HIGH, TLS_NULL, TLS_GRADES };

enum tls_side { TLS_SERVER, TLS_CLIENT };

/* Texts are as in main.cf, borrowed during the call; "" as for the parameter. */
struct tls_settings {
	enum tls_side side;
	const char *ca_file, *ca_path; /* smtpd_tls_CAfile … */
	bool append_default_ca;        /* tls_append_default_CA */
	const char *groups; /* tls_eecdh_auto_curves and tls_ffdhe_auto_groups, joined by a blank */
	const char *digest; /* *_tls_fingerprint_digest: "sha256", "md5" … */
	int depth;          /* *_tls_ccert_verifydepth, *_tls_scert_verifydepth */
	int log_level;      /* *_tls_loglevel: 0 to 4; from 2 on the handshake's steps are logged */
	const char *lists[TLS_GRADES]; /* tls_export_cipherlist …; NULL or "": Postfix's default */
	/* Server. */
	bool ask_cert;        /* smtpd_tls_ask_ccert or smtpd_tls_req_ccert */
	bool preempt;         /* tls_preempt_cipherlist */
	const char *listener; /* "submission/inet": tickets are bound to it */
	bool tickets;         /* give out session tickets */
	/* Client. */
	unsigned sessions;    /* size of the session cache; 0: none */
	int64_t session_time; /* smtp_tls_session_cache_timeout, microseconds */
	unsigned handshakes;  /* at once; 0: 1000. More of them are refused with ERR_TEMP */
};

/* 0, ERR_SYNTAX (why says which setting and what is expected), ERR_SYS (which file). */
int tls_context_new(const struct tls_settings *s, struct tls_context **out, struct buf *why);
void tls_context_free(struct tls_context **c);

/*
 * Is this a value of *_tls_protocols ("!SSLv3, >=TLSv1.2"), of *_tls_ciphers with its exclusions?
 * For check and for tables; 0, ERR_SYNTAX with the reason.
 */
int tls_check_protocols(const char *protocols, struct buf *why);
int tls_check_ciphers(const char *grade, const char *exclude, struct buf *why);

/* How much of TLS a connection needs (smtp_tls_security_level; of smtpd: none, may, encrypt). */
enum tls_level {
	TLS_NONE,
	TLS_MAY,
	TLS_ENCRYPT,
	TLS_FINGERPRINT,
	TLS_VERIFY,
	TLS_SECURE,
	TLS_DANE, /* with usable records; without them the caller chooses another level */
	TLS_DANE_ONLY,
	TLS_LEVELS
};

const char *tls_level_name(enum tls_level level);              /* "dane-only" */
int tls_level_parse(struct slice name, enum tls_level *level); /* ERR_SYNTAX */

/* A TLSA record (RFC 6698, 2.1) as it came, unchecked. */
struct tls_tlsa {
	uint8_t usage, selector, matching;
	const uint8_t *data;
	size_t len;
};
/*
 * RFC 7672, 3.1: usages 2 and 3, known selector and matching type, a digest of the right length or
 * a whole certificate or key.
 */
bool tls_tlsa_is_usable(const struct tls_tlsa *r);

/* What one session is to be. Everything is borrowed during tls_start. */
struct tls_ask {
	enum tls_level level;
	const char *protocols, *grade,
		*exclude; /* as *_tls_[mandatory_]protocols, _ciphers, _exclude_ciphers */
	/* Client. */
	const char *servername; /* SNI; "": none is sent */
	const char *const
		*match; /* names to be found in the certificate (verify, secure, dane usage 2): */
	size_t match_n; /* "mx.test"; ".test": any name below it */
	const char *const
		*fingerprint; /* fingerprint level: of certificate or public key, "AB:CD…" */
	size_t fingerprint_n;
	const struct tls_tlsa *tlsa;
	size_t tlsa_n;
	const char *
		anchors; /* PEM of the tafile= attribute, read by the caller; NULL: the context's */
	const char *session_key; /* what sessions are kept under; NULL: never resumed */
	/* Server. */
	bool require_cert; /* smtpd_tls_req_ccert: the handshake fails without a trusted one */
	const char *chain; /* which chain of keys.h is offered; "": the listener's */
};

struct tls_events {
	void (*on_done)(struct tls *t, int err, void *arg);
};

/*
 * Begins the handshake on a stream whose input was discarded before (RFC 3207, 4.2: tls_start logs
 * and drops what is left of it). 0, ERR_TEMP (too many handshakes, no vault, no certificate yet),
 * ERR_SYNTAX (ask; why). Behind an error nothing was sent.
 */
int tls_start(struct tls_context *c, struct stream *s, const struct tls_ask *ask,
	const struct tls_events *events, void *arg, struct tls **out, struct buf *why);

/* Why the handshake failed, one line for the log, of quoted text: "SSL_accept error: …: no shared
 * cipher". */
const char *tls_why(const struct tls *t);

/* What was agreed, from on_done(0) until the stream is freed. Texts are quoted, "" when not there.
 */
struct tls_facts {
	const char *protocol; /* "TLSv1.3" */
	const char *cipher;   /* "TLS_AES_256_GCM_SHA384" */
	int used_bits, cipher_bits;
	const char *kex, *kex_group; /* "X25519"; or "ECDHE", "prime256v1" as Postfix prints them */
	int kex_bits;                /* of a finite-field group; else 0 */
	const char *server_sig,
		*server_digest; /* "RSA-PSS", "SHA256"; TLS 1.3 alone; resumed: no digest */
	const char *server_sig_curve;
	int server_sig_bits;
	const char *client_sig, *client_digest, *client_sig_curve;
	int client_sig_bits;
	bool is_reused;  /* a session was resumed */
	const char *sni; /* the client's name that a chain was found for */
	/* The peer's certificate. */
	bool has_cert, is_trusted, is_matched;
	bool is_dane; /* is_matched comes of a TLSA record */
	const char *subject_cn, *issuer_cn, *serial;
	const char *fingerprint, *key_fingerprint; /* "AB:CD:…" by the context's digest */
	const char *trust_error; /* why it is not trusted or matched, for the log and the problem */
};
const struct tls_facts *tls_facts(const struct tls *t);

/* "Anonymous TLS connection established": Anonymous, Untrusted, Trusted or Verified. */
const char *tls_trust_word(const struct tls_facts *f);
/*
 * "TLSv1.3 with cipher C (256/256 bits) key-exchange X25519 server-signature …", for log and
 * Received:.
 */
void tls_add_summary(struct buf *out, const struct tls_facts *f);

/*
 * Channel bindings for SCRAM-SHA-256-PLUS: tls-exporter (RFC 9266) with TLS 1.3,
 * tls-server-end-point (RFC 5929) with both. ERR_NOT_FOUND: this session has none of that name.
 */
int tls_channel_binding(const struct tls *t, struct slice type, struct buf *out);

/* The server side has authenticated names of the client's certificate, for EXTERNAL: its subject
 * CN, e-mail addresses. */
size_t tls_cert_names(const struct tls *t, const char *const **names);

#endif
