/* SPDX-License-Identifier: ISC */
#include "resolver/engine.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <sys/socket.h>

#include "dns/cache.h"
#include "net/addr.h"
#include "net/stream.h"
#include "util/dict.h"
#include "util/err.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/mem.h"
#include "util/wire.h"

/*
 * A query's life:
 *
 *   WAITING ──room──► UDP ──truncated, case lost, use-vc──► TCP
 *                      │ ▲                                   │
 *     answer: done ◄───┤ └── next try, other server ◄────────┤──► answer: done
 *                      └── refused by all: PAUSE, then UDP ◄─┘
 *   out of tries or time: done with TEMP
 */
enum state { WAITING, UDP, TCP, PAUSE };

struct query {
	TAILQ_ENTRY(query) link; /* in engine.waiting, while WAITING */
	struct engine *engine;
	struct dns_question asked; /* what the askers want */
	struct dns_question now;   /* the same, or where its aliases have led */
	unsigned aliases;
	bool secure;  /* these aliases are */
	uint32_t ttl; /* of them */
	enum state state;
	unsigned tries, server, refused;
	bool no_edns;
	int64_t deadline; /* of all tries */
	int fd;
	struct loop_watch *watch;
	struct stream *stream;
	struct loop_timer timer;
	struct buf sent; /* the packet as it was sent */
	struct engine_ask *asks;
	struct slice key; /* owned */
};

TAILQ_HEAD(query_list, query);

struct engine {
	struct resolvconf rc;
	unsigned good; /* index of the server that answered last */
	struct dns_cache *cache;
	struct dict *queries; /* by key */
	struct query_list waiting;
	unsigned sent;
	int64_t time_limit;
	bool has_validated;
	bool warned; /* that no server answers; once until one does */
};

enum { REFUSED_PAUSE = 200 * 1000 };

static void query_send(struct query *q);
static void query_next(struct query *q);

static struct slice key_make(const struct dns_question *q, char key[static DNS_NAME_MAX + 3])
{
	size_t len = strlen(q->name);
	wire_put_u16(key, (uint16_t)q->type);
	memcpy(key + 2, q->name, len);
	return slice_of(key, len + 2);
}

struct engine *engine_new(size_t cache, int64_t time_limit)
{
	struct engine *e = mem_alloc(sizeof(*e));
	e->cache = dns_cache_new(cache);
	e->time_limit = time_limit;
	e->queries = dict_new(ENGINE_WAITING_MAX, NULL);
	TAILQ_INIT(&e->waiting);
	resolvconf_parse(SLICE_NONE, &e->rc);
	return e;
}

static void try_end(struct query *q)
{
	loop_watch_free(&q->watch);
	fd_close(&q->fd);
	stream_free(&q->stream);
	loop_timer_set(&q->timer, CLOCK_NEVER);
}

static void query_free(struct query *q)
{
	struct engine *e = q->engine;
	try_end(q);
	loop_timer_clear(&q->timer);
	if (q->state == WAITING) {
		TAILQ_REMOVE(&e->waiting, q, link);
	} else {
		e->sent--;
	}
	(void)dict_take(e->queries, q->key);
	buf_clear(&q->sent);
	mem_free((void *)(uintptr_t)q->key.p);
	mem_free(q);
}

static bool free_visit(struct slice key, void *value, void *arg)
{
	struct query *q = value;
	while (q->asks != NULL) {
		engine_cancel(q->asks);
	}
	query_free(q);
	return true;
}

void engine_free(struct engine **e)
{
	if (*e != NULL) {
		dict_walk((*e)->queries, free_visit, NULL);
		dict_free(&(*e)->queries);
		dns_cache_free(&(*e)->cache);
		mem_free(*e);
		*e = NULL;
	}
}

static bool same_servers(const struct resolvconf *a, const struct resolvconf *b)
{
	if (a->servers != b->servers) {
		return false;
	}
	for (unsigned i = 0; i < a->servers; i++) {
		if (a->server[i].len != b->server[i].len ||
			memcmp(&a->server[i].addr, &b->server[i].addr, a->server[i].len) != 0) {
			return false;
		}
	}
	return true;
}

bool engine_configure(struct engine *e, const struct resolvconf *rc)
{
	bool changed = !same_servers(&e->rc, rc) || e->rc.trust_ad != rc->trust_ad;
	if (changed) {
		dns_cache_empty(e->cache);
		e->good = 0;
		e->has_validated = false;
	}
	e->rc = *rc;
	e->warned = false;
	return changed;
}

static void start_waiting(struct engine *e)
{
	while (e->sent < ENGINE_SENT_MAX && !TAILQ_EMPTY(&e->waiting)) {
		struct query *q = TAILQ_FIRST(&e->waiting);
		TAILQ_REMOVE(&e->waiting, q, link);
		q->state = PAUSE;
		e->sent++;
		query_send(q);
	}
}

/* Ends a query: its askers are told one by one; each may ask again, or withdraw others. */
static void query_done(struct query *q, struct slice answer)
{
	struct engine *e = q->engine;
	struct engine_ask *asks = q->asks;
	q->asks = NULL;
	if (asks != NULL) {
		asks->prev = &asks;
	}
	dns_cache_add(e->cache, &q->asked, answer, loop_now());
	query_free(q);
	while (asks != NULL) {
		struct engine_ask *ask = asks;
		engine_cancel(ask);
		ask->done(ask->arg, answer);
	}
	start_waiting(e);
}

static void query_fail(struct query *q)
{
	struct engine *e = q->engine;
	struct buf answer = BUF_INIT(DNS_ANSWER_MAX);
	if (!e->warned && q->refused + 1 >= q->tries) {
		e->warned = true;
		log_warning("no name server answers (%s%s)", e->rc.server[0].text,
			e->rc.servers > 1 ? ", …" : "");
	}
	dns_answer_begin(&answer, DNS_TEMP, false, 0, slice_str(q->now.name));
	query_done(q, buf_slice(&answer));
	buf_clear(&answer);
}

static bool is_secure(struct slice encoded)
{
	struct dns_answer a;
	return dns_answer_parse(encoded, &a) == 0 && a.secure;
}

bool engine_has_validated(const struct engine *e)
{
	return e->has_validated;
}

bool engine_is_trusted(const struct engine *e)
{
	return e->rc.trust_ad;
}

const char *engine_search(const struct engine *e, unsigned i)
{
	return i < e->rc.searches ? e->rc.search[i] : NULL;
}

/* A whole reply that belongs to this query. */
static void query_reply(struct query *q, struct slice reply)
{
	struct engine *e = q->engine;
	struct buf answer = BUF_INIT(DNS_ANSWER_MAX + 512);
	struct dns_follow follow;
	int r = dns_packet_parse(reply, &q->now, &answer, &follow);
	if (r == 0) {
		e->good = q->server;
		e->warned = false;
		/* The servers may have been replaced while this was under way. */
		dns_answer_weaken(&answer, q->secure && e->rc.trust_ad, q->ttl);
		e->has_validated = e->has_validated || is_secure(buf_slice(&answer));
		query_done(q, buf_slice(&answer));
	} else if (r == ERR_AGAIN && q->aliases < DNS_CNAME_LIMIT) {
		q->now = follow.to;
		q->secure = q->secure && follow.secure;
		q->ttl = follow.ttl < q->ttl ? follow.ttl : q->ttl;
		q->aliases++;
		query_send(q);
	} else if (r == ERR_AGAIN) {
		dns_answer_begin(&answer, DNS_BAD, false, 0, SLICE_NONE);
		query_done(q, buf_slice(&answer));
	} else if (r == ERR_STATE && !q->no_edns) {
		q->no_edns = true;
		query_send(q);
	} else {
		query_next(q);
	}
	buf_clear(&answer);
}

static void tcp_input(struct stream *s, void *arg)
{
	struct query *q = arg;
	struct slice in = stream_input(s);
	if (in.len < 2) {
		return;
	}
	size_t len = (size_t)(unsigned char)in.p[0] << 8 | (unsigned char)in.p[1];
	if (in.len < 2 + len) {
		return;
	}
	struct slice reply = slice_first(slice_from(in, 2), len);
	if (dns_packet_check(buf_slice(&q->sent), reply, true) != 0) {
		query_next(q);
		return;
	}
	/* The stream goes away while the reply is read: a copy outlives it. */
	char *copy = mem_dup(reply.p, reply.len);
	query_reply(q, slice_of(copy, reply.len));
	mem_free(copy);
}

static void tcp_end(struct stream *s, int err, void *arg)
{
	query_next(arg);
}

/* In the first round what is left of the time is shared, so that each server has its turn. */
static int64_t try_deadline(const struct query *q)
{
	const struct resolvconf *rc = &q->engine->rc;
	int64_t left = q->deadline - loop_now(), limit = rc->timeout * CLOCK_SEC;
	int64_t share = q->tries < rc->servers ? left / (rc->servers - q->tries) : left;
	return loop_now() + (share < limit ? share : limit);
}

static void send_tcp(struct query *q)
{
	static const struct stream_events events = {.on_input = tcp_input, .on_end = tcp_end};
	const struct resolvconf_server *server = &q->engine->rc.server[q->server];
	struct net_addr to = {.ss = server->addr, .len = server->len};
	uint8_t head[2] = {(uint8_t)(q->sent.len >> 8), (uint8_t)q->sent.len};
	int fd = -1;
	try_end(q);
	q->state = TCP;
	if (net_connect(&to, NULL, &fd) != 0) {
		query_next(q);
		return;
	}
	q->stream = stream_new(fd, &events, q, DNS_PACKET_MAX + 2, DNS_QUERY_MAX + 2);
	(void)stream_write(q->stream, head, sizeof(head));
	(void)stream_write_slice(q->stream, buf_slice(&q->sent));
	stream_deadline(q->stream, try_deadline(q));
	stream_read(q->stream, true);
}

static void udp_ready(int what, void *arg)
{
	struct query *q = arg;
	char packet[DNS_UDP_MAX * 4];
	ssize_t n = recv(q->fd, packet, sizeof(packet), MSG_DONTWAIT);
	if (n < 0) {
		if (errno == EAGAIN || errno == EINTR) {
			return;
		}
		q->refused++;
		query_next(q);
		return;
	}
	struct slice reply = slice_of(packet, (size_t)n);
	switch (dns_packet_check(buf_slice(&q->sent), reply, false)) {
	case 0: query_reply(q, reply); return;
	case ERR_AGAIN: send_tcp(q); return;
	default: return; /* not ours: a guess, or a late reply */
	}
}

static int udp_open(const struct resolvconf_server *server, int *fd)
{
	*fd = socket(server->addr.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (*fd < 0) {
		return ERR_SYS;
	}
	/* Connected, so that the kernel gives a random port and drops what others send to it. */
	if (connect(*fd, (const struct sockaddr *)&server->addr, server->len) != 0) {
		fd_close(fd);
		return ERR_SYS;
	}
	return 0;
}

static void timed_out(void *arg)
{
	struct query *q = arg;
	if (q->state == PAUSE) {
		query_send(q);
	} else {
		query_next(q);
	}
}

/* One try with the server of the turn. */
static void query_send(struct query *q)
{
	struct engine *e = q->engine;
	unsigned flags = DNS_QUERY_MIXED | (q->no_edns ? 0 : DNS_QUERY_EDNS);
	try_end(q);
	if (dns_packet_query(&q->sent, &q->now, (uint16_t)arc4random(), flags) != 0) {
		query_fail(q);
		return;
	}
	if (q->server >= e->rc.servers) {
		q->server = 0;
	}
	if (e->rc.tcp) {
		send_tcp(q);
		return;
	}
	q->state = UDP;
	if (udp_open(&e->rc.server[q->server], &q->fd) != 0 ||
		send(q->fd, buf_str(&q->sent), q->sent.len, MSG_NOSIGNAL) < 0) {
		q->refused++;
		query_next(q);
		return;
	}
	q->watch = loop_watch_new(q->fd, udp_ready, q);
	loop_watch_set(q->watch, LOOP_READ);
	loop_timer_set(&q->timer, try_deadline(q));
}

/* The try has failed: the next server, or the end. Never recurses deeper than one pause. */
static void query_next(struct query *q)
{
	const struct resolvconf *rc = &q->engine->rc;
	try_end(q);
	q->tries++;
	q->server = (q->server + 1) % rc->servers;
	bool only_refused = q->refused == q->tries;
	bool out_of_tries = q->tries >= rc->servers * rc->attempts;
	if (loop_now() >= q->deadline || (out_of_tries && !only_refused)) {
		query_fail(q);
		return;
	}
	q->state = PAUSE;
	bool round_done = q->tries % rc->servers == 0;
	loop_timer_set(&q->timer, loop_now() + (only_refused && round_done ? REFUSED_PAUSE : 0));
}

static struct query *query_new(
	struct engine *e, const struct dns_question *question, struct slice key)
{
	struct query *q = mem_alloc(sizeof(*q));
	q->engine = e;
	q->asked = q->now = *question;
	q->fd = -1;
	q->secure = e->rc.trust_ad;
	q->ttl = DNS_TTL_MAX;
	q->server = e->rc.rotate ? arc4random_uniform(e->rc.servers) : e->good;
	q->deadline = loop_now() + e->time_limit;
	q->key = slice_of(mem_dup(key.p, key.len), key.len);
	q->sent = BUF_INIT(DNS_QUERY_MAX);
	loop_timer_init(&q->timer, timed_out, q);
	return q;
}

static void add_ask(struct query *q, struct engine_ask *ask)
{
	ask->next = q->asks;
	ask->prev = &q->asks;
	if (ask->next != NULL) {
		ask->next->prev = &ask->next;
	}
	q->asks = ask;
}

void engine_ask(struct engine *e, const struct dns_question *question, struct engine_ask *ask)
{
	char bytes[DNS_NAME_MAX + 3];
	struct slice key = key_make(question, bytes);
	struct buf answer = BUF_INIT(DNS_ANSWER_MAX + 512);
	ask->prev = NULL;
	struct query *q = dict_get(e->queries, key);
	if (q != NULL) {
		add_ask(q, ask);
		return;
	}
	bool known = dns_cache_get(e->cache, question, loop_now(), &answer) == 0;
	if (!known && dict_count(e->queries) >= ENGINE_WAITING_MAX) {
		dns_answer_begin(&answer, DNS_TEMP, false, 0, slice_str(question->name));
		known = true;
	}
	if (known) {
		ask->done(ask->arg, buf_slice(&answer));
		buf_clear(&answer);
		return;
	}
	q = query_new(e, question, key);
	(void)dict_set(e->queries, q->key, q);
	add_ask(q, ask);
	TAILQ_INSERT_TAIL(&e->waiting, q, link);
	start_waiting(e);
}

void engine_cancel(struct engine_ask *ask)
{
	if (ask->prev != NULL) {
		*ask->prev = ask->next;
		if (ask->next != NULL) {
			ask->next->prev = ask->prev;
		}
		ask->prev = NULL;
	}
}
