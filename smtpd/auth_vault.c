/* SPDX-License-Identifier: ISC */
#include "smtpd/auth_vault.h"

#include "sasl/mechanism.h"
#include "smtpd/auth_backend.h"
#include "util/err.h"
#include "util/hash.h"
#include "util/mem.h"
#include "util/wire.h"

/* Names of a certificate that are looked at. */
enum { CERT_NAMES = 16 };

struct asked {
	LIST_ENTRY(asked) next;
	struct auth_exchange *x;
	struct ipc *vault;
	uint64_t id;
};

static LIST_HEAD(, asked) all = LIST_HEAD_INITIALIZER(all);

static const char lost[] = "Connection lost to authentication server";

void auth_vault_new(struct server_peer *peer)
{
	ipc_set_secret(peer->ipc);
}

/* Also after its last answer: vault is told that the exchange is over. */
static void forget(struct asked *a)
{
	a->x->state = NULL;
	ipc_set_arg(a->vault, a->id, true, NULL);
	(void)ipc_send(a->vault, PROTO_AUTH_END, a->id);
	LIST_REMOVE(a, next);
	mem_free(a);
}

static void not_now(struct auth_exchange *x, const char *why)
{
	struct auth_outcome o = {.result = AUTH_LATER, .why = slice_str(why)};

	x->events->done(x, &o);
}

static void put_tls(struct ipc *vault, const struct auth_exchange *x)
{
	struct reader in = reader_of(x->bindings);

	if (x->offers_binding)
		ipc_put_u64(vault, FIELD_FLAGS, 1);
	while (in.in.len > 0)
		ipc_put_bytes(vault, FIELD_BINDING, reader_counted(&in, in.in.len));
	for (size_t i = 0; i < x->names_n && i < CERT_NAMES; i++)
		if (strlen(x->names[i]) <= SASL_LOGIN_MAX)
			ipc_put_str(vault, FIELD_CERT_NAME, x->names[i]);
}

/* The same for a client whoever asks, so that it waits in one line there; moved by few changes. */
static struct server_peer *vault_of(const char *client)
{
	struct server_peer *peer = NULL, *best = NULL;
	uint32_t most = 0;

	TAILQ_FOREACH(peer, server_peers(ROLE_VAULT), next)
	{
		uint32_t h = crc32c(
			crc32c(0, &peer->worker, sizeof(peer->worker)), client, strlen(client));

		if (best == NULL || h > most) {
			best = peer;
			most = h;
		}
	}
	return best;
}

static void begin(struct auth_exchange *x, struct slice message)
{
	struct server_peer *peer = vault_of(x->client);
	struct asked *a;

	if (peer == NULL) {
		not_now(x, lost);
		return;
	}
	a = mem_alloc(sizeof(*a));
	*a = (struct asked){.x = x, .vault = peer->ipc, .id = ipc_ask(peer->ipc)};
	ipc_begin(a->vault, PROTO_AUTH_BEGIN, a->id);
	ipc_put_str(a->vault, FIELD_MECHANISM, x->mechanism);
	ipc_put_str(a->vault, FIELD_CLIENT_ADDR, x->client);
	if (message.p != NULL)
		ipc_put_bytes(a->vault, FIELD_SECRET, message);
	put_tls(a->vault, x);
	int err = ipc_end(a->vault);
	if (err != 0) {
		mem_free(a);
		not_now(x, lost);
		return;
	}
	ipc_set_arg(a->vault, a->id, true, a);
	LIST_INSERT_HEAD(&all, a, next);
	x->state = a;
}

/* An answer that ends the exchange may be on its way already: it will tell. */
static void respond(struct auth_exchange *x, struct slice message)
{
	const struct asked *a = x->state;

	ipc_begin(a->vault, PROTO_AUTH_RESPONSE, a->id);
	ipc_put_bytes(a->vault, FIELD_SECRET, message);
	(void)ipc_end(a->vault);
}

static void cancel(struct auth_exchange *x)
{
	if (x->state != NULL)
		forget(x->state);
}

static void walk(void (*visit)(const char *name, unsigned properties, void *arg), void *arg)
{
	for (const struct sasl_mechanism *m = sasl_table_mechanisms; m->name != NULL; m++)
		visit(m->name, m->properties, arg);
}

/* Its slow hashes stand in a line. */
const struct auth_backend auth_vault = {begin, respond, cancel, walk, 30, true};

static void take_outcome(struct asked *a, struct ipc_msg *msg)
{
	struct auth_exchange *x = a->x;
	uint64_t result = ipc_u64(msg, FIELD_RESULT);
	struct auth_outcome o = {
		.result = result == RESULT_OK       ? AUTH_OK
			  : result == RESULT_FAILED ? AUTH_WRONG
						    : AUTH_LATER,
		.login = ipc_bytes(msg, FIELD_LOGIN),
		.why = ipc_bytes(msg, FIELD_TEXT),
		.has_mark = ipc_has(msg, FIELD_MARK),
		.mark = ipc_u64(msg, FIELD_MARK),
	};

	/* Nobody is nobody. */
	if (o.result == AUTH_OK && o.login.len == 0)
		o.result = AUTH_LATER;
	forget(a);
	x->events->done(x, &o);
}

void auth_vault_msg(struct ipc_msg *msg)
{
	struct asked *a = msg->arg;

	if (a == NULL)
		return;
	if (msg->type == PROTO_AUTH_CHALLENGE)
		a->x->events->challenge(a->x, ipc_bytes(msg, FIELD_SECRET));
	else if (msg->type == PROTO_AUTH_DONE)
		take_outcome(a, msg);
}

static struct asked *first_of(const struct ipc *vault)
{
	struct asked *a;

	LIST_FOREACH(a, &all, next)
	if (a->vault == vault)
		return a;
	return NULL;
}

void auth_vault_gone(struct server_peer *peer)
{
	struct asked *a;

	while ((a = first_of(peer->ipc)) != NULL) {
		struct auth_exchange *x = a->x;

		forget(a);
		not_now(x, lost);
	}
}
