/* SPDX-License-Identifier: ISC */
#ifndef SASL_CLIENT_H
#define SASL_CLIENT_H

#include "sasl/record.h"

/*
 * The client's half of PLAIN, LOGIN, XOAUTH2 and SCRAM-SHA-256, with channel binding too (RFC 4616,
 * RFC 5802, RFC 7677, RFC 9266), without I/O.
 *
 *   sasl_client_begin ──► the initial response, if the mechanism has one
 *   sasl_client_step  ──► the answer to each challenge
 *
 * Secrets: login and password are borrowed, what is kept is wiped by sasl_client_clear.
 */
enum { SASL_CLIENT_MESSAGE_MAX = 8192, SASL_CLIENT_ITERATIONS_MAX = 250000 };

enum sasl_client_kind {
	SASL_CLIENT_SCRAM_PLUS,
	SASL_CLIENT_SCRAM,
	SASL_CLIENT_PLAIN,
	SASL_CLIENT_LOGIN,
	SASL_CLIENT_XOAUTH2,
	SASL_CLIENT_KINDS
};

/* SCRAM's slow step: PBKDF2, or what remembers it. */
typedef void sasl_derive(
	struct slice password, struct slice salt, unsigned iterations, uint8_t out[SASL_KEY]);

struct sasl_client {
	enum sasl_client_kind kind;
	unsigned step;
	struct buf login, password;
	struct buf first_bare, nonce;
	struct buf cbind; /* SCRAM's gs2-header, and with PLUS the binding's data */
	uint8_t server_signature[SASL_KEY];
	sasl_derive *derive;
	bool is_proved; /* the server has shown that it knows the password, too */
};

/* "SCRAM-SHA-256" …; in the order in which they are preferred. */
const char *sasl_client_name(enum sasl_client_kind kind);
/*
 * nonce: printable ASCII without comma, for SCRAM. binding: the type's name, a NUL, the data; empty
 * when there is none. Without PLUS it says that only the server does not know of it. out: the
 * initial response; *has: whether there is one. x->derive may be set afterwards. ERR_LIMIT,
 * ERR_SYNTAX (not text; PLUS without binding).
 */
int sasl_client_begin(struct sasl_client *x, enum sasl_client_kind kind, struct slice login,
	struct slice password, struct slice nonce, struct slice binding, struct buf *out,
	bool *has);
/*
 * ERR_SYNTAX: the server broke the mechanism, or asks for more iterations than
 * SASL_CLIENT_ITERATIONS_MAX; ERR_DENIED: it does not know the password (it proved
 * nothing, or wrongly); ERR_STATE: nothing more can be said.
 */
int sasl_client_step(struct sasl_client *x, struct slice challenge, struct buf *out);
void sasl_client_clear(struct sasl_client *x);

#endif
