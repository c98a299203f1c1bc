/* SPDX-License-Identifier: ISC */
#include "policy/tally_client.h"
#include "server/server.h"
#include "tally/cache.h"
#include "tally/count.h"
#include "util/err.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/wire.h"

/* tally: counts for all workers of smtpd, see tally(8). */

enum { CLIENTS_MAX = 1000000, CACHE_MAX = 500000, CACHE_BYTES = 64 << 20 };

static struct count *count;
static struct cache *cache;

static void start(void)
{
	count = count_new(CLIENTS_MAX);
	cache = cache_new(CACHE_MAX, CACHE_BYTES);
}

static void peer_new(struct server_peer *peer)
{
	peer->arg = peer->role == ROLE_SMTPD ? count_owner_new(count) : NULL;
}

static void peer_gone(struct server_peer *peer)
{
	struct count_owner *o = peer->arg;

	count_owner_free(&o);
}

/* ---- connections ---- */

static void on_connect(struct server_peer *peer, struct ipc_msg *msg)
{
	uint64_t n = count_enter(
		peer->arg, ipc_bytes(msg, FIELD_SERVICE), ipc_bytes(msg, FIELD_CLIENT_ADDR));

	ipc_begin(peer->ipc, PROTO_TALLY_COUNT, msg->id);
	ipc_put_u64(peer->ipc, FIELD_COUNT, n);
	ipc_put_u64(peer->ipc, FIELD_RATE, 0);
	ipc_put_u64(peer->ipc, FIELD_FLAGS, 0);
	(void)ipc_end(peer->ipc);
}

static void on_disconnect(struct server_peer *peer, struct ipc_msg *msg)
{
	struct slice client = ipc_bytes(msg, FIELD_CLIENT_ADDR);

	if (!count_leave(peer->arg, ipc_bytes(msg, FIELD_SERVICE), client))
		log_warning("smtpd worker %llu ended a session of %s that it had not begun",
			(unsigned long long)peer->worker, log_q(client));
}

/* ---- the cache ---- */

static void keep(struct slice name, struct slice value, int64_t until)
{
	struct key k = KEY_OF('c', name);

	cache_put(cache, &k, slice_first(value, TALLY_VALUE_MAX), until);
}

static void on_cache_get(struct server_peer *peer, struct ipc_msg *msg)
{
	struct key k = KEY_OF('c', ipc_bytes(msg, FIELD_KEY));
	struct slice value;
	int64_t until = 0;
	bool found = cache_get(cache, &k, clock_real(), &value, &until);

	ipc_begin(peer->ipc, PROTO_TALLY_VALUE, msg->id);
	ipc_put_u64(peer->ipc, FIELD_RESULT, found ? RESULT_OK : RESULT_NOT_FOUND);
	if (found) {
		ipc_put_bytes(peer->ipc, FIELD_VALUE, value);
		ipc_put_u64(peer->ipc, FIELD_UNTIL, (uint64_t)until);
	}
	(void)ipc_end(peer->ipc);
}

static void on_cache_put(struct ipc_msg *msg)
{
	keep(ipc_bytes(msg, FIELD_KEY), ipc_bytes(msg, FIELD_VALUE),
		(int64_t)ipc_u64(msg, FIELD_UNTIL));
}

static void on_probe(struct ipc_msg *msg)
{
	struct buf name = BUF_INIT(TALLY_KEY_MAX), value = BUF_INIT(TALLY_VALUE_MAX);

	(void)buf_add_str(&name, TALLY_PROBE_KEY);
	(void)buf_add_lower(&name, ipc_bytes(msg, FIELD_RECIPIENT));
	wire_u8(&value, (uint8_t)ipc_u64(msg, FIELD_RESULT));
	wire_u64(&value, (uint64_t)clock_real());
	(void)buf_add_slice(&value,
		slice_first(ipc_bytes(msg, FIELD_TEXT), TALLY_VALUE_MAX - TALLY_PROBE_HEAD));
	keep(buf_slice(&name), buf_slice(&value), (int64_t)ipc_u64(msg, FIELD_UNTIL));
	buf_clear(&name);
	buf_clear(&value);
}

static void peer_msg(struct server_peer *peer, struct ipc_msg *msg)
{
	switch (msg->type) {
	case PROTO_TALLY_CONNECT: on_connect(peer, msg); break;
	case PROTO_TALLY_DISCONNECT: on_disconnect(peer, msg); break;
	case PROTO_TALLY_CACHE_GET: on_cache_get(peer, msg); break;
	case PROTO_TALLY_CACHE_PUT: on_cache_put(msg); break;
	case PROTO_PROBE_RESULT: on_probe(msg); break;
	default: break;
	}
}

static int reload(struct conf **c, struct buf *why)
{
	(void)why;
	conf_install(c);
	return 0;
}

/* Counts of living connections need no disk. */
static void data_dir(const char *name, int fd)
{
	(void)name;
	fd_close(&fd);
}

int main(int argc, char **argv)
{
	static const struct server_spec spec = {
		.role = ROLE_TALLY,
		.program = PROG_TALLY,
		.start = start,
		.data_dir = data_dir,
		.peer_new = peer_new,
		.peer_msg = peer_msg,
		.peer_gone = peer_gone,
		.reload = reload,
	};
	return server_main(argc, argv, &spec);
}
