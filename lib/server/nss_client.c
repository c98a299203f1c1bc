/* SPDX-License-Identifier: ISC */
#include "map/map.h"
#include "server/server_priv.h"
#include "util/err.h"
#include "util/mem.h"

/*
 * The tables unix:passwd.byname and unix:group.byname of a program without files: asked of the
 * process nss. While there is none (at the start; one that died is being replaced) a question waits
 * for the next one, ABSENCE seconds at most. An answer that does not come in NSS_SECONDS, or that
 * ATTEMPTS processes died of, is a failed lookup.
 */
enum { ABSENCE = 5, NSS_SECONDS = 30, ATTEMPTS = 3 };

struct question {
	TAILQ_ENTRY(question) next;
	struct server_peer *peer; /* NULL while it waits for one; then id is not valid */
	uint64_t id;
	unsigned attempts;
	char *name, *key; /* owned; key may hold any bytes: */
	size_t key_len;
	struct later_answer *answer;
	struct loop_timer timer;
};

static TAILQ_HEAD(, question) questions = TAILQ_HEAD_INITIALIZER(questions);
static const char source; /* its address is what these answers are found by */

static void forget(struct question *q)
{
	if (q->peer != NULL)
		ipc_set_arg(q->peer->ipc, q->id, true, NULL);
	loop_timer_clear(&q->timer);
	TAILQ_REMOVE(&questions, q, next);
	mem_free(q->name);
	mem_free(q->key);
	mem_free(q);
}

static void answer(struct question *q, int result, struct slice value)
{
	struct later_answer *a = q->answer;
	forget(q);
	later_done(a, result, value);
}

static void withdrawn(void *arg)
{
	forget(arg);
}

static void timed_out(void *arg)
{
	answer(arg, ERR_TEMP, SLICE_NONE);
}

static void send_to(struct question *q, struct server_peer *peer)
{
	loop_timer_set(&q->timer, loop_now() + (peer != NULL ? NSS_SECONDS : ABSENCE) * CLOCK_SEC);
	if (peer == NULL)
		return;
	q->peer = peer;
	q->attempts++;
	q->id = ipc_ask(peer->ipc);
	ipc_begin(peer->ipc, PROTO_NSS_LOOKUP, q->id);
	ipc_put_str(peer->ipc, FIELD_NAME, q->name);
	ipc_put_bytes(peer->ipc, FIELD_KEY, slice_of(q->key, q->key_len));
	(void)ipc_end(peer->ipc);
	ipc_set_arg(peer->ipc, q->id, true, q);
}

static struct later_answer *ask(
	struct later *l, struct slice name, struct slice key, struct slice both)
{
	struct question *q = mem_alloc(sizeof(*q));
	q->answer = later_add(l, &source, both, withdrawn, q);
	if (q->answer == NULL) {
		mem_free(q);
		return NULL;
	}
	q->name = slice_dup(name);
	q->key = slice_dup(key);
	q->key_len = key.len;
	loop_timer_init(&q->timer, timed_out, q);
	TAILQ_INSERT_TAIL(&questions, q, next);
	send_to(q, TAILQ_FIRST(server_peers(ROLE_NSS)));
	return q->answer;
}

int server_ask_nss(const char *spec, struct slice key, struct later *l, struct buf *value)
{
	struct slice found, name = slice_from(slice_str(spec), strlen("unix:"));
	struct buf both = BUF_INIT(MAP_KEY_LIMIT + 64);
	int r = ERR_TEMP;
	if (l == NULL)
		return ERR_TEMP;
	buf_add_fmt(&both, "%s ", spec);
	buf_add_slice(&both, key);
	struct later_answer *a = later_find(l, &source, buf_slice(&both));
	if (a == NULL)
		a = ask(l, name, key, buf_slice(&both));
	if (a != NULL && !later_is_done(a))
		r = ERR_LATER;
	else if (a != NULL)
		r = later_result(a, &found);
	if (a != NULL && r == 0)
		r = buf_add_slice(value, found) == 0 ? 0 : ERR_TEMP;
	buf_clear(&both);
	return r;
}

void server_nss_msg(struct ipc_msg *msg)
{
	uint64_t result = ipc_u64(msg, FIELD_RESULT);
	if (msg->type == PROTO_NSS_ANSWER && msg->arg != NULL)
		answer(msg->arg,
			result == 0   ? 0
			: result == 1 ? ERR_NOT_FOUND
				      : ERR_TEMP,
			ipc_bytes(msg, FIELD_VALUE));
}

void server_nss_new(struct server_peer *peer)
{
	struct question *q;
	TAILQ_FOREACH(q, &questions, next)
	if (q->peer == NULL)
		send_to(q, peer);
}

void server_nss_gone(const struct server_peer *peer)
{
	struct question *q, *next;
	TAILQ_FOREACH_SAFE(q, &questions, next, next)
	if (q->peer == peer && q->attempts < ATTEMPTS) {
		ipc_set_arg(q->peer->ipc, q->id, true, NULL);
		q->peer = NULL;
		send_to(q, TAILQ_FIRST(server_peers(ROLE_NSS)));
	} else if (q->peer == peer) {
		answer(q, ERR_TEMP, SLICE_NONE);
		/* Who was woken may have withdrawn others: begin again. */
		next = TAILQ_FIRST(&questions);
	}
}
