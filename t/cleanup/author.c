/* SPDX-License-Identifier: ISC */
#include "t/cleanup/author.h"

#include <stdio.h>

#include "net/loop.h"

static void take(char *to, size_t size, struct slice from)
{
	snprintf(to, size, "%.*s", SLICE_FMT(from));
}

static void on_msg(struct ipc *c, struct ipc_msg *m, void *arg)
{
	struct author *a = arg;
	struct slice from;
	size_t at = 0;

	switch (m->type) {
	case PROTO_MSG_OPENED:
		take(a->id, sizeof(a->id), ipc_bytes(m, FIELD_QUEUE_ID));
		a->is_opened = true;
		break;
	case PROTO_MSG_GRANT: a->grants += ipc_u64(m, FIELD_SIZE); break;
	case PROTO_MSG_FACTS:
		a->has_facts = true;
		a->hops = ipc_u64(m, FIELD_HOPS);
		a->size = ipc_u64(m, FIELD_SIZE);
		a->from[0] = '\0';
		while (ipc_next(m, FIELD_FROM_ADDRESS, &at, &from)) {
			size_t n = strlen(a->from);

			snprintf(a->from + n, sizeof(a->from) - n, "<%.*s>", SLICE_FMT(from));
		}
		break;
	case PROTO_MSG_DONE:
		a->overs++;
		a->is_over = a->is_done = true;
		a->size = ipc_u64(m, FIELD_SIZE);
		break;
	case PROTO_MSG_FAILED:
		a->overs++;
		a->is_over = true;
		a->code = ipc_u64(m, FIELD_CODE);
		take(a->status, sizeof(a->status), ipc_bytes(m, FIELD_STATUS));
		take(a->text, sizeof(a->text), ipc_bytes(m, FIELD_TEXT));
		ipc_send(c, PROTO_MSG_DISCARD, m->id);
		break;
	case PROTO_QUEUE_STATE:
		a->is_full = ipc_u64(m, FIELD_FLAGS) & 1;
		a->is_leaving = ipc_u64(m, FIELD_FLAGS) & 2;
		break;
	case PROTO_ID_DURABLE:
		take(a->durable, sizeof(a->durable), ipc_bytes(m, FIELD_QUEUE_ID));
		a->has_durable = true;
		break;
	default: break;
	}
}

static void on_end(struct ipc *c, int err, void *arg)
{
	struct author *a = arg;

	(void)c;
	(void)err;
	a->is_lost = true;
	ipc_free(&a->ipc);
}

static const struct ipc_events events = {on_msg, on_end, NULL};

void author_connect(struct harness *h, struct author *a)
{
	*a = (struct author){0};
	a->ipc = harness_peer(h, ROLE_SMTPD, false, &events, a);
}

uint64_t author_begin(struct author *a, const char *sender, int client)
{
	static const uint64_t flags[] = {
		0, QUEUE_FLAG_COMPLETE, QUEUE_FLAG_LOCAL, QUEUE_FLAG_FORWARDED};
	uint64_t id = ipc_ask(a->ipc);
	struct ipc *c = a->ipc;

	a->is_opened = a->is_over = a->is_done = a->has_facts = false;
	a->code = 0;
	ipc_begin(c, PROTO_MSG_OPEN, id);
	ipc_put_str(c, FIELD_SENDER, sender);
	ipc_put_u64(c, FIELD_TIME, UINT64_C(1700000000000000));
	ipc_put_str(c, FIELD_SERVICE, "smtp");
	ipc_put_u64(c, FIELD_FLAGS, flags[client]);
	if (client == CLIENT_USER)
		ipc_put_u64(c, FIELD_UID, 1000);
	else {
		ipc_put_str(c, FIELD_CLIENT_NAME, "client.example");
		ipc_put_str(
			c, FIELD_CLIENT_ADDR, client == CLIENT_NEAR ? "127.0.0.1" : "192.0.2.1");
		ipc_put_str(c, FIELD_HELO, "helo.example");
		ipc_put_str(c, FIELD_PROTOCOL, "ESMTP");
	}
	if (client == CLIENT_FORWARDED) {
		ipc_put_str(c, FIELD_ORIGIN_NAME, "origin.example");
		ipc_put_str(c, FIELD_ORIGIN_ADDR, "192.0.2.8");
		ipc_put_u64(c, FIELD_ORIGIN_PORT, 50124);
		ipc_put_str(c, FIELD_ORIGIN_HELO, "origin");
		ipc_put_str(c, FIELD_ORIGIN_PROTOCOL, "SMTP");
		ipc_put_str(c, FIELD_ORIGIN_IDENT, "ABC123");
	}
	ipc_end(c);
	return id;
}

uint64_t author_open(struct author *a, const char *sender, int client)
{
	uint64_t id = author_begin(a, sender, client);

	harness_wait(&a->is_opened);
	return id;
}

void author_rcpt(struct author *a, uint64_t id, const char *address)
{
	ipc_begin(a->ipc, PROTO_MSG_RCPT, id);
	ipc_put_str(a->ipc, FIELD_RECIPIENT, address);
	ipc_end(a->ipc);
}

void author_data(struct author *a, uint64_t id, struct slice data, size_t step)
{
	while (data.len > 0) {
		struct slice piece = slice_first(data, step);

		while (ipc_credit(a->ipc, id) < piece.len && !a->is_over && !a->is_lost)
			loop_once(loop_now() + CLOCK_SEC);
		ipc_begin(a->ipc, PROTO_MSG_DATA, id);
		ipc_put_bytes(a->ipc, FIELD_BYTES, piece);
		if (ipc_end(a->ipc) != 0)
			return;
		data = slice_from(data, piece.len);
	}
}

void author_end(struct author *a, uint64_t id, uint64_t flags)
{
	ipc_begin(a->ipc, PROTO_MSG_END, id);
	ipc_put_u64(a->ipc, FIELD_FLAGS, flags);
	ipc_end(a->ipc);
}

void author_commit(struct author *a, uint64_t id)
{
	ipc_begin(a->ipc, PROTO_MSG_COMMIT, id);
	ipc_put_u64(a->ipc, FIELD_FLAGS, 0);
	ipc_end(a->ipc);
}

void author_send(struct author *a, int client, const char *rcpt, struct slice data, size_t step)
{
	uint64_t id = author_open(a, "sender@far.example", client);

	author_rcpt(a, id, rcpt);
	author_data(a, id, data, step);
	author_end(a, id, 0);
	author_commit(a, id);
	harness_wait(&a->is_over);
}
