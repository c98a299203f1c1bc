/* SPDX-License-Identifier: ISC */
#include "policy/tally_client.h"

#include <sys/queue.h>

#include "net/loop.h"
#include "util/err.h"
#include "util/mem.h"

/* Open sessions in one list; one that waits for its count has a timer that runs. */
struct tally_session {
	LIST_ENTRY(tally_session) link;
	struct loop_timer timer;
	void (*answer)(void *arg, uint64_t connections);
	void *arg;
	uint64_t id; /* of the question; 0: none is open */
	size_t service_len, addr_len;
	char text[]; /* service, address */
};

LIST_HEAD(session_list, tally_session);

static struct {
	struct session_list sessions;
	struct ipc *tally; /* NULL: away */
} client;

static struct slice service_of(const struct tally_session *t)
{
	return slice_of(t->text, t->service_len);
}

static struct slice addr_of(const struct tally_session *t)
{
	return slice_of(t->text + t->service_len, t->addr_len);
}

static void tell(struct tally_session *t, uint64_t connections)
{
	void (*answer)(void *arg, uint64_t connections) = t->answer;
	loop_timer_set(&t->timer, CLOCK_NEVER);
	t->answer = NULL;
	if (answer != NULL) {
		answer(t->arg, connections);
	}
}

static void timed_out(void *arg)
{
	tell(arg, 0);
}

static void announce(struct tally_session *t)
{
	t->id = 0;
	if (client.tally == NULL) {
		return;
	}
	uint64_t id = ipc_ask(client.tally);
	ipc_begin(client.tally, PROTO_TALLY_CONNECT, id);
	ipc_put_text(client.tally, FIELD_SERVICE, service_of(t));
	ipc_put_text(client.tally, FIELD_CLIENT_ADDR, addr_of(t));
	if (ipc_end(client.tally) == 0) {
		ipc_set_arg(client.tally, id, true, t);
		t->id = id;
	}
}

void tally_client_add(struct ipc *c)
{
	struct tally_session *t;
	client.tally = c;
	LIST_FOREACH(t, &client.sessions, link)
	{
		announce(t);
	}
}

void tally_client_remove(struct ipc *c)
{
	struct tally_session *t;
	if (client.tally == c) {
		client.tally = NULL;
		LIST_FOREACH(t, &client.sessions, link)
		{
			t->id = 0;
		}
	}
}

void tally_client_msg(struct ipc *c, struct ipc_msg *msg)
{
	struct tally_session *t = msg->arg;
	if (msg->type == PROTO_TALLY_COUNT && t != NULL) {
		t->id = 0;
		tell(t, ipc_u64(msg, FIELD_COUNT));
	}
}

struct tally_session *tally_enter(struct slice service, struct slice client_addr,
	void (*answer)(void *arg, uint64_t connections), void *arg)
{
	struct tally_session *t = mem_alloc(sizeof(*t) + service.len + client_addr.len);
	memcpy(t->text, service.p, service.len);
	memcpy(t->text + service.len, client_addr.p, client_addr.len);
	t->service_len = service.len;
	t->addr_len = client_addr.len;
	t->answer = answer;
	t->arg = arg;
	LIST_INSERT_HEAD(&client.sessions, t, link);
	loop_timer_init(&t->timer, timed_out, t);
	announce(t);
	/* Without tally there is nothing to wait for, but the answer still comes from the loop. */
	loop_timer_set(&t->timer, loop_now() + (t->id != 0 ? TALLY_WAIT : 0));
	return t;
}

void tally_leave(struct tally_session **tp)
{
	struct tally_session *t = *tp;
	*tp = NULL;
	if (t == NULL) {
		return;
	}
	if (client.tally != NULL) {
		if (t->id != 0) {
			ipc_set_arg(client.tally, t->id, true, NULL);
		}
		ipc_begin(client.tally, PROTO_TALLY_DISCONNECT, 0);
		ipc_put_text(client.tally, FIELD_SERVICE, service_of(t));
		ipc_put_text(client.tally, FIELD_CLIENT_ADDR, addr_of(t));
		(void)ipc_end(client.tally);
	}
	LIST_REMOVE(t, link);
	loop_timer_clear(&t->timer);
	mem_free(t);
}
