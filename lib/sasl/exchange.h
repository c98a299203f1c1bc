/* SPDX-License-Identifier: ISC */
#ifndef SASL_EXCHANGE_H
#define SASL_EXCHANGE_H

#include "sasl/record.h"

/*
 * The server's half of PLAIN (RFC 4616) and SCRAM-SHA-256 with and without -PLUS (RFC 5802,
 * RFC 7677), without I/O.
 */

/* "authzid NUL authcid NUL password", as they came; all borrowed. ERR_SYNTAX. */
struct sasl_plain {
	struct slice authzid, login, password;
};
int sasl_plain_parse(struct slice message, struct sasl_plain *p);

enum { SASL_SCRAM_MESSAGE_MAX = 2048 };

/*
 * What the client may say of channel binding (RFC 5802, 6): "n", or "y" (it could, but saw no
 * -PLUS); with -PLUS offered "y" is a sign of somebody who has taken it out of the list; with -PLUS
 * chosen "p=type" alone.
 */
enum sasl_binding { SASL_BINDING_NONE, SASL_BINDING_OFFERED, SASL_BINDING_CHOSEN };

/* Embedded; sasl_scram_clear wipes. */
struct sasl_scram_server {
	enum sasl_binding binding; /* set by the caller before sasl_scram_begin */
	struct buf binding_type;   /* CHOSEN: as the client said */
	struct buf binding_data;   /* set by the caller behind it */
	struct sasl_scram record;
	struct buf login, authzid;     /* as the client said, decoded */
	struct buf header, first_bare; /* gs2-header; client-first-message-bare */
	struct buf nonce, server_first;
};

void sasl_scram_init(struct sasl_scram_server *x);
void sasl_scram_clear(struct sasl_scram_server *x);
/*
 * client-first-message: sets login, authzid and binding_type. ERR_SYNTAX, ERR_LIMIT, ERR_DENIED (a
 * downgrade).
 */
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
