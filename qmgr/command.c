/* SPDX-License-Identifier: ISC */
#include "qmgr/command_private.h"

#include <stdio.h>

#include "conf/conf.h"
#include "qmgr/ack.h"
#include "qmgr/active.h"
#include "qmgr/active_index.h"
#include "qmgr/flush.h"
#include "qmgr/qmgr.h"
#include "server/desk.h"
#include "server/server.h"
#include "util/users.h"
#include "util/mem.h"

#define OPS 2000 /* requests of one client at a time; more are refused */
/* Lists of all clients that are no operators: each has the keys of all mail. */
#define LISTS 16

static const char *const names[OP_KINDS] = {
	[OP_LIST] = "list",
	[OP_FLUSH] = "flush",
	[OP_HOLD] = "hold",
	[OP_RELEASE] = "release",
	[OP_REQUEUE] = "requeue",
	[OP_DELETE] = "delete",
	[OP_EXPIRE] = "expire",
	[OP_SHOW] = "show",
	[OP_HISTORY] = "history",
	[OP_CAT] = "cat",
};

struct command_ops command_ops = TAILQ_HEAD_INITIALIZER(command_ops);
static struct users *may_list, *may_flush;

/* ---- Requests. ---- */

struct op *command_op_new(struct client *c, uint64_t request, enum op_kind kind)
{
	struct op *op = mem_alloc(sizeof(*op));

	op->client = c;
	op->request = request;
	op->kind = kind;
	TAILQ_INSERT_TAIL(&command_ops, op, link);
	c->ops++;
	return op;
}

void command_op_free(struct op *op)
{
	op->client->ops--;
	TAILQ_REMOVE(&command_ops, op, link);
	mem_free(op->keys);
	mem_free(op);
}

void command_say(struct client *c, uint64_t request, enum proto_result result, uint64_t count,
	const char *text)
{
	ipc_begin(c->desk.ipc, PROTO_QUEUE_DONE, request);
	ipc_put_u64(c->desk.ipc, FIELD_RESULT, result);
	ipc_put_u64(c->desk.ipc, FIELD_COUNT, count);
	if (text != NULL)
		ipc_put_str(c->desk.ipc, FIELD_TEXT, text);
	ipc_end(c->desk.ipc);
}

void command_done(struct op *op, enum proto_result result, uint64_t count, const char *text)
{
	command_say(op->client, op->request, result, count, text);
	command_op_free(op);
}

/* ---- Getting the message. ---- */

/* What was loaded for requests alone goes again. */
static void let_go(struct queue_message *m)
{
	const struct schedule_deferred *row;

	if (m == NULL || m->user != NULL || command_uses(m))
		return;
	row = schedule_deferred_find(qmgr.schedule, active_key(slice_str(m->id)));
	if (row != NULL)
		queue_store_unload(m, qmgr_real_of((int64_t)row->due * CLOCK_SEC));
}

/* False: a message of a list that waits for room. Others than those of a list are gone. */
static bool apply(struct op *op, struct queue_message *m)
{
	bool is_done = true;

	if (op->kind >= OP_SHOW)
		command_see(op, m);
	else if (op->kind == OP_LIST)
		is_done = command_list_item(op, m);
	else
		command_change(op, m);
	return is_done;
}

/* A message of a list: it has no answer of its own. */
static void list_item_done(struct op *op)
{
	struct op *list = op->list;

	if (list->sending == op)
		list->sending = NULL;
	command_op_free(op);
	list->loads--;
	command_list_go_on(list);
}

void command_fetch(struct op *op)
{
	struct queue_message *m = queue_store_get(qmgr.store, slice_str(op->id));
	bool is_item = op->list != NULL, is_done = false;
	bool is_change = op->kind != OP_LIST && op->kind < OP_SHOW;
	int err = 0;

	if (m != NULL)
		is_done = apply(op, m);
	if (m != NULL && !is_change)
		let_go(m);
	if (m == NULL)
		err = queue_store_load(qmgr.store, slice_str(op->id), op->place);
	if (is_item && (is_done || err != 0))
		list_item_done(op);
	else if (err != 0)
		command_done(op, RESULT_FAILED, 0, err_str(err));
}

static void not_loaded(struct op *op, int result)
{
	if (result == ERR_NOT_FOUND && op->place + 1 < QUEUE_PLACES) {
		op->place++;
		command_fetch(op);
	} else if (op->list != NULL) {
		list_item_done(op);
	} else if (result == ERR_NOT_FOUND) {
		command_done(op, RESULT_NOT_FOUND, 0, "no such message");
	} else {
		command_done(op, RESULT_FAILED, 0, err_str(result));
	}
}

void command_loaded(const char *id, int result, struct queue_message *m)
{
	struct op *op, *next;
	bool is_item, is_done;

	for (op = TAILQ_FIRST(&command_ops); op != NULL; op = next) {
		next = TAILQ_NEXT(op, link);
		if (op->m != NULL || op->keys != NULL || op->waits || strcmp(op->id, id) != 0)
			continue;
		if (result != 0) {
			not_loaded(op, result);
			return;
		}
		/* A change may end it, and another request let it go: the rest look again. */
		m = queue_store_get(qmgr.store, slice_str(id));
		if (m == NULL) {
			command_fetch(op);
			continue;
		}
		is_item = op->list != NULL;
		is_done = apply(op, m);
		if (is_item && is_done)
			list_item_done(op);
		command_loaded(id, 0, NULL);
		return;
	}
	if (result == 0)
		let_go(queue_store_get(qmgr.store, slice_str(id)));
}

void command_content(struct queue_message *m, int result, struct slice content)
{
	struct op *op, *next;

	for (op = TAILQ_FIRST(&command_ops); op != NULL; op = next) {
		next = TAILQ_NEXT(op, link);
		if (op->m == m && op->kind == OP_CAT)
			command_give_content(op, m, result, content);
	}
	let_go(m);
}

void command_ended(struct queue_message *m)
{
	command_requeued(m, ERR_NOT_FOUND);
	command_content(m, ERR_NOT_FOUND, SLICE_NONE);
}

bool command_uses(const struct queue_message *m)
{
	const struct op *op;

	TAILQ_FOREACH(op, &command_ops, link)
	if (op->m == m)
		return true;
	return false;
}

/* ---- What is asked. ---- */

static void flush(struct client *c, struct ipc_msg *msg)
{
	struct slice site = ipc_bytes(msg, FIELD_NEXTHOP), id = ipc_bytes(msg, FIELD_QUEUE_ID);
	size_t n;

	if (id.len > 0)
		n = schedule_flush_id(qmgr.schedule, qmgr_time(), active_key(id));
	else if (site.len > 0)
		n = flush_site(site);
	else
		n = flush_all();
	command_say(c, msg->id, id.len > 0 && n == 0 ? RESULT_NOT_FOUND : RESULT_OK, n, NULL);
	qmgr_work();
}

static bool is_allowed(const struct client *c, enum op_kind kind)
{
	if (desk_is_operator(&c->desk))
		return true;
	if (kind == OP_LIST)
		return users_has(may_list, c->desk.uid);
	return kind == OP_FLUSH && users_has(may_flush, c->desk.uid);
}

/* One of a client at a time. */
static bool has_list_room(const struct client *c)
{
	const struct op *op;
	size_t n = 0;

	TAILQ_FOREACH(op, &command_ops, link)
	{
		if (op->kind != OP_LIST || op->list != NULL)
			continue;
		if (op->client == c)
			return false;
		n += !desk_is_operator(&op->client->desk);
	}
	return n < LISTS || desk_is_operator(&c->desk);
}

static void ask(struct client *c, struct ipc_msg *msg)
{
	struct slice id = ipc_bytes(msg, FIELD_QUEUE_ID), name = ipc_bytes(msg, FIELD_NAME);
	enum op_kind kind = OP_LIST;
	struct op *op;

	if (msg->type == PROTO_QUEUE_DO)
		for (kind = OP_FLUSH; kind < OP_KINDS; kind++)
			if (slice_eq_str(name, names[kind]))
				break;
	if (kind == OP_KINDS || (id.len > 0 && !queue_id_is_valid(id)) ||
		(kind > OP_FLUSH && id.len == 0))
		command_say(c, msg->id, RESULT_FAILED, 0, "bad request");
	else if (!is_allowed(c, kind))
		command_say(c, msg->id, RESULT_FAILED, 0, "not allowed to this user");
	else if (!qmgr.is_running || qmgr.is_stopping || c->ops >= OPS ||
		 (kind == OP_LIST && !has_list_room(c)))
		command_say(c, msg->id, RESULT_DEFERRED, 0, "not now");
	else if (kind == OP_LIST)
		command_list(c, msg);
	else if (kind == OP_FLUSH)
		flush(c, msg);
	else {
		op = command_op_new(c, msg->id, kind);
		op->place = QUEUE_PLACE_DEFERRED;
		snprintf(op->id, sizeof(op->id), "%.*s", SLICE_FMT(id));
		command_fetch(op);
	}
}

/* ---- Connections. ---- */

static void on_msg(struct desk_client *c, struct ipc_msg *msg)
{
	ask((struct client *)c, msg);
	qmgr_work();
}

static void on_gone(struct desk_client *d)
{
	struct client *c = (struct client *)d;
	struct op *op, *next;

	ack_cancel(c);
	for (op = TAILQ_FIRST(&command_ops); op != NULL; op = next) {
		next = TAILQ_NEXT(op, link);
		if (op->client == c)
			command_op_free(op);
	}
}

static void on_room(struct desk_client *c)
{
	struct op *op, *next;

	for (op = TAILQ_FIRST(&command_ops); op != NULL; op = next) {
		next = TAILQ_NEXT(op, link);
		if (&op->client->desk == c && op->keys != NULL) {
			command_list_go_on(op);
			return;
		}
	}
}

void command_listener(int fd, const char *address, bool is_unix)
{
	static const struct desk_spec spec = {.role = ROLE_QMGR,
		.size = sizeof(struct client),
		.msg = on_msg,
		.room = on_room,
		.gone = on_gone};

	(void)address;
	desk_listener(&spec, fd, is_unix);
}

void command_init(void)
{
	command_reload();
}

void command_reload(void)
{
	users_set(&may_list, conf_str(P_authorized_mailq_users));
	users_set(&may_flush, conf_str(P_authorized_flush_users));
}
