/* SPDX-License-Identifier: ISC */
#include "qmgr/show.h"

#include "util/clock.h"
#include "util/log.h"

const char *show_queue(const struct queue_message *m)
{
	if (m->place == QUEUE_PLACE_CORRUPT)
		return "corrupt";
	if (m->state == QUEUE_M_HELD)
		return "hold";
	return m->user != NULL ? "active" : "deferred";
}

static void add(struct buf *out, const char *name, struct slice value)
{
	if (value.len == 0)
		return;
	buf_add_fmt(out, "%s: ", name);
	log_quote(out, value, 4096);
	buf_add_char(out, '\n');
}

static void add_number(struct buf *out, const char *name, uint64_t n)
{
	buf_add_fmt(out, "%s: %llu\n", name, (unsigned long long)n);
}

static void add_time(struct buf *out, const char *name, int64_t time)
{
	buf_add_fmt(out, "%s: ", name);
	clock_add_ctime(out, time);
	buf_add_char(out, '\n');
}

static void add_rcpt(
	struct buf *out, const struct queue_message *m, const struct queue_recipient *to)
{
	const struct queue_rstatus *r = &m->r[to->index];
	struct queue_event ev = {0};

	buf_add_char(out, '\n');
	add(out, "recipient", to->address);
	add(out, "original_recipient", to->orig_to);
	add(out, "dsn_orig_rcpt", to->orcpt);
	if (to->notify != 0)
		add_number(out, "dsn_notify", to->notify);
	add(out, "transport", to->transport);
	add(out, "nexthop", to->nexthop);
	add(out, "state", slice_str(queue_rstate_name(r->state)));
	add_number(out, "attempts", r->attempts);
	if (queue_store_last(m, to->index, &ev)) {
		add(out, "last_event", slice_str(queue_event_name(ev.type)));
		add_time(out, "last_time", ev.time);
		add(out, "status", ev.dsn);
		add(out, "host", ev.host);
		add(out, "reason", ev.text);
	}
	if (r->state == QUEUE_R_WAIT && r->due > 0)
		add_time(out, "next_attempt", r->due);
}

void show_message(struct buf *out, const struct queue_message *m)
{
	const struct queue_envelope *env = &m->env;
	struct queue_recipient to;
	uint32_t offset = 0, index = 0;

	add(out, "queue_id", slice_str(m->id));
	add(out, "queue_name", slice_str(show_queue(m)));
	add_time(out, "arrival_time", env->arrival);
	add_number(out, "message_size", env->size);
	buf_add_str(out, "sender: ");
	log_quote(out, env->sender, 4096);
	buf_add_char(out, '\n');
	add(out, "client_name", env->client_name);
	add(out, "client_address", env->client_addr);
	add(out, "helo_name", env->helo);
	add(out, "protocol_name", env->protocol);
	add(out, "sasl_username", env->login);
	if (env->flags & QUEUE_FLAG_LOCAL)
		add_number(out, "uid", env->uid);
	add(out, "service", env->service);
	add(out, "dsn_envelope_id", env->envid);
	add(out, "parent", env->parent);
	if (m->expire_now)
		add(out, "forced_expire", SLICE_LIT("yes"));
	add_number(out, "recipients", env->recipients);
	while (queue_recipient_next(env, &offset, &index, &to))
		add_rcpt(out, m, &to);
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
