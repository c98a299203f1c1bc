/* SPDX-License-Identifier: ISC */
#ifndef SASL_RECORD_H
#define SASL_RECORD_H

#include "sasl/crypto.h"
#include "util/buf.h"

/*
 * Records of a password table, one or more behind a login, separated by blanks:
 *
 *   $y$…  $6$…  $5$…  $2b$…  $2y$…   a hash of crypt(3); {CRYPT} may stand before it
 *   {SCRAM-SHA-256}iterations,salt,StoredKey,ServerKey   in base64 (RFC 5802, 3; RFC 7677)
 *
 * Nothing else is one; a clear password least of all.
 */
enum sasl_record_kind { SASL_RECORD_CRYPT, SASL_RECORD_SCRAM };

enum {
	SASL_SALT_MAX = 64,
	SASL_ITERATIONS = 100000, /* of records made here */
	SASL_ITERATIONS_MIN = 4096,
	SASL_ITERATIONS_MAX = 10000000,
	SASL_RECORDS_MAX = 8192, /* bytes of all records of a login */
	SASL_PASSWORD_MAX = 1024,
};

struct sasl_scram {
	unsigned iterations;
	uint8_t salt[SASL_SALT_MAX];
	size_t salt_len;
	uint8_t stored_key[SASL_KEY], server_key[SASL_KEY];
};

struct sasl_record {
	enum sasl_record_kind kind;
	struct slice crypt; /* borrowed, without {CRYPT} */
	struct sasl_scram scram;
};

/* Takes one off the front. ERR_NOT_FOUND: there are no more; ERR_SYNTAX: it is none. */
int sasl_record_next(struct slice *rest, struct sasl_record *r);
/* Whether the whole value is records, at least one. */
bool sasl_records_are_good(struct slice records);
/* The first SCRAM record; ERR_NOT_FOUND. */
int sasl_records_scram(struct slice records, struct sasl_scram *s);

/*
 * Whether the password is that of one of the records. Slow: as the hash is meant to be. Each record
 * is tried until one agrees, with the form that SASLprep makes of the password; where that is
 * another, then as it was typed, since programs that make hashes seldom know of it.
 */
bool sasl_records_verify(struct slice records, struct slice password);

/* A record for a new password, which went through sasl_prep. */
void sasl_scram_make(
	struct slice password, struct slice salt, unsigned iterations, struct sasl_scram *s);
void sasl_scram_format(const struct sasl_scram *s, struct buf *out);
/* A crypt(3) hash of the best kind that the system has; ERR_SYS. */
int sasl_crypt_make(struct slice password, struct buf *out);

#endif
