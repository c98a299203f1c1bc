/* SPDX-License-Identifier: ISC */
#include "queue/show.h"

#include "util/clock.h"
#include "util/log.h"

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
	add_number(out, "index", to->index);
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

void queue_show(struct buf *out, const struct queue_message *m, const char *queue)
{
	struct queue_envelope all, *env = &all;
	struct queue_recipient to;

	queue_store_envelope(m, env);
	add(out, "queue_id", slice_str(m->id));
	add(out, "queue_name", slice_str(queue));
	add_time(out, "arrival_time", env->arrival);
	add_number(out, "message_size", env->size);
	buf_add_str(out, "sender: ");
	log_quote(out, env->sender, 4096);
	buf_add_char(out, '\n');
	add(out, "client_name", env->client_name);
	add(out, "client_address", env->client_addr);
	add(out, "helo_name", env->helo);
	add(out, "protocol_name", env->protocol);
	if (env->flags & QUEUE_FLAG_FORWARDED) {
		add(out, "log_client_name", env->origin_name);
		add(out, "log_client_address", env->origin_addr);
		add(out, "log_helo_name", env->origin_helo);
		add(out, "log_protocol_name", env->origin_protocol);
	}
	add(out, "log_ident", env->origin_ident);
	add(out, "sasl_username", env->login);
	if (env->flags & QUEUE_FLAG_LOCAL)
		add_number(out, "uid", env->uid);
	add(out, "service", env->service);
	add(out, "dsn_envelope_id", env->envid);
	if (env->deadline != 0) {
		add_time(out, "deliver_by", env->deadline);
		add(out, "deliver_by_mode",
			env->flags & QUEUE_FLAG_BY_NOTIFY ? SLICE_LIT("notify")
							  : SLICE_LIT("return"));
	}
	add(out, "parent", env->parent);
	if (m->expire_now)
		add(out, "forced_expire", SLICE_LIT("yes"));
	add_number(out, "recipients", m->env.recipients);
	for (uint32_t i = 0; i < m->env.recipients; i++) {
		queue_store_recipient(m, i, &to);
		add_rcpt(out, m, &to);
	}
}

void queue_show_event(struct buf *out, const struct queue_event *ev)
{
	uint32_t n = queue_event_rcpt_count(ev);

	clock_add_ctime(out, ev->time);
	buf_add_fmt(out, "  %s", queue_event_name(ev->type));
	for (uint32_t i = 0; i < n; i++)
		buf_add_fmt(out, "%s%u", i == 0 ? "  recipient " : ",", queue_event_rcpt(ev, i));
	if (ev->dsn.len > 0) {
		buf_add_str(out, "  ");
		log_quote(out, ev->dsn, 16);
	}
	if (ev->host.len > 0) {
		buf_add_str(out, "  ");
		log_quote(out, ev->host, 1024);
	}
	if (ev->text.len > 0) {
		buf_add_str(out, "  ");
		log_quote(out, ev->text, QUEUE_EVENT_TEXT_MAX);
	}
	if (ev->other.len > 0) {
		buf_add_str(out, "  ");
		log_quote(out, ev->other, QUEUE_ID_MAX);
	}
	buf_add_char(out, '\n');
}
