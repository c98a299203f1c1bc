/* SPDX-License-Identifier: ISC */
/*
 * Ticket keys over hours, by a clock that is moved: vault makes one an hour, a smtpd makes tickets
 * with the newest, takes those of each key until its two hours are over, and not a second longer.
 */
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "server/server.h"
#include "t/tap.h"
#include "tls/tls_private.h"
#include "vault/arena.h"
#include "vault/ticket.h"

enum { NAME = 16, KEYS = 12, MANY_ROUNDS = 50 };

static time_t moved;

/* Both clocks, of the program and of libevent. */
int clock_gettime(clockid_t clock, struct timespec *t)
{
	int r = (int)syscall(SYS_clock_gettime, clock, t);

	t->tv_sec += moved;
	return r;
}

/* vault's side; the first peer is the smtpd that is looked at. */
static struct server_peer_list peers = TAILQ_HEAD_INITIALIZER(peers);
static struct server_peer first = {.role = ROLE_SMTPD}, second = {.role = ROLE_SMTPD};

struct server_peer_list *server_peers(enum role role)
{
	is_int(role, ROLE_SMTPD, "keys are for smtpd alone");
	return &peers;
}

/* What a smtpd was told, in order. */
struct told {
	unsigned char name[KEYS][NAME];
	unsigned n;
};
static struct told told, told_second;
static const int vault, next_vault; /* their addresses stand for them */
static const void *teller = &vault;
static struct ipc *ends[2];

static void on_msg(struct ipc *c, struct ipc_msg *msg, void *arg)
{
	struct told *t = arg;
	struct slice key = ipc_bytes(msg, FIELD_TICKET_KEY);
	int64_t until = (int64_t)ipc_u64(msg, FIELD_UNTIL);

	(void)c;
	is_int(msg->type, PROTO_TLS_TICKETS, "a key");
	is_int(key.len, TICKET_KEY, "of its length");
	if (t->n < KEYS && key.len >= NAME)
		memcpy(t->name[t->n++], key.p, NAME);
	if (t == &told)
		tls_tickets_add(teller, key, until);
}

static void on_end(struct ipc *c, int err, void *arg)
{
	(void)c;
	(void)err;
	(void)arg;
}

static const struct ipc_events events = {on_msg, on_end, NULL};

static struct ipc *connect_peer(struct server_peer *peer, struct told *t)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) != 0)
		bail_out("socketpair");
	peer->ipc = ipc_new(pair[0], ROLE_VAULT, ROLE_SMTPD, &events, NULL, 0);
	TAILQ_INSERT_TAIL(&peers, peer, next);
	return ipc_new(pair[1], ROLE_SMTPD, ROLE_VAULT, &events, t, 0);
}

/* All that is due by then. The time of the loop is that of its last iteration. */
static void move_to(time_t seconds)
{
	moved = seconds;
	for (int i = 0; i < MANY_ROUNDS; i++)
		loop_once(loop_now() + CLOCK_MSEC);
}

/* What OpenSSL does with a ticket. */

static SSL *ssl;
static EVP_CIPHER_CTX *cipher;
static EVP_MAC_CTX *mac;

static bool takes(const unsigned char name[NAME])
{
	unsigned char iv[EVP_MAX_IV_LENGTH] = {0}, copy[NAME];

	memcpy(copy, name, NAME);
	return tls_ticket_key(ssl, copy, iv, cipher, mac, 0) > 0;
}

/* Whether new tickets are made with it. */
static bool makes(const unsigned char name[NAME])
{
	unsigned char iv[EVP_MAX_IV_LENGTH], used[NAME] = {0};

	return tls_ticket_key(ssl, used, iv, cipher, mac, 1) == 1 && memcmp(used, name, NAME) == 0;
}

static void test_hours(void)
{
	static const struct {
		time_t at;
		unsigned told;   /* keys until then */
		unsigned made;   /* which one new tickets have; the first is 0 */
		unsigned oldest; /* whose tickets are taken */
	} rows[] = {
		{0, 1, 0, 0},
		{3590, 1, 0, 0},
		{3610, 2, 1, 0},
		{7190, 2, 1, 0},
		{7210, 3, 2, 1},
		{10790, 3, 2, 1},
		{10810, 4, 3, 2},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		int at = (int)rows[i].at;

		move_to(rows[i].at);
		is_int(told.n, rows[i].told, "%d s: keys that came", at);
		ok(makes(told.name[rows[i].made]), "%d s: tickets are made with key %u", at,
			rows[i].made);
		for (unsigned k = 0; k < told.n; k++)
			is_int(takes(told.name[k]), k >= rows[i].oldest, "%d s: of key %u", at, k);
	}
}

/* A smtpd that begins later is told those that are good. */
static void test_newcomer(void)
{
	ends[1] = connect_peer(&second, &told_second);
	ticket_peer_new(&second);
	move_to(10820);
	is_int(told_second.n, 2, "two keys");
	ok(memcmp(told_second.name[0], told.name[2], NAME) == 0, "the older first");
	ok(memcmp(told_second.name[1], told.name[3], NAME) == 0, "then the newest");
}

/* vault ends; the next one has keys of its own, and the old ones have their time. */
static void test_restart(void)
{
	size_t used = arena_used();

	tls_tickets_orphan(teller);
	ok(takes(told.name[3]) && makes(told.name[3]), "without a vault all is as it was");
	teller = &next_vault;
	ticket_start();
	is_int(arena_used(), used, "no more keys are kept than two");
	move_to(10830);
	is_int(told.n, 5, "the next vault's key");
	ok(makes(told.name[4]), "is used at once");
	ok(takes(told.name[2]) && takes(told.name[3]), "tickets of before are taken");
	move_to(14410);
	ok(!takes(told.name[2]) && takes(told.name[3]), "each for its own time");
	move_to(18010);
	ok(!takes(told.name[3]) && takes(told.name[4]), "and then no longer");
}

/* A machine that was suspended. */
static void test_night(void)
{
	unsigned n = told.n;

	moved += 12L * 3600;
	for (unsigned k = 0; k < n; k++)
		ok(!takes(told.name[k]), "overnight: key %u is forgotten", k);
	ok(!tls_tickets_any(), "there is none");
	move_to(moved);
	is_int(told.n, n + 1, "one comes");
	ok(makes(told.name[n]) && takes(told.name[n]), "and is used");
}

int main(void)
{
	SSL_CTX *ctx = NULL;
	EVP_MAC *hmac = NULL;

	arena_use();
	(void)arena_open();
	loop_init();
	(void)tls_tickets_init();
	ctx = SSL_CTX_new(TLS_server_method());
	ssl = SSL_new(ctx);
	hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	mac = EVP_MAC_CTX_new(hmac);
	cipher = EVP_CIPHER_CTX_new();
	ends[0] = connect_peer(&first, &told);
	ticket_start();
	test_hours();
	test_newcomer();
	test_restart();
	test_night();
	for (int i = 0; i < 2; i++)
		ipc_free(&ends[i]);
	ipc_free(&first.ipc);
	ipc_free(&second.ipc);
	EVP_CIPHER_CTX_free(cipher);
	EVP_MAC_CTX_free(mac);
	EVP_MAC_free(hmac);
	SSL_free(ssl);
	SSL_CTX_free(ctx);
	return done_testing();
}
