/* SPDX-License-Identifier: ISC */
#include "smtpd/auth_vault.h"

#include "sasl/mechanism.h"
#include "smtpd/auth_backend.h"
#include "util/err.h"
#include "util/hash.h"
#include "util/mem.h"
#include "util/wire.h"

enum {
	CERT_NAMES = 16, /* names of a certificate that are looked at */
	/* Seconds that an exchange waits for a vault when there is none just now: at the start, and
	 * while one that died is replaced. */
	ABSENCE = 5,
};

struct asked {
	LIST_ENTRY(asked) next;
	struct auth_exchange *x;
	struct ipc *vault; /* NULL while it waits for one: */
	uint64_t id;
	struct buf first; /* secret; the initial response, when there is one: */
	bool has_first;
	struct loop_timer patience;
};

static LIST_HEAD(, asked) all = LIST_HEAD_INITIALIZER(all);

static const char lost[] = "Connection lost to authentication server";

/* Also after its last answer: vault is told that the exchange is over. */
static void forget(struct asked *a)
{
	a->x->state = NULL;
	if (a->vault != NULL) {
		ipc_set_arg(a->vault, a->id, true, NULL);
		(void)ipc_send(a->vault, PROTO_AUTH_END, a->id);
	}
	LIST_REMOVE(a, next);
	loop_timer_clear(&a->patience);
	buf_clear(&a->first);
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

static void give_up(void *arg)
{
	struct asked *a = arg;
	struct auth_exchange *x = a->x;

	forget(a);
	not_now(x, lost);
}

/* ERR_CLOSED when the connection has ended meanwhile. */
static int ask(struct asked *a, struct ipc *vault)
{
	uint64_t id = ipc_ask(vault);

	ipc_begin(vault, PROTO_AUTH_BEGIN, id);
	ipc_put_str(vault, FIELD_MECHANISM, a->x->mechanism);
	ipc_put_str(vault, FIELD_CLIENT_ADDR, a->x->client);
	if (a->has_first)
		ipc_put_bytes(vault, FIELD_SECRET, buf_slice(&a->first));
	put_tls(vault, a->x);
	int err = ipc_end(vault);
	if (err != 0)
		return err;
	loop_timer_set(&a->patience, CLOCK_NEVER);
	buf_clear(&a->first);
	a->vault = vault;
	a->id = id;
	ipc_set_arg(vault, id, true, a);
	return 0;
}

static void begin(struct auth_exchange *x, struct slice message)
{
	struct server_peer *peer = vault_of(x->client);
	struct asked *a = mem_alloc(sizeof(*a));

	*a = (struct asked){
		.x = x, .has_first = message.p != NULL, .first = BUF_SECRET(message.len)};
	(void)buf_add_slice(&a->first, message);
	loop_timer_init(&a->patience, give_up, a);
	LIST_INSERT_HEAD(&all, a, next);
	x->state = a;
	if (peer == NULL)
		loop_timer_set(&a->patience, loop_now() + ABSENCE * CLOCK_SEC);
	else if (ask(a, peer->ipc) != 0)
		give_up(a);
}

void auth_vault_new(struct server_peer *peer)
{
	struct asked *a, *after;

	ipc_set_secret(peer->ipc);
	LIST_FOREACH_SAFE(a, &all, next, after)
	if (a->vault == NULL && ask(a, peer->ipc) != 0)
		return;
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

	while ((a = first_of(peer->ipc)) != NULL)
		give_up(a);
}
