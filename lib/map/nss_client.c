/* SPDX-License-Identifier: ISC */
#include "map/nss_client.h"

#include <sys/queue.h>

#include "map/map.h"
#include "util/err.h"
#include "util/mem.h"

/* Values of RESULT in NSS_ANSWER. */
enum { FOUND = 0, NOT_THERE = 1 };

struct question {
	LIST_ENTRY(question) link;
	struct later_answer *answer; /* NULL: withdrawn */
	struct ipc *to;              /* NULL: waits for a process */
	uint64_t id;
	struct loop_timer timer;
	struct slice name, key; /* in text */
	char text[];
};

static LIST_HEAD(, question) questions = LIST_HEAD_INITIALIZER(questions);
static struct ipc *nss;

/* Its address stands for the two tables in a struct later; name and key together are the key. */
static const char source;

static void question_free(struct question *q)
{
	if (q->to != NULL)
		ipc_set_arg(q->to, q->id, true, NULL);
	LIST_REMOVE(q, link);
	loop_timer_clear(&q->timer);
	mem_free(q);
}

static void withdrawn(void *arg)
{
	question_free(arg);
}

static void decide(struct question *q, int result, struct slice value)
{
	struct later_answer *a = q->answer;

	question_free(q);
	later_done(a, result, value);
}

static void too_late(void *arg)
{
	decide(arg, ERR_TEMP, SLICE_NONE);
}

static void send_question(struct question *q)
{
	if (nss == NULL)
		return;
	q->to = nss;
	q->id = ipc_ask(nss);
	ipc_begin(nss, PROTO_NSS_LOOKUP, q->id);
	ipc_put_text(nss, FIELD_NAME, q->name);
	ipc_put_bytes(nss, FIELD_KEY, q->key);
	if (ipc_end(nss) == 0)
		ipc_set_arg(nss, q->id, true, q);
	else
		q->to = NULL;
}

/* "passwd.byname", a NUL, the user. */
static struct question *question_new(struct later *l, struct slice name, struct slice key)
{
	size_t len = name.len + 1 + key.len;
	struct question *q = mem_alloc(sizeof(*q) + len);

	memcpy(q->text, name.p, name.len);
	memcpy(q->text + name.len + 1, key.p, key.len);
	q->name = slice_of(q->text, name.len);
	q->key = slice_of(q->text + name.len + 1, key.len);
	q->answer = later_add(l, &source, slice_of(q->text, len), withdrawn, q);
	if (q->answer == NULL) {
		mem_free(q);
		return NULL;
	}
	LIST_INSERT_HEAD(&questions, q, link);
	loop_timer_init(&q->timer, too_late, q);
	loop_timer_set(&q->timer, loop_now() + NSS_WAIT_SEC * CLOCK_SEC);
	return q;
}

static struct later_answer *find_answer(struct later *l, struct slice name, struct slice key)
{
	char text[MAP_KEY_LIMIT + 64] = "";

	memcpy(text, name.p, name.len);
	memcpy(text + name.len + 1, key.p, key.len);
	return later_find(l, &source, slice_of(text, name.len + 1 + key.len));
}

static int ask(const char *spec, struct slice key, struct later *l, struct buf *value)
{
	struct slice name = slice_str(spec), text;
	struct later_answer *a = NULL;

	if (slice_starts(name, "unix:"))
		name = slice_from(name, 5);
	if (l == NULL || key.len == 0 || key.len > MAP_KEY_LIMIT || name.len > 32)
		return key.len == 0 ? ERR_NOT_FOUND : ERR_TEMP;
	/* A user's name holds no NUL; NSS would see the part before it. */
	if (memchr(key.p, '\0', key.len) != NULL)
		return ERR_NOT_FOUND;
	a = find_answer(l, name, key);
	if (a == NULL) {
		struct question *q = question_new(l, name, key);
		if (q == NULL)
			return ERR_TEMP;
		send_question(q);
		return ERR_LATER;
	}
	if (!later_is_done(a))
		return ERR_LATER;
	int result = later_result(a, &text);
	if (result == 0 && buf_add_slice(value, text) != 0)
		result = ERR_TEMP;
	return result;
}

void nss_client_init(void)
{
	map_set_asker(ask);
}

void nss_client_add(struct ipc *c)
{
	struct question *q;

	nss = c;
	LIST_FOREACH(q, &questions, link)
	if (q->to == NULL)
		send_question(q);
}

void nss_client_msg(struct ipc *c, struct ipc_msg *msg)
{
	struct question *q = msg->arg;
	uint64_t result = ipc_u64(msg, FIELD_RESULT);

	(void)c;
	if (msg->type != PROTO_NSS_ANSWER || q == NULL)
		return;
	q->to = NULL;
	if (result == FOUND)
		decide(q, 0, ipc_bytes(msg, FIELD_VALUE));
	else
		decide(q, result == NOT_THERE ? ERR_NOT_FOUND : ERR_TEMP, SLICE_NONE);
}

void nss_client_remove(struct ipc *c)
{
	struct question *q;

	if (nss == c)
		nss = NULL;
	LIST_FOREACH(q, &questions, link)
	{
		if (q->to == c) {
			q->to = NULL;
			send_question(q);
		}
	}
}
