/* SPDX-License-Identifier: ISC */
#include "qmgr/frames.h"

#include "mail/address.h"
#include "mail/verp.h"
#include "qmgr/plan.h"
#include "qmgr/worker.h"
#include "util/err.h"
#include "util/log.h"

#define DATA_PIECE 64000
#define HEAD_SIZE 65536 /* room wanted beside the content for a job's other frames */

static void put_client(struct ipc *c, const struct queue_envelope *env)
{
	struct queue_client client = queue_envelope_client(env);

	if (client.name.len > 0)
		ipc_put_text(c, FIELD_CLIENT_NAME, client.name);
	if (client.addr.len > 0)
		ipc_put_text(c, FIELD_CLIENT_ADDR, client.addr);
	if (client.helo.len > 0)
		ipc_put_text(c, FIELD_HELO, client.helo);
	if (client.protocol.len > 0)
		ipc_put_text(c, FIELD_PROTOCOL, client.protocol);
	if (client.port != 0)
		ipc_put_u64(c, FIELD_CLIENT_PORT, client.port);
	if (env->origin_ident.len > 0)
		ipc_put_text(c, FIELD_ORIGIN_IDENT, env->origin_ident);
}

/* With VERP a job has one recipient, and the sender is its own. */
static void put_sender(struct ipc *c, const struct job *j, const struct queue_envelope *env)
{
	struct queue_recipient to;
	struct buf sender = BUF_INIT(ADDRESS_LIMIT);

	if (env->verp.len == 0) {
		ipc_put_text(c, FIELD_SENDER, env->sender);
		return;
	}
	to = active_recipient(j->a, j->rcpts[0]);
	if (verp_sender(&sender, env->verp, env->sender,
		    to.orig_to.len > 0 ? to.orig_to : to.address) != 0)
		log_warning("%s: no room for VERP in the sender's address", j->a->m->id);
	ipc_put_text(c, FIELD_SENDER, buf_slice(&sender));
	buf_clear(&sender);
}

/* RFC 2852. Who was told here need not be told by the next hop. */
static uint32_t flags_of(const struct job *j)
{
	const struct queue_message *m = j->a->m;
	bool told = plan_was_told(m, j->index, j->count);

	return m->env.flags | (told ? QUEUE_FLAG_BY_TOLD : 0);
}

static void put_message(struct ipc *c, const struct job *j)
{
	struct queue_envelope all, *env = &all;
	struct buf envid = BUF_INIT(4096);

	queue_store_envelope(j->a->m, env);
	ipc_begin(c, PROTO_JOB, j->id);
	ipc_put_u64(c, FIELD_JOB, j->number);
	ipc_put_str(c, FIELD_QUEUE_ID, j->a->m->id);
	put_sender(c, j, env);
	ipc_put_str(c, FIELD_TRANSPORT, j->worker->transport->name);
	ipc_put_text(c, FIELD_NEXTHOP, active_nexthop(j->a, j->rcpts[0]));
	ipc_put_u64(c, FIELD_TIME, (uint64_t)env->arrival);
	ipc_put_u64(c, FIELD_ACTIVE, (uint64_t)j->a->since);
	ipc_put_u64(c, FIELD_SIZE, env->size);
	ipc_put_u64(c, FIELD_HEADER_LEN, env->header_len);
	ipc_put_u64(c, FIELD_FLAGS, flags_of(j));
	if (env->deadline != 0)
		ipc_put_u64(c, FIELD_DEADLINE, (uint64_t)env->deadline);
	if (env->envid.len > 0) {
		address_xtext_encode(&envid, env->envid);
		ipc_put_text(c, FIELD_ENVID, buf_slice(&envid));
	}
	if (env->ret != QUEUE_RET_NONE)
		ipc_put_u64(c, FIELD_RET, env->ret);
	if (env->body != QUEUE_BODY_NONE)
		ipc_put_u64(c, FIELD_BODY, env->body);
	put_client(c, env);
	ipc_end(c);
	buf_clear(&envid);
}

/* The address of ORCPT goes as xtext on the wire, and so between processes. */
static void put_orcpt(struct ipc *c, struct slice orcpt)
{
	struct buf out = BUF_INIT(4 * QUEUE_STRING_MAX);
	ptrdiff_t at = slice_find(orcpt, ';');

	if (at < 0)
		return;
	buf_add_slice(&out, slice_first(orcpt, (size_t)at + 1));
	if (slice_case_starts(orcpt, "utf-8;"))
		buf_add_slice(&out, slice_from(orcpt, (size_t)at + 1));
	else
		address_xtext_encode(&out, slice_from(orcpt, (size_t)at + 1));
	if (buf_slice(&out).len <= proto_field_max(FIELD_ORCPT))
		ipc_put_text(c, FIELD_ORCPT, buf_slice(&out));
	buf_clear(&out);
}

static void put_rcpts(struct ipc *c, const struct job *j)
{
	for (uint32_t i = 0; i < j->count; i++) {
		struct queue_recipient to = active_recipient(j->a, j->rcpts[i]);

		ipc_begin(c, PROTO_JOB_RCPT, j->id);
		ipc_put_u64(c, FIELD_INDEX, to.index);
		ipc_put_text(c, FIELD_RECIPIENT, to.address);
		if (to.orig_to.len > 0)
			ipc_put_text(c, FIELD_ORIG_TO, to.orig_to);
		put_orcpt(c, to.orcpt);
		if (to.notify != 0)
			ipc_put_u64(c, FIELD_NOTIFY, to.notify);
		ipc_put_u64(c, FIELD_ATTEMPTS, j->a->m->r[to.index].attempts);
		if (active_via(j->a, j->rcpts[i]) != 0)
			ipc_put_u64(c, FIELD_VIA, active_via(j->a, j->rcpts[i]));
		ipc_end(c);
	}
}

static int put_body(struct ipc *c, const struct job *j)
{
	int fd = -1, err;

	if (!(j->a->m->env.flags & QUEUE_FLAG_BODY_FILE))
		return 0;
	err = queue_store_body(j->a->m, &fd);
	if (err != 0)
		return err;
	ipc_begin(c, PROTO_JOB_BODY, j->id);
	ipc_put_u64(c, FIELD_SIZE, j->a->m->env.body_len);
	return ipc_end_fd(c, &fd);
}

bool frames_have_room(const struct job *j)
{
	return ipc_room(j->worker->peer->ipc) >= buf_slice(&j->content).len / 8 + HEAD_SIZE;
}

int frames_send_head(struct job *j)
{
	struct ipc *c = j->worker->peer->ipc;

	j->id = ipc_ask(c);
	put_message(c, j);
	ipc_set_arg(c, j->id, true, j);
	put_rcpts(c, j);
	return put_body(c, j);
}

void frames_send_content(struct job *j)
{
	struct ipc *c = j->worker->peer->ipc;

	while (buf_slice(&j->content).len > 0) {
		size_t credit = ipc_credit(c, j->id), room = ipc_room(c);
		struct slice piece = slice_first(buf_slice(&j->content), DATA_PIECE);

		if (room < HEAD_SIZE)
			return;
		piece = slice_first(piece, credit);
		if (piece.len == 0)
			return;
		ipc_begin(c, PROTO_JOB_DATA, j->id);
		ipc_put_bytes(c, FIELD_BYTES, piece);
		if (ipc_end(c) != 0)
			return;
		buf_consume(&j->content, piece.len);
	}
	buf_clear(&j->content);
	if (!j->is_gone && !j->is_over) {
		j->is_gone = true;
		ipc_send(c, PROTO_JOB_GO, j->id);
	}
}
