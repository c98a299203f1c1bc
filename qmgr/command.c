/* SPDX-License-Identifier: ISC */
#include "qmgr/command.h"

#include <stdio.h>

#include <sys/socket.h>
#include <unistd.h>

#include "conf/conf.h"
#include "ipc/ipc.h"
#include "net/addr.h"
#include "qmgr/ack.h"
#include "qmgr/active.h"
#include "qmgr/active_index.h"
#include "qmgr/handout.h"
#include "qmgr/qmgr.h"
#include "qmgr/show.h"
#include "qmgr/users.h"
#include "queue/show.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/mem.h"

#define CLIENTS 64
#define OPS 2000      /* requests of one client at a time; more are refused */
#define LIST_LOADS 16 /* messages that a list reads ahead */
#define LIST_ROOM 262144

enum op_kind {
	OP_LIST,
	OP_FLUSH,
	OP_HOLD,
	OP_RELEASE,
	OP_REQUEUE,
	OP_DELETE,
	OP_EXPIRE,
	OP_SHOW,
	OP_HISTORY,
	OP_CAT,
	OP_KINDS
};

static const struct {
	const char *name, *past;
} kinds[OP_KINDS] = {
	[OP_LIST] = {"list", NULL},
	[OP_FLUSH] = {"flush", NULL},
	[OP_HOLD] = {"hold", "placed on hold"},
	[OP_RELEASE] = {"release", "released from hold"},
	[OP_REQUEUE] = {"requeue", "requeued"},
	[OP_DELETE] = {"delete", "removed"},
	[OP_EXPIRE] = {"expire", "expired"},
	[OP_SHOW] = {"show", NULL},
	[OP_HISTORY] = {"history", NULL},
	[OP_CAT] = {"cat", NULL},
};

struct client {
	TAILQ_ENTRY(client) link;
	struct ipc *ipc;
	uid_t uid;
	size_t ops;
};

/* A request. While it waits for a message to be read, or for its content, it stands in `ops`. */
struct op {
	TAILQ_ENTRY(op) link;
	struct client *client;
	uint64_t request;
	enum op_kind kind;
	char id[QUEUE_ID_MAX + 1];
	struct queue_message *m; /* whose content it waits for */
	enum queue_place place;  /* where it is looked for now */
	struct op *list;         /* it reads one message of that list */
	/* a list */
	uint64_t *keys;
	size_t count, at, loads;
	bool with_rcpts, wants_unread;
};

static TAILQ_HEAD(, client) clients = TAILQ_HEAD_INITIALIZER(clients);
static TAILQ_HEAD(, op) ops = TAILQ_HEAD_INITIALIZER(ops);
static size_t clients_count;
static struct users *may_list, *may_flush;
static int listener = -1;
static struct loop_watch *watch;

static void list_go_on(struct op *op);

/* ---- Requests. ---- */

static struct op *op_new(struct client *c, uint64_t request, enum op_kind kind)
{
	struct op *op = mem_alloc(sizeof(*op));

	op->client = c;
	op->request = request;
	op->kind = kind;
	TAILQ_INSERT_TAIL(&ops, op, link);
	c->ops++;
	return op;
}

static void op_free(struct op *op)
{
	op->client->ops--;
	TAILQ_REMOVE(&ops, op, link);
	mem_free(op->keys);
	mem_free(op);
}

static void say_done(struct client *c, uint64_t request, enum proto_result result, uint64_t count,
	const char *text)
{
	ipc_begin(c->ipc, PROTO_QUEUE_DONE, request);
	ipc_put_u64(c->ipc, FIELD_RESULT, result);
	ipc_put_u64(c->ipc, FIELD_COUNT, count);
	if (text != NULL)
		ipc_put_str(c->ipc, FIELD_TEXT, text);
	ipc_end(c->ipc);
}

static void op_done(struct op *op, enum proto_result result, uint64_t count, const char *text)
{
	say_done(op->client, op->request, result, count, text);
	op_free(op);
}

static void durable(void *arg, uint64_t request)
{
	say_done(arg, request, RESULT_OK, 1, NULL);
}

/* ---- Changes. ---- */

/* Due now, routes afresh. m may be gone afterwards. */
static void try_now(struct queue_message *m)
{
	if (active_of(m) == NULL)
		active_park(m, qmgr_now());
}

static int change(enum op_kind kind, struct queue_message *m, uint64_t *ticket)
{
	bool is_held = m->state == QUEUE_M_HELD;

	*ticket = 0;
	switch (kind) {
	case OP_HOLD: return is_held ? 0 : queue_store_hold(m, qmgr_now(), ticket);
	case OP_RELEASE: return is_held ? queue_store_release(m, qmgr_now(), ticket) : 0;
	case OP_DELETE: return queue_store_delete(m, qmgr_now(), ticket);
	case OP_EXPIRE: return queue_store_expire(m, qmgr_now(), ticket);
	default: return ERR_STATE;
	}
}

/* What follows from it here. m may be gone afterwards. */
static void follow(enum op_kind kind, struct queue_message *m)
{
	struct active *a = active_of(m);

	switch (kind) {
	case OP_HOLD:
		if (a == NULL) {
			active_park(m, qmgr_now());
			return;
		}
		handout_withdraw(a);
		if (active_of(m) != NULL)
			active_withdraw(active_of(m));
		return;
	case OP_DELETE:
		schedule_deferred_remove(qmgr.schedule, active_key(slice_str(m->id)));
		if (a == NULL)
			return;
		handout_withdraw(a);
		if (active_of(m) != NULL)
			active_withdraw(active_of(m));
		return;
	case OP_EXPIRE:
		if (m->state == QUEUE_M_LIVE)
			try_now(m);
		else
			active_park(m, qmgr_now());
		return;
	default: try_now(m); return;
	}
}

/* command_requeued has the answer. */
static void requeue(struct op *op, struct queue_message *m)
{
	int err;

	op->m = m;
	err = active_requeue(m);
	if (err == 0)
		return;
	op->m = NULL;
	op_done(op, err == ERR_AGAIN ? RESULT_DEFERRED : RESULT_FAILED, 0,
		err == ERR_AGAIN   ? "its sender is being told of a failure"
		: err == ERR_STATE ? "it is being delivered to all who are left"
				   : err_str(err));
}

void command_requeued(struct queue_message *m, int result)
{
	struct op *op, *next;

	for (op = TAILQ_FIRST(&ops); op != NULL; op = next) {
		next = TAILQ_NEXT(op, link);
		if (op->m != m || op->kind != OP_REQUEUE)
			continue;
		if (result != 0) {
			op_done(op, RESULT_FAILED, 0,
				"it cannot be made anew now, and goes on as it is");
			continue;
		}
		log_info_as("postsuper", "%s: %s", op->id, kinds[op->kind].past);
		ack_when(queue_store_noted(qmgr.store), durable, op->client, op->request);
		op_free(op);
	}
}

static void do_change(struct op *op, struct queue_message *m)
{
	uint64_t ticket;
	int err;

	if (m->state == QUEUE_M_ENDED) {
		op_done(op, RESULT_NOT_FOUND, 0, "no such message");
		return;
	}
	if (op->kind == OP_RELEASE && m->state != QUEUE_M_HELD) {
		op_done(op, RESULT_NOT_FOUND, 0, "it is not on hold");
		return;
	}
	if (op->kind != OP_DELETE && active_is_requeued(m)) {
		op_done(op, RESULT_DEFERRED, 0, "it is being requeued");
		return;
	}
	if (op->kind == OP_REQUEUE) {
		requeue(op, m);
		return;
	}
	err = change(op->kind, m, &ticket);
	if (err != 0) {
		op_done(op, RESULT_FAILED, 0, err_str(err));
		return;
	}
	log_info_as("postsuper", "%s: %s", op->id, kinds[op->kind].past);
	follow(op->kind, m);
	if (ticket == 0)
		say_done(op->client, op->request, RESULT_OK, 1, NULL);
	else
		ack_when(ticket, durable, op->client, op->request);
	op_free(op);
}

/* ---- Seeing. ---- */

static void send_text(struct op *op, struct slice text)
{
	struct ipc *c = op->client->ipc;

	while (text.len > 0) {
		struct slice piece = slice_first(text, 60000);

		ipc_begin(c, PROTO_QUEUE_TEXT, op->request);
		ipc_put_bytes(c, FIELD_BYTES, piece);
		if (ipc_end(c) != 0)
			return;
		text = slice_from(text, piece.len);
	}
}

static void give_content(struct op *op, struct queue_message *m, int result, struct slice content)
{
	struct ipc *c = op->client->ipc;
	int fd = -1;

	op->m = NULL;
	if (result != 0) {
		op_done(op, RESULT_FAILED, 0, err_str(result));
		return;
	}
	send_text(op, content);
	if (m->env.flags & QUEUE_FLAG_BODY_FILE && queue_store_body(m, &fd) == 0) {
		ipc_begin(c, PROTO_QUEUE_BODY, op->request);
		ipc_put_u64(c, FIELD_SIZE, m->env.body_len);
		ipc_end_fd(c, &fd);
	}
	op_done(op, RESULT_OK, 1, NULL);
}

static void add_event(const struct queue_event *ev, void *arg)
{
	queue_show_event(arg, ev);
}

static void see(struct op *op, struct queue_message *m)
{
	struct buf out = BUF_INIT(QUEUE_RECORD_MAX);
	int err;

	if (op->kind != OP_CAT) {
		if (op->kind == OP_SHOW)
			queue_show(&out, m, show_queue(m));
		else
			queue_store_history(m, add_event, &out);
		send_text(op, buf_slice(&out));
		op_done(op, RESULT_OK, 1, NULL);
	} else {
		err = queue_store_content(m, &out);
		if (err == ERR_LATER)
			op->m = m;
		else
			give_content(op, m, err, buf_slice(&out));
	}
	buf_clear(&out);
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
		queue_store_unload(m, (int64_t)row->due * CLOCK_SEC);
}

static void apply(struct op *op, struct queue_message *m)
{
	if (op->kind >= OP_SHOW) {
		see(op, m);
		let_go(m);
	} else if (op->kind == OP_LIST) {
		show_list(op->client->ipc, op->list->request, m, op->list->with_rcpts);
		let_go(m);
	} else {
		do_change(op, m);
	}
}

/* A message of a list: it has no answer of its own. */
static void list_item_done(struct op *op)
{
	struct op *list = op->list;

	op_free(op);
	list->loads--;
	list_go_on(list);
}

static void fetch(struct op *op)
{
	struct queue_message *m = queue_store_get(qmgr.store, slice_str(op->id));
	bool is_item = op->list != NULL;
	int err = 0;

	if (m != NULL)
		apply(op, m);
	else
		err = queue_store_load(qmgr.store, slice_str(op->id), op->place);
	if (is_item && (m != NULL || err != 0))
		list_item_done(op);
	else if (err != 0)
		op_done(op, RESULT_FAILED, 0, err_str(err));
}

static void not_loaded(struct op *op, int result)
{
	if (result == ERR_NOT_FOUND && op->place + 1 < QUEUE_PLACES) {
		op->place++;
		fetch(op);
	} else if (op->list != NULL) {
		list_item_done(op);
	} else if (result == ERR_NOT_FOUND) {
		op_done(op, RESULT_NOT_FOUND, 0, "no such message");
	} else {
		op_done(op, RESULT_FAILED, 0, err_str(result));
	}
}

void command_loaded(const char *id, int result, struct queue_message *m)
{
	struct op *op, *next;
	bool is_item;

	for (op = TAILQ_FIRST(&ops); op != NULL; op = next) {
		next = TAILQ_NEXT(op, link);
		if (op->m != NULL || op->keys != NULL || strcmp(op->id, id) != 0)
			continue;
		if (result != 0) {
			not_loaded(op, result);
			return;
		}
		/* A change may end it: the others look for it again. */
		m = queue_store_get(qmgr.store, slice_str(id));
		if (m == NULL) {
			not_loaded(op, ERR_SYS);
			return;
		}
		is_item = op->list != NULL;
		apply(op, m);
		if (is_item)
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

	for (op = TAILQ_FIRST(&ops); op != NULL; op = next) {
		next = TAILQ_NEXT(op, link);
		if (op->m == m && op->kind == OP_CAT)
			give_content(op, m, result, content);
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

	TAILQ_FOREACH(op, &ops, link)
	if (op->m == m)
		return true;
	return false;
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

/* As far as the connection has room; messages that are not in memory are read first. */
static void list_go_on(struct op *op)
{
	while (op->at < op->count && op->loads < LIST_LOADS &&
		ipc_room(op->client->ipc) > LIST_ROOM) {
		struct op *item;
		struct queue_message *m;
		char id[QUEUE_ID_MAX + 1];

		if (!active_key_id(op->keys[op->at++], id))
			continue;
		m = queue_store_get(qmgr.store, slice_str(id));
		if (m != NULL) {
			show_list(op->client->ipc, op->request, m, op->with_rcpts);
			continue;
		}
		item = op_new(op->client, 0, OP_LIST);
		item->list = op;
		item->place = QUEUE_PLACE_DEFERRED;
		strlcpy(item->id, id, sizeof(item->id));
		op->loads++;
		if (queue_store_load(qmgr.store, slice_str(id), item->place) != 0) {
			op_free(item);
			op->loads--;
		}
	}
	if (op->at == op->count && op->loads == 0)
		op_done(op, RESULT_OK, op->count, NULL);
}

static void list_begin(struct op *op)
{
	struct collect all = {0};

	op->wants_unread = false;
	active_walk(collect_active, &all);
	schedule_deferred_walk(qmgr.schedule, collect_row, &all);
	op->keys = all.keys != NULL ? all.keys : mem_alloc(1);
	op->count = all.count;
	list_go_on(op);
}

static void list(struct client *c, struct ipc_msg *msg)
{
	struct op *op = op_new(c, msg->id, OP_LIST);

	op->with_rcpts = ipc_u64(msg, FIELD_FLAGS) & 1;
	op->wants_unread = queue_store_has_unread(qmgr.store);
	if (!op->wants_unread)
		list_begin(op);
}

bool command_wants_unread(void)
{
	const struct op *op;

	TAILQ_FOREACH(op, &ops, link)
	if (op->wants_unread)
		return true;
	return false;
}

void command_has_read(void)
{
	struct op *op, *next;

	for (op = TAILQ_FIRST(&ops); op != NULL; op = next) {
		next = TAILQ_NEXT(op, link);
		if (op->wants_unread)
			list_begin(op);
	}
}

/* ---- What is asked. ---- */

static void flush(struct client *c, struct ipc_msg *msg)
{
	struct slice site = ipc_bytes(msg, FIELD_NEXTHOP), id = ipc_bytes(msg, FIELD_QUEUE_ID);
	size_t n;

	schedule_revive(qmgr.schedule, qmgr_now(), NULL, SLICE_NONE);
	if (id.len > 0)
		n = schedule_flush_id(qmgr.schedule, qmgr_now(), active_key(id));
	else if (site.len > 0)
		n = transport_flush(site);
	else
		n = schedule_flush_all(qmgr.schedule, qmgr_now());
	say_done(c, msg->id, id.len > 0 && n == 0 ? RESULT_NOT_FOUND : RESULT_OK, n, NULL);
	qmgr_work();
}

static bool is_allowed(const struct client *c, enum op_kind kind)
{
	if (c->uid == 0 || c->uid == geteuid())
		return true;
	if (kind == OP_LIST)
		return users_has(may_list, c->uid);
	return kind == OP_FLUSH && users_has(may_flush, c->uid);
}

static void ask(struct client *c, struct ipc_msg *msg)
{
	struct slice id = ipc_bytes(msg, FIELD_QUEUE_ID), name = ipc_bytes(msg, FIELD_NAME);
	enum op_kind kind = OP_LIST;
	struct op *op;

	if (msg->type == PROTO_QUEUE_DO)
		for (kind = OP_FLUSH; kind < OP_KINDS; kind++)
			if (slice_eq_str(name, kinds[kind].name))
				break;
	if (kind == OP_KINDS || (id.len > 0 && !queue_id_is_valid(id)) ||
		(kind > OP_FLUSH && id.len == 0))
		say_done(c, msg->id, RESULT_FAILED, 0, "bad request");
	else if (!is_allowed(c, kind))
		say_done(c, msg->id, RESULT_FAILED, 0, "not allowed to this user");
	else if (!qmgr.is_running || qmgr.is_stopping || c->ops >= OPS)
		say_done(c, msg->id, RESULT_DEFERRED, 0, "not now");
	else if (kind == OP_LIST)
		list(c, msg);
	else if (kind == OP_FLUSH)
		flush(c, msg);
	else {
		op = op_new(c, msg->id, kind);
		op->place = QUEUE_PLACE_DEFERRED;
		snprintf(op->id, sizeof(op->id), "%.*s", SLICE_FMT(id));
		fetch(op);
	}
}

/* ---- Connections. ---- */

static void on_msg(struct ipc *ipc, struct ipc_msg *msg, void *arg)
{
	(void)ipc;
	ask(arg, msg);
	qmgr_work();
}

static void on_end(struct ipc *ipc, int err, void *arg)
{
	struct client *c = arg;
	struct op *op, *next;

	(void)ipc;
	(void)err;
	ack_cancel(c);
	for (op = TAILQ_FIRST(&ops); op != NULL; op = next) {
		next = TAILQ_NEXT(op, link);
		if (op->client == c)
			op_free(op);
	}
	TAILQ_REMOVE(&clients, c, link);
	clients_count--;
	ipc_free(&c->ipc);
	mem_free(c);
}

static void on_room(struct ipc *ipc, void *arg)
{
	struct op *op, *next;

	(void)ipc;
	for (op = TAILQ_FIRST(&ops); op != NULL; op = next) {
		next = TAILQ_NEXT(op, link);
		if (op->client == arg && op->keys != NULL) {
			list_go_on(op);
			return;
		}
	}
}

static const struct ipc_events events = {on_msg, on_end, on_room};

static void admit(int fd)
{
	struct client *c;
	struct ucred cred = {0};
	socklen_t len = sizeof(cred);

	if (clients_count >= CLIENTS || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0) {
		fd_close(&fd);
		return;
	}
	c = mem_alloc(sizeof(*c));
	c->uid = cred.uid;
	c->ipc = ipc_new(fd, ROLE_QMGR, ROLE_TOOL, &events, c, 0);
	TAILQ_INSERT_TAIL(&clients, c, link);
	clients_count++;
}

static void ready(int what, void *arg)
{
	struct net_addr peer;
	int fd;

	(void)what;
	(void)arg;
	while (net_accept(listener, &fd, &peer) == 0)
		admit(fd);
}

static void watch_listener(void)
{
	watch = loop_watch_new(listener, ready, NULL);
	loop_watch_set(watch, LOOP_READ);
}

void command_listener(int fd, const char *address, bool is_unix)
{
	bool was_watched = watch != NULL;

	(void)address;
	if (!is_unix) {
		fd_close(&fd);
		return;
	}
	loop_watch_free(&watch);
	fd_close(&listener);
	listener = fd;
	fd_set_nonblock(listener, true);
	if (was_watched)
		watch_listener();
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

void command_start(void)
{
	if (listener >= 0)
		watch_listener();
}

void command_stop(void)
{
	loop_watch_free(&watch);
}
