/* SPDX-License-Identifier: ISC */
#include "ipc/ipc_priv.h"

#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"

static struct request *find(const struct ipc *c, uint64_t id, bool mine)
{
	return dict_get(mine ? c->mine : c->theirs, DICT_U64(id));
}

static void set_state(
	struct ipc *c, uint64_t id, bool mine, struct request *r, const struct proto_row *row)
{
	if (row->then == STATE_SAME)
		return;
	if (row->then == STATE_NONE) {
		if (r != NULL)
			dict_remove(mine ? c->mine : c->theirs, DICT_U64(id));
		return;
	}
	r->state = row->then;
	if (r->state == STATE_CLOSING && !mine)
		r->arg = NULL;
}

static struct request *begin_request(struct ipc *c, uint64_t id, bool mine)
{
	struct request *r = mem_alloc(sizeof(*r));

	r->state = STATE_NONE;
	r->credit = IPC_CREDIT;
	if (dict_set(mine ? c->mine : c->theirs, DICT_U64(id), r) != 0) {
		mem_free(r);
		return NULL;
	}
	return r;
}

static bool is_answer(const struct proto_row *row)
{
	return row->kind == KIND_ANSWER || row->kind == KIND_ANSWER_GRANTS;
}

static size_t counted(const struct ipc_msg *m)
{
	return ipc_bytes(m, FIELD_BYTES).len;
}

int ipc_refuse(struct ipc *c, const struct ipc_msg *m, const char *why)
{
	log_warning("%s: %s frame from %s refused: %s", role_name(c->self), proto_name(m->type),
		role_name(c->peer), why);
	return ERR_SYNTAX;
}

/* Whether an ask may come now. *drop: unseen, without a fault of the peer. */
static int admit_ask(struct ipc *c, struct ipc_msg *m, const struct proto_row *row,
	struct request **rp, bool *drop)
{
	struct request *r = find(c, m->id, false);

	*drop = false;
	if (r != NULL && r->state == STATE_CLOSING && row->kind != KIND_ASK_LAST) {
		*drop = true;
		return 0;
	}
	if (r == NULL) {
		if (!(row->needs & STATE_NONE) || m->id <= c->last_theirs)
			return ipc_refuse(c, m, "it comes out of turn");
		c->last_theirs = m->id;
		r = begin_request(c, m->id, false);
		if (r == NULL)
			return ipc_refuse(c, m, "too many requests are open");
	} else if (!(row->needs & r->state))
		return ipc_refuse(c, m, "it comes out of turn");
	if (row->kind == KIND_ASK_CREDIT) {
		size_t n = counted(m);

		if (n > r->credit)
			return ipc_refuse(c, m, "it is over its credit");
		r->credit -= n;
	}
	*rp = r;
	return 0;
}

static int admit_answer(struct ipc *c, struct ipc_msg *m, const struct proto_row *row,
	struct request **rp, bool *drop)
{
	struct request *r = find(c, m->id, true);

	*drop = false;
	if (r == NULL) {
		if (m->id == 0 || m->id > c->last_mine)
			return ipc_refuse(c, m, "nobody asked");
		*drop = true;
		return 0;
	}
	if (!(row->needs & r->state))
		return ipc_refuse(c, m, "it comes out of turn");
	if (row->kind == KIND_ANSWER_GRANTS)
		r->credit += ipc_u64(m, FIELD_SIZE);
	*rp = r;
	return 0;
}

/* Finds the request of a frame that was checked already, and takes its step. */
int ipc_admit(struct ipc *c, struct ipc_msg *m, const struct proto_row *row, bool *drop)
{
	struct request *r = NULL;
	int err;

	*drop = false;
	if (row->kind == KIND_EVENT)
		return m->id == 0 ? 0 : ipc_refuse(c, m, "an event has no request id");
	if (is_answer(row))
		err = admit_answer(c, m, row, &r, drop);
	else
		err = admit_ask(c, m, row, &r, drop);
	if (err != 0 || *drop)
		return err;
	m->arg = r->arg;
	set_state(c, m->id, is_answer(row), r, row);
	return 0;
}

int ipc_check_outgoing(struct ipc *c, const struct proto_row *row, struct slice body)
{
	bool mine = !is_answer(row);
	struct request *r = NULL;
	struct buf why = BUF_INIT(256);

	if (row == NULL || !(row->from & (1u << c->self)) || !(row->to & (1u << c->peer)))
		log_panic("ipc: %s is not from %s to %s", proto_name(c->type), role_name(c->self),
			role_name(c->peer));
	if (proto_check(c->type, body, &why) != 0)
		log_panic("ipc: %s: %s", proto_name(c->type), buf_str(&why));
	if (row->kind == KIND_EVENT)
		return 0;
	r = find(c, c->id, mine);
	if (r == NULL && mine && (row->needs & STATE_NONE)) {
		r = begin_request(c, c->id, true);
		if (r == NULL)
			return ERR_LIMIT;
	}
	if (r == NULL || (r->state == STATE_CLOSING && !(row->needs & STATE_CLOSING)))
		return ERR_STATE;
	if (!(row->needs & r->state))
		log_panic("ipc: %s in state %d", proto_name(c->type), (int)r->state);
	if (row->kind == KIND_ASK_CREDIT) {
		struct ipc_msg m = {.body = body};
		size_t n = counted(&m);

		if (n > r->credit)
			return ERR_LIMIT;
		r->credit -= n;
	} else if (row->kind == KIND_ANSWER_GRANTS) {
		struct ipc_msg m = {.body = body};

		r->credit += ipc_u64(&m, FIELD_SIZE);
	}
	set_state(c, c->id, mine, r, row);
	return 0;
}

void ipc_set_arg(struct ipc *c, uint64_t id, bool mine, void *arg)
{
	struct request *r = find(c, id, mine);

	if (r != NULL)
		r->arg = arg;
}

size_t ipc_credit(const struct ipc *c, uint64_t id)
{
	const struct request *r = find(c, id, true);

	return r != NULL ? r->credit : 0;
}

struct walk {
	bool (*visit)(uint64_t id, void *request, void *arg);
	void *arg;
};

static bool walk_one(struct slice key, void *value, void *arg)
{
	struct walk *w = arg;
	struct request *r = value;
	uint64_t id;

	memcpy(&id, key.p, sizeof(id));
	return w->visit(id, r->arg, w->arg);
}

void ipc_walk(
	struct ipc *c, bool mine, bool (*visit)(uint64_t id, void *request, void *arg), void *arg)
{
	struct walk w = {visit, arg};

	dict_walk(mine ? c->mine : c->theirs, walk_one, &w);
}
