/* SPDX-License-Identifier: ISC */
#include "qmgr/show.h"

#include "qmgr/qmgr.h"

enum { RCPT_ROOM = 2 * IPC_FRAME_LIMIT };

const char *show_queue(const struct queue_message *m)
{
	if (m->place == QUEUE_PLACE_CORRUPT)
		return "corrupt";
	if (m->state == QUEUE_M_HELD)
		return "hold";
	return m->user != NULL ? "active" : "deferred";
}

static bool is_done(const struct queue_rstatus *r)
{
	return r->state == QUEUE_R_DELIVERED || queue_rstate_is_final(r->state);
}

static int64_t next_attempt(const struct queue_message *m)
{
	int64_t due = 0;

	for (uint32_t i = 0; i < m->env.recipients; i++)
		if (m->r[i].state == QUEUE_R_WAIT && m->r[i].due > 0 &&
			(due == 0 || m->r[i].due < due))
			due = m->r[i].due;
	return due;
}

static void put_if(struct ipc *c, enum proto_field field, struct slice text)
{
	if (text.len > 0)
		ipc_put_text(c, field, text);
}

/* As far as the scheduler knows it. */
static void put_site(struct ipc *c, const struct queue_recipient *to)
{
	struct schedule_transport *t = schedule_transport_find(qmgr.schedule, to->transport);
	struct buf key = BUF_INIT(QUEUE_STRING_MAX);

	buf_add_lower(&key, to->nexthop);
	if (t != NULL && key.len > 0)
		put_if(c, FIELD_SITE, schedule_dest_site(t, buf_slice(&key)));
	buf_clear(&key);
}

static void list_rcpt(struct ipc *c, uint64_t request, const struct queue_message *m,
	const struct queue_recipient *to)
{
	struct queue_event ev = {0};

	ipc_begin(c, PROTO_QUEUE_RCPT, request);
	ipc_put_text(c, FIELD_RECIPIENT, to->address);
	put_if(c, FIELD_ORIG_TO, to->orig_to);
	put_if(c, FIELD_TRANSPORT, to->transport);
	put_if(c, FIELD_NEXTHOP, to->nexthop);
	put_site(c, to);
	if (m->r[to->index].attempts > 0)
		ipc_put_u64(c, FIELD_ATTEMPTS, m->r[to->index].attempts);
	if (queue_store_last(m, to->index, &ev)) {
		put_if(c, FIELD_STATUS, ev.dsn);
		put_if(c, FIELD_REMOTE, ev.host);
		put_if(c, FIELD_TEXT, ev.text);
		if (ev.time > 0)
			ipc_put_u64(c, FIELD_TIME, (uint64_t)ev.time);
	}
	if (m->r[to->index].state == QUEUE_R_WAIT && m->r[to->index].due > 0)
		ipc_put_u64(c, FIELD_DEADLINE, (uint64_t)m->r[to->index].due);
	ipc_end(c);
}

static void list_message(struct ipc *c, uint64_t request, const struct queue_message *m)
{
	int64_t due = next_attempt(m);

	ipc_begin(c, PROTO_QUEUE_MESSAGE, request);
	ipc_put_str(c, FIELD_QUEUE_ID, m->id);
	ipc_put_str(c, FIELD_NAME, show_queue(m));
	ipc_put_u64(c, FIELD_TIME, (uint64_t)m->env.arrival);
	ipc_put_u64(c, FIELD_SIZE, m->env.size);
	ipc_put_text(c, FIELD_SENDER, m->env.sender);
	ipc_put_u64(c, FIELD_FLAGS, m->expire_now ? 1 : 0);
	if (due > 0)
		ipc_put_u64(c, FIELD_DEADLINE, (uint64_t)due);
	ipc_end(c);
}

bool show_list(struct ipc *c, uint64_t request, const struct queue_message *m, bool with_rcpts,
	struct show_place *place)
{
	struct queue_recipient to;

	if (m->state == QUEUE_M_ENDED)
		return true;
	if (!place->is_begun)
		list_message(c, request, m);
	place->is_begun = true;
	for (; with_rcpts && place->index < m->env.recipients; place->index++) {
		/* A message can have a million. */
		if (ipc_room(c) < RCPT_ROOM)
			return false;
		if (is_done(&m->r[place->index]))
			continue;
		queue_store_recipient(m, place->index, &to);
		list_rcpt(c, request, m, &to);
	}
	return true;
}
