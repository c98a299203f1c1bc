/* SPDX-License-Identifier: ISC */
#include "map/nss.h"
#include "server/server.h"
#include "util/clock.h"
#include "util/dict.h"
#include "util/err.h"
#include "util/mem.h"

/*
 * nss: answers unix:passwd.byname and unix:group.byname for processes that cannot open a file. What
 * was found is kept for a moment; "not found" never, so that a new user has mail at once.
 */
enum { CACHE_MAX = 10000, CACHE_SECONDS = 10, VALUE_MAX = 60000 };

struct answer {
	int64_t until;
	char *value; /* owned */
};

static struct dict *cache; /* "passwd.byname KEY" */

static void answer_free(void *arg)
{
	struct answer *a = arg;
	mem_free(a->value);
	mem_free(a);
}

static void keep(struct slice question, const char *value)
{
	struct answer *a = mem_alloc(sizeof(*a));
	*a = (struct answer){loop_now() + CACHE_SECONDS * CLOCK_SEC, mem_str(value)};
	if (dict_count(cache) >= CACHE_MAX) {
		dict_free(&cache);
		cache = dict_new(CACHE_MAX, answer_free);
	}
	if (dict_set(cache, question, a) != 0)
		answer_free(a);
}

static int look_up(struct slice name, struct slice key, struct buf *value)
{
	struct buf question = BUF_INIT(4096);
	buf_add_fmt(&question, "%.*s ", SLICE_FMT(name));
	buf_add_slice(&question, key);
	const struct answer *a = dict_get(cache, buf_slice(&question));
	int r = 0;
	if (a != NULL && a->until > loop_now()) {
		buf_add_str(value, a->value);
	} else {
		r = map_nss_find(name, key, value);
		if (r == 0)
			keep(buf_slice(&question), buf_str(value));
	}
	buf_clear(&question);
	return r;
}

static void start(void)
{
	cache = dict_new(CACHE_MAX, answer_free);
}

static void peer_msg(struct server_peer *peer, struct ipc_msg *msg)
{
	struct buf value = BUF_INIT(VALUE_MAX);
	int r = look_up(ipc_bytes(msg, FIELD_NAME), ipc_bytes(msg, FIELD_KEY), &value);
	ipc_begin(peer->ipc, PROTO_NSS_ANSWER, msg->id);
	ipc_put_u64(peer->ipc, FIELD_RESULT, r == 0 ? 0 : r == ERR_NOT_FOUND ? 1 : 2);
	if (r == 0)
		ipc_put_bytes(peer->ipc, FIELD_VALUE, buf_slice(&value));
	(void)ipc_end(peer->ipc);
	buf_clear(&value);
}

int main(int argc, char **argv)
{
	static const struct server_spec spec = {
		.role = ROLE_NSS,
		.program = PROG_LOCAL,
		.start = start,
		.peer_msg = peer_msg,
	};
	return server_main(argc, argv, &spec);
}
