/* SPDX-License-Identifier: ISC */
#ifndef VAULT_PEM_H
#define VAULT_PEM_H

#include <sys/queue.h>

#include "util/buf.h"

/*
 * Pairs of a private key and its chain of certificates, read from PEM text (RFC 7468). Keys: RSA
 * (RSA-PSS ones too), ECDSA on P-256, P-384 and P-521, Ed25519, Ed448.
 */
enum { PEM_ID = 32, PEM_CERTS_MAX = 60000 };

enum pem_kind { PEM_RSA, PEM_RSA_PSS, PEM_EC, PEM_ED25519, PEM_ED448, PEM_KINDS };

struct pem_pair {
	STAILQ_ENTRY(pem_pair) next;
	uint8_t id[PEM_ID]; /* SHA-256 of the SubjectPublicKeyInfo */
	enum pem_kind kind;
	unsigned bits;     /* of the curve; of RSA keys: the modulus */
	void *key;         /* EVP_PKEY *, owned */
	struct buf certs;  /* as proto.def's CERTS: each DER behind its length */
	int64_t not_after; /* of the first certificate; seconds since 1970 */
};
STAILQ_HEAD(pem_pairs, pem_pair);

void pem_pair_free(struct pem_pair **p);
void pem_pairs_clear(struct pem_pairs *pairs);

/*
 * Files as they follow each other: a key, then its certificate and the chain of that, then perhaps
 * another key. pem_begin, pem_add for each file, pem_end. Text is borrowed during the call. Of two
 * keys of one kind the later one counts.
 */
struct pem_reader {
	struct pem_pairs pairs;
	struct pem_pair *open; /* waits for certificates; not among pairs yet */
	struct buf why;        /* "FILE: what; expected what", once something was wrong */
	struct buf warnings;   /* one a line: expired, not yet valid */
	const char *file;      /* that is being read; names are borrowed until pem_clear */
	const char *open_file; /* that the open one's key was in */
};
void pem_begin(struct pem_reader *r);
int pem_add(struct pem_reader *r, const char *name, struct slice text); /* ERR_SYNTAX */
/* ERR_SYNTAX: a key without certificate, or nothing at all. */
int pem_end(struct pem_reader *r);
void pem_clear(struct pem_reader *r);
/* The older form: certificates of one text, the key of another (which may be the same). */
int pem_add_pair(struct pem_reader *r, const char *cert_name, struct slice certs,
	const char *key_name, struct slice key);

/* The ids of keys in text, by the certificates behind them; what is damaged ends it. */
void pem_walk_ids(struct slice text, void (*visit)(const uint8_t id[PEM_ID], void *arg), void *arg);

#endif
