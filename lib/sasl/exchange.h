/* SPDX-License-Identifier: ISC */
#ifndef SASL_EXCHANGE_H
#define SASL_EXCHANGE_H

#include "sasl/record.h"

/*
 * The server's half of PLAIN (RFC 4616) and SCRAM-SHA-256 (RFC 5802, RFC 7677), without I/O.
 * Channel binding is not offered: a client says "n", or "y" (it could, but saw no -PLUS).
 */

/* "authzid NUL authcid NUL password", as they came; all borrowed. ERR_SYNTAX. */
struct sasl_plain {
	struct slice authzid, login, password;
};
int sasl_plain_parse(struct slice message, struct sasl_plain *p);

enum { SASL_SCRAM_MESSAGE_MAX = 2048 };

/* Embedded; sasl_scram_clear wipes. */
struct sasl_scram_server {
	struct sasl_scram record;
	struct buf login, authzid;     /* as the client said, decoded */
	struct buf header, first_bare; /* gs2-header; client-first-message-bare */
	struct buf nonce, server_first;
};

void sasl_scram_init(struct sasl_scram_server *x);
void sasl_scram_clear(struct sasl_scram_server *x);
/* client-first-message: sets login and authzid. ERR_SYNTAX, ERR_LIMIT. */
int sasl_scram_begin(struct sasl_scram_server *x, struct slice message);
/*
 * server-first-message, by the login's record (kept) and a nonce of printable ASCII without comma.
 * It is x->server_first afterwards.
 */
void sasl_scram_challenge(
	struct sasl_scram_server *x, const struct sasl_scram *record, struct slice nonce);
/*
 * client-final-message. 0 with server-final-message in out; ERR_DENIED: the proof is wrong;
 * ERR_SYNTAX. All of it is computed whatever the proof.
 */
int sasl_scram_finish(struct sasl_scram_server *x, struct slice message, struct buf *out);

#endif
