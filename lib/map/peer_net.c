/* SPDX-License-Identifier: ISC */
#include "map/peer.h"
#include "net/pool.h"
#include "util/dict.h"
#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"

/* How tables over sockets are reached: a pool of connections for each service. */
enum {
	SERVICES_LIMIT = 1000,
	CONNECTIONS = 20,
	WAITING = 1000,
	TRIES = 2,
	TIMEOUT_SEC = 30,
	IDLE_SEC = 10,
	TTL_SEC = 100,
	REPLY_LIMIT = 3 * MAP_VALUE_LIMIT + 100,
	LENGTH_DIGITS = 9
};

static struct dict *pools; /* by service → struct pool */

/* LENGTH:BYTES, */
static ptrdiff_t netstring_frame(struct slice in)
{
	size_t digits = 0;
	uint64_t length;
	while (digits < in.len && in.p[digits] >= '0' && in.p[digits] <= '9')
		digits++;
	if (digits == in.len && digits < LENGTH_DIGITS)
		return 0;
	if (digits == in.len || in.p[digits] != ':' ||
		slice_u64(slice_first(in, digits), 0, REPLY_LIMIT, &length) != 0)
		return ERR_SYNTAX;
	size_t whole = digits + 1 + (size_t)length + 1;
	if (in.len < whole)
		return 0;
	return in.p[whole - 1] == ',' ? (ptrdiff_t)whole : ERR_SYNTAX;
}

static ptrdiff_t line_frame(struct slice in)
{
	return slice_find(in, '\n') + 1;
}

static struct slice without_frame(enum peer_protocol protocol, struct slice reply)
{
	if (protocol == PEER_TCP)
		return slice_first(reply, reply.len - 1);
	size_t colon = (size_t)slice_find(reply, ':');
	return slice_of(reply.p + colon + 1, reply.len - colon - 2);
}

static struct pool *pool_of(const struct map_peer *peer)
{
	struct pool_spec spec = {
		.name = peer->service,
		.limit = CONNECTIONS,
		.waiting = WAITING,
		.tries = TRIES,
		.timeout = TIMEOUT_SEC * CLOCK_SEC,
		.idle = IDLE_SEC * CLOCK_SEC,
		.ttl = TTL_SEC * CLOCK_SEC,
		.reply_limit = REPLY_LIMIT,
		.frame = peer->protocol == PEER_TCP ? line_frame : netstring_frame,
	};
	struct pool *p = dict_get(pools, slice_str(peer->service));
	if (p == NULL) {
		p = pool_new(&spec);
		if (dict_set(pools, slice_str(peer->service), p) != 0)
			pool_free(&p);
	}
	return p;
}

/* One question under way. */
struct question {
	struct later_answer *answer;
	struct pool_request *request;
	const struct map_peer *peer;
};

static void answered(void *arg, int err, struct slice reply)
{
	struct question *q = arg;
	const struct map_peer *peer = q->peer;
	struct later_answer *a = q->answer;
	mem_free(q);
	if (err != 0)
		log_warning("table %s: %s", peer->spec,
			err == ERR_CLOSED ? "cannot connect, or connection lost" : err_str(err));
	later_done(a, err == 0 ? 0 : ERR_TEMP,
		err == 0 ? without_frame(peer->protocol, reply) : SLICE_NONE);
}

static void withdrawn(void *arg)
{
	struct question *q = arg;
	pool_cancel(&q->request);
	mem_free(q);
}

static struct later_answer *begin(
	const struct map_peer *peer, struct slice request, struct later *l)
{
	struct pool *pool = pool_of(peer);
	struct question *q = mem_alloc(sizeof(*q));
	q->peer = peer;
	q->answer = pool != NULL ? later_add(l, peer, request, withdrawn, q) : NULL;
	if (q->answer == NULL) {
		mem_free(q);
		return NULL;
	}
	q->request = pool_ask(pool, request, answered, q);
	return q->answer;
}

static int ask(
	const struct map_peer *peer, struct slice request, struct later *l, struct buf *reply)
{
	struct slice bytes;
	if (l == NULL)
		return ERR_TEMP;
	struct later_answer *a = later_find(l, peer, request);
	if (a == NULL)
		a = begin(peer, request, l);
	if (a == NULL)
		return ERR_TEMP;
	if (!later_is_done(a))
		return ERR_LATER;
	int r = later_result(a, &bytes);
	return r == 0 ? buf_add_slice(reply, bytes) : r;
}

void map_peers_init(void)
{
	if (pools == NULL)
		pools = dict_new(SERVICES_LIMIT, NULL);
	map_peer_ask = ask;
}
