/* SPDX-License-Identifier: ISC */
#include "cleanup/author.h"

#include "cleanup/cleanup.h"
#include "cleanup/commit.h"
#include "cleanup/link.h"
#include "cleanup/message.h"
#include "cleanup/space.h"
#include "cleanup/trace.h"
#include "cleanup/transcript.h"
#include "mail/address.h"
#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"
#include "util/wire.h"

/* What a client may not set by itself. */
#define OPEN_FLAGS                                                                           \
	(QUEUE_FLAG_SMTPUTF8 | QUEUE_FLAG_REQUIRETLS | QUEUE_FLAG_PROBE | QUEUE_FLAG_LOCAL | \
		QUEUE_FLAG_SHOW_LOGIN | QUEUE_FLAG_FORWARDED | QUEUE_FLAG_COMPLETE |         \
		QUEUE_FLAG_TRACE)
#define END_FLAGS (QUEUE_FLAG_DOT_LINE | QUEUE_FLAG_8BIT | QUEUE_FLAG_8BIT_HEADER)

enum { FLAG_HOLD = 1, GRANT = IPC_CREDIT / 2 };

/* One request. */
struct request {
	TAILQ_ENTRY(request) next;  /* of its author */
	TAILQ_ENTRY(request) ended; /* with is_ended */
	bool is_ended;              /* its facts are due */
	struct server_peer *peer;
	uint64_t id;
	struct message *message;
};
TAILQ_HEAD(requests, request);

static size_t open_n;
static int64_t last_open;
/* Content has ended and nobody has said whether to commit: told at the end of the iteration. */
static struct requests ended = TAILQ_HEAD_INITIALIZER(ended);
static struct loop_task ended_task;

bool author_is_idle(int64_t since)
{
	return open_n == 0 && last_open <= since;
}

static void forget_facts(struct request *r)
{
	if (r->is_ended)
		TAILQ_REMOVE(&ended, r, ended);
	r->is_ended = false;
}

static void request_free(struct request *r)
{
	struct requests *all = r->peer->arg;

	forget_facts(r);
	TAILQ_REMOVE(all, r, next);
	open_n--;
	mem_free(r);
}

/* How a message ends. */

static void refuse(struct ipc *c, uint64_t id, const struct message_failure *why)
{
	ipc_begin(c, PROTO_MSG_FAILED, id);
	ipc_put_u64(c, FIELD_CODE, (uint64_t)why->code);
	ipc_put_str(c, FIELD_STATUS, why->status);
	ipc_put_str(c, FIELD_TEXT, why->text);
	(void)ipc_end(c);
	ipc_set_arg(c, id, false, NULL);
}

static void failed(struct message *m, const struct message_failure *why)
{
	struct request *r = m->owner;

	refuse(r->peer->ipc, r->id, why);
	request_free(r);
}

static void done(struct message *m)
{
	struct request *r = m->owner;

	ipc_begin(r->peer->ipc, PROTO_MSG_DONE, r->id);
	ipc_put_str(r->peer->ipc, FIELD_QUEUE_ID, m->id);
	ipc_put_u64(r->peer->ipc, FIELD_SIZE, m->env.size);
	(void)ipc_end(r->peer->ipc);
	request_free(r);
}

static const struct message_calls calls = {done, failed};

/* MSG_OPEN. */

static void take_parents(struct message *m, const struct ipc_msg *msg)
{
	uint64_t index;
	size_t at = 0;

	while (ipc_next_u64(msg, FIELD_PARENT_INDEX, &at, &index))
		wire_u32(&m->parents, (uint32_t)index);
	m->env.parent = ipc_bytes(msg, FIELD_PARENT);
	m->env.parent_rcpts = buf_slice(&m->parents);
	m->env.reason = QUEUE_REASON_FORWARD;
}

static void take_client(struct queue_envelope *env, const struct ipc_msg *msg)
{
	env->client_name = ipc_bytes(msg, FIELD_CLIENT_NAME);
	env->client_addr = ipc_bytes(msg, FIELD_CLIENT_ADDR);
	env->client_port = (uint16_t)ipc_u64(msg, FIELD_CLIENT_PORT);
	env->helo = ipc_bytes(msg, FIELD_HELO);
	env->protocol = ipc_bytes(msg, FIELD_PROTOCOL);
	env->login = ipc_bytes(msg, FIELD_LOGIN);
	env->uid = (uint32_t)ipc_u64(msg, FIELD_UID);
	env->service = ipc_bytes(msg, FIELD_SERVICE);
}

static void take_origin(struct queue_envelope *env, const struct ipc_msg *msg)
{
	env->origin_name = ipc_bytes(msg, FIELD_ORIGIN_NAME);
	env->origin_addr = ipc_bytes(msg, FIELD_ORIGIN_ADDR);
	env->origin_port = (uint16_t)ipc_u64(msg, FIELD_ORIGIN_PORT);
	env->origin_helo = ipc_bytes(msg, FIELD_ORIGIN_HELO);
	env->origin_protocol = ipc_bytes(msg, FIELD_ORIGIN_PROTOCOL);
	env->origin_ident = ipc_bytes(msg, FIELD_ORIGIN_IDENT);
}

/* xtext becomes what it means, in its own place: it never grows. */
static struct slice decode_envid(struct message *m, struct slice envid)
{
	struct buf plain = BUF_INIT(256);
	char *at = (char *)(uintptr_t)envid.p;

	(void)m;
	if (address_xtext_decode(&plain, envid) != 0)
		buf_reset(&plain);
	envid.len = plain.len;
	if (plain.len > 0)
		memcpy(at, buf_str(&plain), plain.len);
	buf_clear(&plain);
	return envid;
}

static void take_trace(struct message *m, const struct ipc_msg *msg)
{
	struct slice line;
	size_t at = 0;

	while (ipc_next(msg, FIELD_TRACE, &at, &line))
		(void)buf_add_fmt(&m->trace, "\t%.*s\r\n", SLICE_FMT(line));
	if (buf_failed(&m->trace))
		buf_reset(&m->trace);
}

/* When it is to be delivered (RFC 2852). */
static void take_deadline(struct queue_envelope *env, const struct ipc_msg *msg)
{
	uint64_t deadline = ipc_u64(msg, FIELD_DEADLINE);

	if (deadline == 0 || deadline > INT64_MAX)
		return;
	env->deadline = (int64_t)deadline;
	env->flags |= (uint32_t)ipc_u64(msg, FIELD_FLAGS) & QUEUE_FLAGS_BY;
}

static void fill(struct message *m, const struct ipc_msg *msg, enum role from)
{
	struct queue_envelope *env = &m->env;
	struct ipc_msg own = *msg;

	/* The strings live as long as the message. */
	m->strings = mem_dup(msg->body.p, msg->body.len);
	own.body = slice_of(m->strings, msg->body.len);
	message_set_sender(m, ipc_bytes(&own, FIELD_SENDER));
	env->arrival = (int64_t)ipc_u64(&own, FIELD_TIME);
	env->flags = (uint32_t)ipc_u64(&own, FIELD_FLAGS) & OPEN_FLAGS;
	env->ret = (uint8_t)ipc_u64(&own, FIELD_RET);
	env->body = (uint8_t)ipc_u64(&own, FIELD_BODY);
	take_deadline(env, &own);
	env->verp = ipc_bytes(&own, FIELD_VERP);
	if (ipc_has(&own, FIELD_ENVID))
		env->envid = decode_envid(m, ipc_bytes(&own, FIELD_ENVID));
	take_client(env, &own);
	take_origin(env, &own);
	take_trace(m, &own);
	/* A child ends recipients of its parent: only who delivers mail may say so. */
	if (from == ROLE_LOCAL && ipc_u64(&own, FIELD_REASON) == QUEUE_REASON_FORWARD &&
		queue_id_is_valid(ipc_bytes(&own, FIELD_PARENT)))
		take_parents(m, &own);
}

static void open_message(struct server_peer *peer, struct ipc_msg *msg)
{
	struct request *r = NULL;
	struct message *m = NULL;
	int err;

	last_open = loop_now();
	space_check();
	err = space_is_full() ? ERR_FULL : 0;
	r = mem_alloc(sizeof(*r));
	if (err == 0)
		err = message_new(&calls, r, &m);
	if (err != 0) {
		log_warning("no queue id: %s", err_str(err));
		refuse(peer->ipc, msg->id,
			err == ERR_FULL ? &message_no_space : &message_write_error);
		mem_free(r);
		return;
	}
	*r = (struct request){.peer = peer, .id = msg->id, .message = m};
	TAILQ_INSERT_TAIL((struct requests *)peer->arg, r, next);
	open_n++;
	fill(m, msg, peer->role);
	ipc_set_arg(peer->ipc, msg->id, false, r);
	ipc_begin(peer->ipc, PROTO_MSG_OPENED, msg->id);
	ipc_put_str(peer->ipc, FIELD_QUEUE_ID, m->id);
	(void)ipc_end(peer->ipc);
}

/* The rest of it. */

static void add_rcpt(struct message *m, const struct ipc_msg *msg)
{
	static const struct message_failure too_many = {452, "4.5.3", "Error: too many recipients"};
	struct buf orcpt = BUF_INIT(QUEUE_STRING_MAX), plain = BUF_INIT(QUEUE_STRING_MAX);
	struct slice type;
	int err;

	if (ipc_has(msg, FIELD_ORCPT) && address_orcpt_decode(ipc_bytes(msg, FIELD_ORCPT),
						 ADDRESS_UTF8, &type, &plain) == 0) {
		buf_add_slice(&orcpt, type);
		buf_add_char(&orcpt, ';');
		buf_add_slice(&orcpt, buf_slice(&plain));
	}
	err = message_add_rcpt(m, ipc_bytes(msg, FIELD_RECIPIENT), ipc_bytes(msg, FIELD_ORIG_TO),
		buf_slice(&orcpt), (unsigned)ipc_u64(msg, FIELD_NOTIFY));
	buf_clear(&plain);
	buf_clear(&orcpt);
	if (err != 0)
		message_fail(m, &too_many);
}

static void add_data(struct request *r, const struct ipc_msg *msg)
{
	struct message *m = r->message;
	const struct message_failure *why = content_add(m, ipc_bytes(msg, FIELD_BYTES));

	if (why != NULL) {
		message_fail(m, why);
		return;
	}
	if (m->content.ungranted >= GRANT) {
		ipc_begin(r->peer->ipc, PROTO_MSG_GRANT, r->id);
		ipc_put_u64(r->peer->ipc, FIELD_SIZE, m->content.ungranted);
		(void)ipc_end(r->peer->ipc);
		m->content.ungranted = 0;
	}
	content_relieve();
}

static void put_from(struct slice address, void *arg)
{
	struct request *r = arg;

	ipc_put_text(r->peer->ipc, FIELD_FROM_ADDRESS, address);
}

static void tell_facts(void *arg)
{
	struct request *r = NULL;

	(void)arg;
	while ((r = TAILQ_FIRST(&ended)) != NULL) {
		forget_facts(r);
		ipc_begin(r->peer->ipc, PROTO_MSG_FACTS, r->id);
		ipc_put_u64(r->peer->ipc, FIELD_SIZE, r->message->content.size);
		ipc_put_u64(r->peer->ipc, FIELD_HOPS, r->message->content.received);
		ipc_put_u64(r->peer->ipc, FIELD_COUNT,
			r->message->content.has_odd_from ? 0 : r->message->content.from_fields);
		content_walk_from(r->message, put_from, r);
		(void)ipc_end(r->peer->ipc);
	}
}

static void end_content(struct request *r, const struct ipc_msg *msg)
{
	struct message *m = r->message;
	const struct message_failure *why = content_end(m);

	if (why != NULL) {
		message_fail(m, why);
		return;
	}
	m->phase = MESSAGE_ENDED;
	m->env.flags |= (uint32_t)ipc_u64(msg, FIELD_FLAGS) & END_FLAGS;
	m->env.hops = m->content.received;
	/* With the commit right behind it nobody wants the facts. */
	TAILQ_INSERT_TAIL(&ended, r, ended);
	r->is_ended = true;
	ended_task.run = tell_facts;
	loop_soon(&ended_task);
}

/* local has forwarded one recipient to more than one, which all have its NOTIFY. */
static void tell_expanded(struct message *m)
{
	size_t n = m->rcpt_n;
	uint8_t notify;

	if (n < 2)
		return;
	notify = message_expanded(m, 0, m->rcpts[0]->orig_to, SLICE_NONE);
	for (size_t i = 0; i < n; i++)
		m->rcpts[i]->notify = notify;
}

static void commit(struct request *r, const struct ipc_msg *msg)
{
	struct message *m = r->message;
	static const struct message_failure nobody = {554, "5.5.1", "Error: no valid recipients"};
	size_t at = 0, left = m->rcpt_n;
	struct slice header;
	uint64_t index;

	forget_facts(r);
	while (ipc_next_u64(msg, FIELD_INDEX, &at, &index)) {
		if (index >= m->rcpt_n || m->rcpts[index]->is_dropped)
			continue;
		m->rcpts[index]->is_dropped = true;
		left--;
	}
	at = 0;
	while (ipc_next(msg, FIELD_HEADER, &at, &header)) {
		/* Anything else would end the header section here. */
		if (header_name_len(header) > 0 && slice_ends(header, "\r\n"))
			buf_add_slice(&m->top, header);
	}
	if (left == 0) {
		message_fail(m, &nobody);
		return;
	}
	if (m->actions.is_discarded) {
		log_info("%s: removed (discarded)", m->id);
		message_done(m);
		return;
	}
	if (action_recipients(m) != 0) {
		message_fail(m, &message_no_resources);
		return;
	}
	if (ipc_u64(msg, FIELD_FLAGS) & FLAG_HOLD)
		m->env.flags |= QUEUE_FLAG_HOLD;
	trace_received(m);
	if (m->env.reason == QUEUE_REASON_FORWARD)
		tell_expanded(m);
	message_commit(m);
}

static void discard(struct request *r)
{
	struct message *m = r->message;

	request_free(r);
	message_discard(&m);
}

static void query(struct server_peer *peer, struct slice id)
{
	if (!queue_id_is_valid(id))
		return;
	if (!commit_knows(id)) {
		link_query(peer, id);
		return;
	}
	ipc_begin(peer->ipc, PROTO_ID_DURABLE, 0);
	ipc_put_text(peer->ipc, FIELD_QUEUE_ID, id);
	(void)ipc_end(peer->ipc);
}

void author_peer_msg(struct server_peer *peer, struct ipc_msg *msg)
{
	struct request *r = msg->arg;

	switch (msg->type) {
	case PROTO_MSG_OPEN: open_message(peer, msg); return;
	case PROTO_ID_QUERY: query(peer, ipc_bytes(msg, FIELD_QUEUE_ID)); return;
	case PROTO_TRANSCRIPT: transcript_msg(msg); return;
	case PROTO_FLUSH_DOMAIN: link_flush(ipc_bytes(msg, FIELD_NAME)); return;
	default: break;
	}
	/* It has failed already, and the author has not heard yet. */
	if (r == NULL)
		return;
	switch (msg->type) {
	case PROTO_MSG_RCPT: add_rcpt(r->message, msg); break;
	case PROTO_MSG_ACTION:
		action_add(r->message, ipc_u64(msg, FIELD_ACTION), ipc_bytes(msg, FIELD_TEXT));
		break;
	case PROTO_MSG_DATA: add_data(r, msg); break;
	case PROTO_MSG_END: end_content(r, msg); break;
	case PROTO_MSG_COMMIT: commit(r, msg); break;
	case PROTO_MSG_DISCARD: discard(r); break;
	default: break;
	}
}

void author_peer_new(struct server_peer *peer)
{
	struct requests *all = mem_alloc(sizeof(*all));

	TAILQ_INIT(all);
	peer->arg = all;
	if (space_is_full() || server_is_stopping())
		space_tell(peer);
}

void author_peer_gone(struct server_peer *peer)
{
	struct requests *all = peer->arg;
	struct request *r = NULL;

	link_author_gone(peer);
	while ((r = TAILQ_FIRST(all)) != NULL)
		discard(r);
	mem_free(all);
	peer->arg = NULL;
}
