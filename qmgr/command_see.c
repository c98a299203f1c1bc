/* SPDX-License-Identifier: ISC */
#include "qmgr/active.h"
#include "qmgr/active_index.h"
#include "qmgr/command_private.h"
#include "qmgr/qmgr.h"
#include "qmgr/show.h"
#include "queue/show.h"
#include "util/mem.h"

enum {
	LIST_LOADS = 16, /* messages that a list reads ahead */
	LIST_ROOM = 262144
};

/* ---- Seeing. ---- */

static void send_text(struct op *op, struct slice text)
{
	struct ipc *c = op->client->desk.ipc;

	while (text.len > 0) {
		struct slice piece = slice_first(text, 60000);

		ipc_begin(c, PROTO_QUEUE_TEXT, op->request);
		ipc_put_bytes(c, FIELD_BYTES, piece);
		if (ipc_end(c) != 0)
			return;
		text = slice_from(text, piece.len);
	}
}

void command_give_content(struct op *op, struct queue_message *m, int result, struct slice content)
{
	struct ipc *c = op->client->desk.ipc;
	int fd = -1;

	op->m = NULL;
	if (result != 0) {
		command_done(op, RESULT_FAILED, 0, err_str(result));
		return;
	}
	send_text(op, content);
	if (m->env.flags & QUEUE_FLAG_BODY_FILE && queue_store_body(m, &fd) == 0) {
		ipc_begin(c, PROTO_QUEUE_BODY, op->request);
		ipc_put_u64(c, FIELD_SIZE, m->env.body_len);
		ipc_end_fd(c, &fd);
	}
	command_done(op, RESULT_OK, 1, NULL);
}

static void add_event(const struct queue_event *ev, void *arg)
{
	queue_show_event(arg, ev);
}

void command_see(struct op *op, struct queue_message *m)
{
	struct buf out = BUF_INIT(QUEUE_RECORD_MAX);
	int err;

	if (op->kind != OP_CAT) {
		if (op->kind == OP_SHOW)
			queue_show(&out, m, show_queue(m));
		else
			queue_store_history(m, add_event, &out);
		send_text(op, buf_slice(&out));
		command_done(op, RESULT_OK, 1, NULL);
	} else {
		err = queue_store_content(m, &out);
		if (err == ERR_LATER)
			op->m = m;
		else
			command_give_content(op, m, err, buf_slice(&out));
	}
	buf_clear(&out);
}

/* ---- Lists. ---- */

struct collect {
	uint64_t *keys;
	size_t count, cap;
};

static void collect_key(struct collect *c, uint64_t key)
{
	if (c->count == c->cap) {
		c->cap += c->cap / 2 + 256;
		c->keys = mem_resize(c->keys, c->cap, sizeof(*c->keys));
	}
	c->keys[c->count++] = key;
}

static bool collect_row(const struct schedule_deferred *row, void *arg)
{
	collect_key(arg, row->id);
	return true;
}

static void collect_active(uint64_t key, void *arg)
{
	collect_key(arg, key);
}

bool command_list_item(struct op *op, const struct queue_message *m)
{
	struct op *list = op->list;

	op->waits =
		(list->sending != NULL && list->sending != op) ||
		!show_list(op->client->desk.ipc, list->request, m, list->with_rcpts, &op->shown);
	if (op->waits && list->sending == NULL)
		list->sending = op;
	return !op->waits;
}

static struct op *item_new(struct op *list, const char *id)
{
	struct op *item = command_op_new(list->client, 0, OP_LIST);

	item->list = list;
	item->place = QUEUE_PLACE_DEFERRED;
	strlcpy(item->id, id, sizeof(item->id));
	list->loads++;
	return item;
}

/* The one that is sent in part first, then those that came meanwhile. NULL: none, or not yet. */
static struct op *first_waiting(const struct op *list)
{
	struct op *op;

	if (list->sending != NULL)
		return list->sending->waits ? list->sending : NULL;
	TAILQ_FOREACH(op, &command_ops, link)
	if (op->list == list && op->waits)
		return op;
	return NULL;
}

/* As far as the connection has room; messages that are not in memory are read first. */
void command_list_go_on(struct op *op)
{
	struct op *waiting = first_waiting(op), *item;

	if (waiting != NULL && ipc_room(op->client->desk.ipc) > LIST_ROOM) {
		/* Its end comes back here. */
		waiting->waits = false;
		command_fetch(waiting);
		return;
	}
	while (op->sending == NULL && op->at < op->count && op->loads < LIST_LOADS &&
		ipc_room(op->client->desk.ipc) > LIST_ROOM) {
		struct show_place shown = {0};
		struct queue_message *m;
		char id[QUEUE_ID_MAX + 1];

		if (!active_key_id(op->keys[op->at++], id))
			continue;
		m = queue_store_get(qmgr.store, slice_str(id));
		if (m != NULL &&
			show_list(op->client->desk.ipc, op->request, m, op->with_rcpts, &shown))
			continue;
		item = item_new(op, id);
		if (m != NULL) {
			item->shown = shown;
			item->waits = true;
			op->sending = item;
			continue;
		}
		if (queue_store_load(qmgr.store, slice_str(id), item->place) != 0) {
			command_op_free(item);
			op->loads--;
		}
	}
	if (op->at == op->count && op->loads == 0)
		command_done(op, RESULT_OK, op->count, NULL);
}

static void list_begin(struct op *op)
{
	struct collect all = {0};

	op->wants_unread = false;
	active_walk(collect_active, &all);
	schedule_deferred_walk(qmgr.schedule, collect_row, &all);
	op->keys = all.keys != NULL ? all.keys : mem_alloc(1);
	op->count = all.count;
	command_list_go_on(op);
}

void command_list(struct client *c, struct ipc_msg *msg)
{
	struct op *op = command_op_new(c, msg->id, OP_LIST);

	op->with_rcpts = ipc_u64(msg, FIELD_FLAGS) & 1;
	op->wants_unread = queue_store_has_unread(qmgr.store);
	if (!op->wants_unread)
		list_begin(op);
}

bool command_wants_unread(void)
{
	const struct op *op;

	TAILQ_FOREACH(op, &command_ops, link)
	if (op->wants_unread)
		return true;
	return false;
}

void command_has_read(void)
{
	struct op *op, *next;

	for (op = TAILQ_FIRST(&command_ops); op != NULL; op = next) {
		next = TAILQ_NEXT(op, link);
		if (op->wants_unread)
			list_begin(op);
	}
}
