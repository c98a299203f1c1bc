/* SPDX-License-Identifier: ISC */
#include "vault/relay.h"

#include <stdlib.h>
#include <sys/queue.h>

#include "mail/address.h"
#include "map/map.h"
#include "sasl/client.h"
#include "sasl/mechanism.h"
#include "util/base64.h"
#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"
#include "vault/token.h"

enum { BINDING_MAX = 512, QUESTIONS = 100, NONCE = 18, KEY_MAX = 4096, REMEMBERED = 16 };

struct relay {
	struct map_list *list;
	bool by_sender;
};

struct talk {
	LIST_ENTRY(talk) next;
	struct ipc *ipc;
	uint64_t id;
	const struct relay *relay;
	char *host, *nexthop, *sender;
	struct buf binding;
	unsigned offered; /* 1 << enum sasl_client_kind */
	struct later later;
	struct sasl_client client;
	bool has_begun;
};

static LIST_HEAD(, talk) talks = LIST_HEAD_INITIALIZER(talks);
static size_t count;

static const char table_fails[] = "the table of credentials cannot be read";

struct relay *relay_open(struct slice maps, bool by_sender)
{
	struct buf why = BUF_INIT(1024);
	struct relay *r = mem_alloc(sizeof(*r));
	char *text = slice_dup(maps);

	r->by_sender = by_sender;
	if (map_list_open(text, &why, &r->list) != 0)
		log_fatal("smtp_sasl_password_maps: %s", buf_str(&why));
	mem_free(text);
	buf_clear(&why);
	return r;
}

size_t relay_count(void)
{
	return count;
}

bool relay_is_of(const struct ipc *c)
{
	const struct talk *t = NULL;

	LIST_FOREACH(t, &talks, next)
	if (t->ipc == c)
		return true;
	return false;
}

static void talk_free(struct talk *t)
{
	LIST_REMOVE(t, next);
	count--;
	later_clear(&t->later);
	if (t->has_begun)
		sasl_client_clear(&t->client);
	buf_clear(&t->binding);
	mem_free(t->host);
	mem_free(t->nexthop);
	mem_free(t->sender);
	mem_free(t);
}

static void done(struct talk *t, enum proto_result result, const char *why)
{
	ipc_begin(t->ipc, PROTO_RELAY_DONE, t->id);
	ipc_put_u64(t->ipc, FIELD_RESULT, result);
	if (why != NULL)
		ipc_put_str(t->ipc, FIELD_TEXT, why);
	(void)ipc_end(t->ipc);
	ipc_set_arg(t->ipc, t->id, false, NULL);
	talk_free(t);
}

static void say(struct talk *t, const struct buf *message)
{
	ipc_begin(t->ipc, PROTO_RELAY_SAY, t->id);
	if (message != NULL)
		ipc_put_bytes(t->ipc, FIELD_SECRET, buf_slice(message));
	(void)ipc_end(t->ipc);
}

/* By the mark two sessions are known to be those of one login. */
static void say_first(
	struct talk *t, const struct buf *message, struct slice login, struct slice password)
{
	static uint8_t key[SASL_KEY];
	static bool has_key;
	uint8_t inner[SASL_KEY], mark[SASL_KEY];

	if (!has_key)
		arc4random_buf(key, sizeof(key));
	has_key = true;
	sasl_hmac(slice_of(key, sizeof(key)), login, inner);
	sasl_hmac(slice_of(inner, sizeof(inner)), password, mark);
	ipc_begin(t->ipc, PROTO_RELAY_SAY, t->id);
	ipc_put_str(t->ipc, FIELD_MECHANISM, sasl_client_name(t->client.kind));
	if (message != NULL)
		ipc_put_bytes(t->ipc, FIELD_SECRET, buf_slice(message));
	ipc_put_bytes(t->ipc, FIELD_LOGIN_MARK, slice_of(mark, sizeof(mark)));
	(void)ipc_end(t->ipc);
}

/* ---- SCRAM's slow step ---- */

/*
 * A relay says the same salt each time; without remembering, its every session would cost the
 * handshakes of all others some 50 ms.
 */
static struct {
	uint8_t of[SASL_KEY]; /* hash of what it was made from */
	uint8_t salted[SASL_KEY];
	bool is_set;
} remembered[REMEMBERED];

static void derive(
	struct slice password, struct slice salt, unsigned iterations, uint8_t out[SASL_KEY])
{
	static size_t next;
	uint8_t inner[SASL_KEY], of[SASL_KEY];
	uint32_t n = iterations;

	sasl_hmac(salt, password, inner);
	sasl_hmac(slice_of(&n, sizeof(n)), slice_of(inner, SASL_KEY), of);
	for (size_t i = 0; i < REMEMBERED; i++) {
		if (remembered[i].is_set && sasl_is_equal(remembered[i].of, of, SASL_KEY)) {
			memcpy(out, remembered[i].salted, SASL_KEY);
			return;
		}
	}
	sasl_pbkdf2(password, salt, iterations, out);
	memcpy(remembered[next].of, of, SASL_KEY);
	memcpy(remembered[next].salted, out, SASL_KEY);
	remembered[next].is_set = true;
	next = (next + 1) % REMEMBERED;
}

/* ---- a proof ---- */

static enum sasl_client_kind choose(unsigned offered)
{
	unsigned kind = 0;

	while (kind < SASL_CLIENT_KINDS && (offered & 1U << kind) == 0)
		kind++;
	return (enum sasl_client_kind)kind;
}

static void begin(struct talk *t, struct slice login, struct slice password)
{
	struct buf nonce = BUF_INIT(100), out = BUF_SECRET(SASL_CLIENT_MESSAGE_MAX);
	enum sasl_client_kind kind = choose(t->offered);
	uint8_t bytes[NONCE];
	bool has = false;
	int r;

	arc4random_buf(bytes, sizeof(bytes));
	base64_encode(&nonce, slice_of(bytes, sizeof(bytes)));
	r = sasl_client_begin(&t->client, kind, login, password, buf_slice(&nonce),
		buf_slice(&t->binding), &out, &has);
	t->has_begun = true;
	t->client.derive = derive;
	if (r == 0)
		say_first(t, has ? &out : NULL, login, password);
	else
		done(t, RESULT_FAILED, "the login or password in the table is none");
	buf_clear(&nonce);
	buf_clear(&out);
}

/* "login:password", or "login:{FILE}/path". */
static void begin_by(struct talk *t, struct slice credentials)
{
	struct buf token = BUF_SECRET(TOKEN_MAX);
	struct slice password = credentials, login;
	int r = 0;

	(void)slice_part(&password, ':', &login);
	r = token_find(password, &token);
	if (r == ERR_NOT_FOUND)
		begin(t, login, password);
	else if (r == 0)
		begin(t, login, buf_slice(&token));
	else if (r == ERR_STATE)
		done(t, RESULT_FAILED, "the file of its token is not in smtp_sasl_token_files");
	else
		done(t, RESULT_DEFERRED, "the file of its token cannot be read");
	buf_clear(&token);
}

static int find(struct talk *t, struct slice key, struct buf *value)
{
	return map_list_find(t->relay->list, key, &t->later, value);
}

/* The sender, without its extension, its domain. */
static int find_sender(struct talk *t, struct buf *value)
{
	struct slice sender = slice_str(t->sender), local, domain, user, extension;
	struct buf key = BUF_INIT(KEY_MAX);
	int r = find(t, sender, value);

	address_split(sender, &local, &domain);
	if (r == ERR_NOT_FOUND && address_split_extension(local, conf_str(P_recipient_delimiter),
					  &user, &extension)) {
		(void)buf_add_fmt(&key, "%.*s@%.*s", SLICE_FMT(user), SLICE_FMT(domain));
		r = find(t, buf_slice(&key), value);
	}
	if (r == ERR_NOT_FOUND && domain.len > 0) {
		buf_reset(&key);
		(void)buf_add_fmt(&key, "@%.*s", SLICE_FMT(domain));
		r = find(t, buf_slice(&key), value);
	}
	buf_clear(&key);
	return r;
}

static void look(void *arg)
{
	struct talk *t = arg;
	struct buf value = BUF_SECRET(MAP_VALUE_LIMIT);
	int r = ERR_NOT_FOUND;

	if (t->relay->by_sender && *t->sender != '\0')
		r = find_sender(t, &value);
	if (r == ERR_NOT_FOUND)
		r = find(t, slice_str(t->host), &value);
	if (r == ERR_NOT_FOUND)
		r = find(t, slice_str(t->nexthop), &value);
	if (r == ERR_NOT_FOUND) {
		done(t, RESULT_NOT_FOUND, NULL);
	} else if (r == 0 && t->offered == 0) {
		done(t, RESULT_FAILED, "the host offers no mechanism that can be used");
	} else if (r == 0) {
		begin_by(t, buf_slice(&value));
	} else if (r != ERR_LATER) {
		done(t, RESULT_DEFERRED, table_fails);
	}
	buf_clear(&value);
}

static unsigned offered(const struct ipc_msg *msg)
{
	struct slice name;
	unsigned kinds = 0;
	size_t at = 0;

	while (ipc_next(msg, FIELD_MECHANISM, &at, &name))
		for (unsigned k = 0; k < SASL_CLIENT_KINDS; k++)
			if (slice_case_eq_str(name, sasl_client_name((enum sasl_client_kind)k)))
				kinds |= 1U << k;
	if (!ipc_has(msg, FIELD_BINDING))
		kinds &= ~(1U << SASL_CLIENT_SCRAM_PLUS);
	return kinds;
}

static void begin_talk(struct server_peer *peer, struct ipc_msg *msg, const struct relay *relay)
{
	struct talk *t = mem_alloc(sizeof(*t));

	*t = (struct talk){.ipc = peer->ipc,
		.id = msg->id,
		.relay = relay,
		.host = slice_dup(ipc_bytes(msg, FIELD_NAME)),
		.nexthop = slice_dup(ipc_bytes(msg, FIELD_NEXTHOP)),
		.sender = slice_dup(ipc_bytes(msg, FIELD_SENDER)),
		.binding = BUF_INIT(BINDING_MAX),
		.offered = offered(msg)};
	(void)buf_add_slice(&t->binding, ipc_bytes(msg, FIELD_BINDING));
	later_init(&t->later, QUESTIONS, look, t);
	LIST_INSERT_HEAD(&talks, t, next);
	count++;
	ipc_set_arg(peer->ipc, msg->id, false, t);
	if (relay == NULL)
		done(t, RESULT_NOT_FOUND, NULL);
	else
		look(t);
}

static void go_on(struct talk *t, struct slice challenge)
{
	struct buf out = BUF_SECRET(SASL_CLIENT_MESSAGE_MAX);
	int r = t->has_begun ? sasl_client_step(&t->client, challenge, &out) : ERR_STATE;

	if (r == 0 && t->client.is_proved)
		done(t, RESULT_OK, NULL);
	else if (r == 0)
		say(t, &out);
	else if (r == ERR_DENIED)
		done(t, RESULT_FAILED, "the host does not prove that it knows the password");
	else
		done(t, RESULT_FAILED, "the host breaks the rules of the mechanism");
	buf_clear(&out);
}

void relay_msg(struct server_peer *peer, struct ipc_msg *msg, const struct relay *relay)
{
	struct talk *t = msg->arg;

	if (msg->type == PROTO_RELAY_AUTH)
		begin_talk(peer, msg, relay);
	else if (t != NULL && msg->type == PROTO_RELAY_CHALLENGE)
		go_on(t, ipc_bytes(msg, FIELD_SECRET));
	else if (t != NULL)
		talk_free(t);
}

void relay_peer_gone(struct server_peer *peer)
{
	struct talk *t = NULL, *next = NULL;

	LIST_FOREACH_SAFE(t, &talks, next, next)
	if (t->ipc == peer->ipc)
		talk_free(t);
}
