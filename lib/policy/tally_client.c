/* SPDX-License-Identifier: ISC */
#include "policy/tally_client.h"

#include <sys/queue.h>

#include "net/loop.h"
#include "policy/known_bans.h"
#include "util/err.h"
#include "util/mem.h"

/*
 * A question waits for its answer, or for its timer. One that nobody could be asked has a timer
 * alone, which fires at once.
 */
struct tally_question {
	struct loop_timer timer;
	tally_answer *answer;
	void *arg;
	uint64_t id; /* 0: not with tally */
	LIST_ENTRY(tally_question) link;
};

/* Open sessions in one list. */
struct tally_session {
	LIST_ENTRY(tally_session) link;
	struct tally_question *question;
	tally_answer *answer;
	void *arg;
	uint64_t rate_limit;
	size_t service_len, addr_len;
	char text[]; /* service, address */
};

static struct {
	LIST_HEAD(, tally_session) sessions;
	LIST_HEAD(, tally_question) questions;
	struct ipc *tally;       /* NULL: away */
	struct known_bans *bans; /* NULL: there was none yet */
	void (*begun)(void);
	struct loop_task begun_task; /* many bans may come at once */
	bool knows_all;
} client;

bool tally_client_is_there(void)
{
	return client.tally != NULL;
}

/* ---- questions ---- */

static void question_free(struct tally_question *q)
{
	if (q->id != 0 && client.tally != NULL)
		ipc_set_arg(client.tally, q->id, true, NULL);
	LIST_REMOVE(q, link);
	loop_timer_clear(&q->timer);
	mem_free(q);
}

static void tell(struct tally_question *q, const struct tally_reply *r)
{
	tally_answer *answer = q->answer;
	void *arg = q->arg;

	question_free(q);
	answer(arg, r);
}

static void timed_out(void *arg)
{
	static const struct tally_reply unknown;

	tell(arg, &unknown);
}

static struct tally_question *question_new(tally_answer *answer, void *arg)
{
	struct tally_question *q = mem_alloc(sizeof(*q));

	q->answer = answer;
	q->arg = arg;
	loop_timer_init(&q->timer, timed_out, q);
	LIST_INSERT_HEAD(&client.questions, q, link);
	return q;
}

void tally_cancel(struct tally_question **qp)
{
	struct tally_question *q = *qp;

	*qp = NULL;
	if (q != NULL)
		question_free(q);
}

/* Fields follow, then question_send. False: there is no tally. */
static bool question_begin(struct tally_question *q, enum proto_msg type)
{
	if (client.tally == NULL)
		return false;
	q->id = ipc_ask(client.tally);
	ipc_begin(client.tally, type, q->id);
	return true;
}

/* Without tally there is nothing to wait for, but the answer still comes from the loop. */
static struct tally_question *question_send(struct tally_question *q)
{
	if (q->id != 0 && ipc_end(client.tally) == 0)
		ipc_set_arg(client.tally, q->id, true, q);
	else
		q->id = 0;
	loop_timer_set(&q->timer, loop_now() + (q->id != 0 ? TALLY_WAIT : 0));
	return q;
}

static bool event_begin(enum proto_msg type)
{
	if (client.tally != NULL)
		ipc_begin(client.tally, type, 0);
	return client.tally != NULL;
}

/* ---- sessions ---- */

static struct slice service_of(const struct tally_session *t)
{
	return slice_of(t->text, t->service_len);
}

static struct slice addr_of(const struct tally_session *t)
{
	return slice_of(t->text + t->service_len, t->addr_len);
}

static void registered(void *arg, const struct tally_reply *r)
{
	struct tally_session *t = arg;
	tally_answer *answer = t->answer;

	t->question = NULL;
	t->answer = NULL;
	if (answer != NULL)
		answer(t->arg, r);
}

static void announce(struct tally_session *t, bool again)
{
	t->question = question_new(registered, t);
	if (question_begin(t->question, PROTO_TALLY_CONNECT)) {
		ipc_put_text(client.tally, FIELD_SERVICE, service_of(t));
		ipc_put_text(client.tally, FIELD_CLIENT_ADDR, addr_of(t));
		ipc_put_u64(client.tally, FIELD_FLAGS, again ? 1 : 0);
		if (t->rate_limit > 0)
			ipc_put_u64(client.tally, FIELD_LIMIT, t->rate_limit);
	}
	question_send(t->question);
}

struct tally_session *tally_enter(struct slice service, struct slice client_addr,
	uint64_t rate_limit, tally_answer *answer, void *arg)
{
	struct tally_session *t = mem_alloc(sizeof(*t) + service.len + client_addr.len);

	memcpy(t->text, service.p, service.len);
	memcpy(t->text + service.len, client_addr.p, client_addr.len);
	t->service_len = service.len;
	t->addr_len = client_addr.len;
	t->rate_limit = rate_limit;
	t->answer = answer;
	t->arg = arg;
	LIST_INSERT_HEAD(&client.sessions, t, link);
	announce(t, false);
	return t;
}

void tally_leave(struct tally_session **tp)
{
	struct tally_session *t = *tp;

	*tp = NULL;
	if (t == NULL)
		return;
	tally_cancel(&t->question);
	if (event_begin(PROTO_TALLY_DISCONNECT)) {
		ipc_put_text(client.tally, FIELD_SERVICE, service_of(t));
		ipc_put_text(client.tally, FIELD_CLIENT_ADDR, addr_of(t));
		(void)ipc_end(client.tally);
	}
	LIST_REMOVE(t, link);
	mem_free(t);
}

/* ---- the peer ---- */

void tally_client_add(struct ipc *c)
{
	struct tally_session *t;

	client.tally = c;
	LIST_FOREACH(t, &client.sessions, link)
	{
		bool is_new = t->question != NULL;

		tally_cancel(&t->question);
		announce(t, !is_new);
	}
}

/* Whoever has asked it is answered at once. */
void tally_client_remove(struct ipc *c)
{
	struct tally_question *q;

	if (client.tally != c)
		return;
	client.tally = NULL;
	LIST_FOREACH(q, &client.questions, link)
	{
		q->id = 0;
		loop_timer_set(&q->timer, loop_now());
	}
}

static void take_bans(struct slice entries, uint64_t flags)
{
	if (client.bans == NULL)
		client.bans = known_bans_new();
	if (known_bans_take(client.bans, entries, (flags & 1) != 0, (flags & 2) != 0) &&
		client.begun != NULL)
		loop_soon(&client.begun_task);
	client.knows_all = client.knows_all || (flags & 2) != 0;
}

bool tally_knows_bans(void)
{
	return client.knows_all;
}

static void tell_begun(void *arg)
{
	(void)arg;
	client.begun();
}

void tally_on_bans(void (*begun)(void))
{
	client.begun = begun;
	loop_task_init(&client.begun_task, tell_begun, NULL);
}

bool tally_is_banned(const struct net_range *addr)
{
	return client.bans != NULL && known_bans_has(client.bans, addr, clock_real());
}

void tally_client_msg(struct ipc *c, struct ipc_msg *msg)
{
	uint64_t flags = ipc_u64(msg, FIELD_FLAGS);
	struct tally_reply r = {
		.is_known = true,
		.connections = ipc_u64(msg, FIELD_COUNT),
		.rate = ipc_u64(msg, FIELD_RATE),
		.is_banned = msg->type == PROTO_TALLY_COUNT && (flags & 1) != 0,
		.is_found =
			msg->type == PROTO_TALLY_VALUE && ipc_u64(msg, FIELD_RESULT) == RESULT_OK,
		.seconds = (int64_t)ipc_u64(msg, FIELD_SECONDS),
		.value = ipc_bytes(msg, FIELD_VALUE),
		.until = (int64_t)ipc_u64(msg, FIELD_UNTIL),
	};

	(void)c;
	if (msg->type == PROTO_TALLY_BANS)
		take_bans(ipc_bytes(msg, FIELD_VALUE), flags);
	else if (msg->arg != NULL)
		tell(msg->arg, &r);
}

/* ---- what a session says and asks ---- */

static void put_event(const struct tally_event *e)
{
	ipc_put_u64(client.tally, FIELD_KIND, e->kind);
	ipc_put_u64(client.tally, FIELD_COUNT, e->count);
	ipc_put_text(client.tally, FIELD_SERVICE, e->service);
	if (e->login.len > 0)
		ipc_put_text(client.tally, FIELD_LOGIN, e->login);
	else
		ipc_put_text(client.tally, FIELD_CLIENT_ADDR, e->client_addr);
}

void tally_tell(const struct tally_event *e)
{
	if (event_begin(PROTO_TALLY_EVENT)) {
		put_event(e);
		(void)ipc_end(client.tally);
	}
}

struct tally_question *tally_add(
	const struct tally_event *e, uint64_t limit, tally_answer *answer, void *arg)
{
	struct tally_question *q = question_new(answer, arg);

	if (question_begin(q, PROTO_TALLY_ADD)) {
		put_event(e);
		ipc_put_u64(client.tally, FIELD_LIMIT, limit);
	}
	return question_send(q);
}

void tally_fail(const struct tally_failure *f)
{
	if (!event_begin(PROTO_TALLY_FAILURE))
		return;
	ipc_put_u64(client.tally, FIELD_KIND, f->kind);
	ipc_put_text(client.tally, FIELD_CLIENT_ADDR, f->client_addr);
	ipc_put_u64(client.tally, FIELD_LIMIT, f->limit);
	ipc_put_u64(client.tally, FIELD_SECONDS, f->ban_seconds);
	if (f->has_mark)
		ipc_put_u64(client.tally, FIELD_MARK, f->mark);
	if (f->login.len > 0)
		ipc_put_text(client.tally, FIELD_LOGIN, f->login);
	(void)ipc_end(client.tally);
}

struct tally_question *tally_greylist(struct slice client_addr, struct slice sender,
	struct slice recipient, int64_t delay_seconds, tally_answer *answer, void *arg)
{
	struct tally_question *q = question_new(answer, arg);

	if (question_begin(q, PROTO_TALLY_GREYLIST)) {
		ipc_put_text(client.tally, FIELD_CLIENT_ADDR, client_addr);
		ipc_put_text(client.tally, FIELD_SENDER, sender);
		ipc_put_text(client.tally, FIELD_RECIPIENT, recipient);
		ipc_put_u64(client.tally, FIELD_SECONDS, (uint64_t)delay_seconds);
	}
	return question_send(q);
}

struct tally_question *tally_cache_get(struct slice key, tally_answer *answer, void *arg)
{
	struct tally_question *q = question_new(answer, arg);

	if (question_begin(q, PROTO_TALLY_CACHE_GET))
		ipc_put_bytes(client.tally, FIELD_KEY, slice_first(key, TALLY_KEY_MAX));
	return question_send(q);
}

void tally_cache_put(struct slice key, struct slice value, int64_t until)
{
	if (key.len > TALLY_KEY_MAX || value.len > TALLY_VALUE_MAX ||
		!event_begin(PROTO_TALLY_CACHE_PUT))
		return;
	ipc_put_bytes(client.tally, FIELD_KEY, key);
	ipc_put_bytes(client.tally, FIELD_VALUE, value);
	ipc_put_u64(client.tally, FIELD_UNTIL, (uint64_t)until);
	(void)ipc_end(client.tally);
}
