/* SPDX-License-Identifier: ISC */
#include "qmgr/show.h"

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

static void list_rcpt(struct ipc *c, uint64_t request, const struct queue_message *m,
	const struct queue_recipient *to)
{
	struct queue_event ev = {0};

	ipc_begin(c, PROTO_QUEUE_RCPT, request);
	ipc_put_text(c, FIELD_RECIPIENT, to->address);
	if (to->orig_to.len > 0)
		ipc_put_text(c, FIELD_ORIG_TO, to->orig_to);
	if (to->transport.len > 0)
		ipc_put_text(c, FIELD_TRANSPORT, to->transport);
	if (to->nexthop.len > 0)
		ipc_put_text(c, FIELD_NEXTHOP, to->nexthop);
	if (queue_store_last(m, to->index, &ev) && ev.text.len > 0)
		ipc_put_text(c, FIELD_TEXT, ev.text);
	ipc_end(c);
}

void show_list(struct ipc *c, uint64_t request, const struct queue_message *m, bool with_rcpts)
{
	struct queue_recipient to;
	uint32_t offset = 0, index = 0;
	int64_t due = next_attempt(m);

	if (m->state == QUEUE_M_ENDED)
		return;
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
	while (with_rcpts && queue_recipient_next(&m->env, &offset, &index, &to))
		if (!is_done(&m->r[to.index]))
			list_rcpt(c, request, m, &to);
}
