/* SPDX-License-Identifier: ISC */
#include "vault/sign.h"

#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"
#include "vault/handshake.h"
#include "vault/openssl.h"
#include "vault/service.h"

enum { CHAIN_FIRST = 1, CHAIN_LAST = 2, SIGNATURE_MAX = 1024, BURST_SECONDS = 2 };
/* Of TLS_NAME_END. */
enum { NAME_ALL = 0, NAME_UNKNOWN = 1, NAME_FAILED = 2 };
enum { REFUSALS_LOGGED = 10 };

/* What is kept for a peer: how much it may still ask for. */
struct asker {
	int64_t tokens; /* signatures times CLOCK_SEC */
	int64_t at;
	unsigned refusals;
};

/* ---- chains ---- */

static void send_chain(struct ipc *c, unsigned flags, const struct pem_pair *p)
{
	ipc_begin(c, PROTO_TLS_CHAIN, 0);
	ipc_put_u64(c, FIELD_FLAGS, flags);
	if (p != NULL) {
		ipc_put_bytes(c, FIELD_KEY_ID, slice_of(p->id, PEM_ID));
		ipc_put_bytes(c, FIELD_CERTS, buf_slice(&p->certs));
	}
	(void)ipc_end(c);
}

static void send_chains(struct ipc *c, const struct service *v)
{
	const struct pem_pairs *pairs =
		v != NULL && v->chain != NULL ? chain_pairs(v->chain) : NULL;
	const struct pem_pair *p = NULL;

	if (pairs == NULL) {
		send_chain(c, CHAIN_FIRST | CHAIN_LAST, NULL);
		return;
	}
	/* Of broken files nothing is said: another vault may have read them while they were good.
	 */
	STAILQ_FOREACH(p, pairs, next)
	send_chain(c,
		(p == STAILQ_FIRST(pairs) ? CHAIN_FIRST : 0U) |
			(STAILQ_NEXT(p, next) == NULL ? CHAIN_LAST : 0U),
		p);
}

static void send_to_users(enum role role, const struct chain *c)
{
	struct server_peer *peer = NULL;

	TAILQ_FOREACH(peer, server_peers(role), next)
	{
		const struct service *v = service_of(peer->service);

		if (v != NULL && v->chain == c)
			send_chains(peer->ipc, v);
	}
}

void sign_changed(const struct chain *c)
{
	send_to_users(ROLE_SMTPD, c);
	send_to_users(ROLE_CLIENT, c);
}

void sign_peer_new(struct server_peer *peer)
{
	struct asker *a = mem_alloc(sizeof(*a));

	a->at = loop_now();
	a->tokens = BURST_SECONDS * CLOCK_SEC * conf_int(P_vault_signature_rate_limit);
	peer->arg = a;
	send_chains(peer->ipc, service_of(peer->service));
}

/* ---- names ---- */

struct question {
	LIST_ENTRY(question) next;
	struct ipc *ipc;
	uint64_t id;
	struct sni *sni;
	char *name;
	struct later later;
};

enum { TABLES_ASKED = 100 };

static LIST_HEAD(, question) questions = LIST_HEAD_INITIALIZER(questions);

static void question_free(struct question *q)
{
	LIST_REMOVE(q, next);
	later_clear(&q->later);
	mem_free(q->name);
	mem_free(q);
}

static void end_name(struct ipc *c, uint64_t id, int result)
{
	ipc_begin(c, PROTO_TLS_NAME_END, id);
	ipc_put_u64(c, FIELD_RESULT, (uint64_t)result);
	(void)ipc_end(c);
}

static void answer_name(void *arg)
{
	struct question *q = arg;
	struct pem_pairs pairs;
	const struct pem_pair *p = NULL;
	int r = sni_find(q->sni, slice_str(q->name), &q->later, &pairs);

	if (r == ERR_LATER)
		return;
	STAILQ_FOREACH(p, &pairs, next)
	{
		ipc_begin(q->ipc, PROTO_TLS_NAME_CHAIN, q->id);
		ipc_put_bytes(q->ipc, FIELD_KEY_ID, slice_of(p->id, PEM_ID));
		ipc_put_bytes(q->ipc, FIELD_CERTS, buf_slice(&p->certs));
		(void)ipc_end(q->ipc);
	}
	end_name(q->ipc, q->id,
		r == 0                                  ? NAME_ALL
		: r == ERR_NOT_FOUND || r == ERR_SYNTAX ? NAME_UNKNOWN
							: NAME_FAILED);
	pem_pairs_clear(&pairs);
	question_free(q);
}

static void find_name(struct server_peer *peer, struct ipc_msg *msg)
{
	const struct service *v = service_of(peer->service);
	struct question *q = NULL;

	if (v == NULL || v->sni == NULL) {
		end_name(peer->ipc, msg->id, NAME_UNKNOWN);
		return;
	}
	q = mem_alloc(sizeof(*q));
	*q = (struct question){.ipc = peer->ipc,
		.id = msg->id,
		.sni = v->sni,
		.name = slice_dup(ipc_bytes(msg, FIELD_NAME))};
	later_init(&q->later, TABLES_ASKED, answer_name, q);
	LIST_INSERT_HEAD(&questions, q, next);
	answer_name(q);
}

void sign_peer_gone(struct server_peer *peer)
{
	struct question *q = NULL, *next = NULL;

	LIST_FOREACH_SAFE(q, &questions, next, next)
	if (q->ipc == peer->ipc)
		question_free(q);
	mem_free(peer->arg);
	peer->arg = NULL;
}

/* ---- signatures ---- */

static void answer(struct ipc *c, uint64_t id, enum proto_result result, struct slice signature,
	const char *why)
{
	ipc_begin(c, PROTO_TLS_SIGNED, id);
	ipc_put_u64(c, FIELD_RESULT, result);
	if (result == RESULT_OK)
		ipc_put_bytes(c, FIELD_SIGNATURE, signature);
	if (why != NULL)
		ipc_put_str(c, FIELD_TEXT, why);
	(void)ipc_end(c);
}

/* Does not happen in a sound system; who does it often is not to fill the log. */
static void refuse(struct server_peer *peer, struct ipc_msg *msg, const char *why)
{
	struct asker *a = peer->arg;

	if (a->refusals++ < REFUSALS_LOGGED)
		log_warning("service %s (%s %llu): a signature is refused: %s%s", peer->service,
			role_name(peer->role), (unsigned long long)peer->worker, why,
			a->refusals == REFUSALS_LOGGED ? "; no more of this is logged" : "");
	answer(peer->ipc, msg->id, RESULT_FAILED, SLICE_NONE, why);
}

/* Over the rate: not now. */
static bool is_too_often(struct asker *a)
{
	int64_t rate = conf_int(P_vault_signature_rate_limit), now = loop_now();

	if (rate == 0)
		return false;
	a->tokens += (now - a->at) * rate;
	if (a->tokens > BURST_SECONDS * CLOCK_SEC * rate)
		a->tokens = BURST_SECONDS * CLOCK_SEC * rate;
	a->at = now;
	if (a->tokens < CLOCK_SEC)
		return true;
	a->tokens -= CLOCK_SEC;
	return false;
}

static int make_signature(const struct pem_pair *p, const struct handshake_how *how,
	struct slice input, uint8_t *out, size_t *len)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	EVP_PKEY_CTX *key = NULL;
	bool good = ctx != NULL &&
		    EVP_DigestSignInit_ex(ctx, &key, how->digest, NULL, NULL, p->key, NULL) == 1;

	if (good && how->is_pss)
		good = EVP_PKEY_CTX_set_rsa_padding(key, RSA_PKCS1_PSS_PADDING) == 1 &&
		       EVP_PKEY_CTX_set_rsa_pss_saltlen(key, RSA_PSS_SALTLEN_DIGEST) == 1;
	good = good &&
	       EVP_DigestSign(ctx, out, len, (const unsigned char *)input.p, input.len) == 1;
	EVP_MD_CTX_free(ctx);
	ERR_clear_error();
	return good ? 0 : ERR_TEMP;
}

static const struct pem_pair *key_of(const struct service *v, const uint8_t *id)
{
	const struct pem_pair *p = v != NULL && v->chain != NULL ? chain_find(v->chain, id) : NULL;

	return p == NULL && v != NULL && v->sni != NULL ? sni_key(v->sni, id) : p;
}

static void sign(struct server_peer *peer, struct ipc_msg *msg)
{
	struct slice id = ipc_bytes(msg, FIELD_KEY_ID), input = ipc_bytes(msg, FIELD_HANDSHAKE);
	const struct pem_pair *p = NULL;
	struct handshake_how how;
	const char *why = NULL;
	uint8_t out[SIGNATURE_MAX];
	size_t len = sizeof(out);

	if (id.len != PEM_ID) {
		refuse(peer, msg, "no key has such an id");
		return;
	}
	if (is_too_often(peer->arg)) {
		answer(peer->ipc, msg->id, RESULT_DEFERRED, SLICE_NONE, "too many signatures");
		return;
	}
	p = key_of(service_of(peer->service), (const uint8_t *)id.p);
	if (p == NULL && chain_knows((const uint8_t *)id.p))
		refuse(peer, msg, "the key is another service's");
	else if (p == NULL)
		/* It may have been replaced, or another vault has read the file first. */
		answer(peer->ipc, msg->id, RESULT_DEFERRED, SLICE_NONE, "no such key");
	else if (handshake_check(peer->role, input, ipc_u64(msg, FIELD_SCHEME), p->kind, p->bits,
			 &how, &why) != 0)
		refuse(peer, msg, why);
	else if (make_signature(p, &how, input, out, &len) != 0)
		answer(peer->ipc, msg->id, RESULT_DEFERRED, SLICE_NONE, "OpenSSL cannot sign");
	else
		answer(peer->ipc, msg->id, RESULT_OK, slice_of(out, len), NULL);
}

void sign_msg(struct server_peer *peer, struct ipc_msg *msg)
{
	if (msg->type == PROTO_TLS_SIGN)
		sign(peer, msg);
	else if (msg->type == PROTO_TLS_NAME)
		find_name(peer, msg);
}
