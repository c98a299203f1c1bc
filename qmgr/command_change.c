/* SPDX-License-Identifier: ISC */
#include "qmgr/ack.h"
#include "qmgr/active.h"
#include "qmgr/active_index.h"
#include "qmgr/command_private.h"
#include "qmgr/handout.h"
#include "qmgr/qmgr.h"
#include "util/log.h"

/* Requests that change the queue. */

static const char *const pasts[OP_KINDS] = {
	[OP_HOLD] = "placed on hold",
	[OP_RELEASE] = "released from hold",
	[OP_REQUEUE] = "requeued",
	[OP_DELETE] = "removed",
	[OP_EXPIRE] = "expired",
};

static void durable(void *arg, uint64_t request)
{
	command_say(arg, request, RESULT_OK, 1, NULL);
}

/* Due now, routes afresh. m may be gone afterwards. */
static void try_now(struct queue_message *m)
{
	if (active_of(m) == NULL)
		active_flush(m);
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
	command_done(op, err == ERR_AGAIN ? RESULT_DEFERRED : RESULT_FAILED, 0,
		err == ERR_AGAIN   ? "its sender is being told of a failure"
		: err == ERR_STATE ? "it is being delivered to all who are left"
				   : err_str(err));
}

void command_requeued(struct queue_message *m, int result)
{
	struct op *op, *next;

	for (op = TAILQ_FIRST(&command_ops); op != NULL; op = next) {
		next = TAILQ_NEXT(op, link);
		if (op->m != m || op->kind != OP_REQUEUE)
			continue;
		if (result != 0) {
			command_done(op, RESULT_FAILED, 0,
				"it cannot be made anew now, and goes on as it is");
			continue;
		}
		log_info_as("postsuper", "%s: %s", op->id, pasts[op->kind]);
		ack_when(queue_store_noted(qmgr.store), durable, op->client, op->request);
		command_op_free(op);
	}
}

void command_change(struct op *op, struct queue_message *m)
{
	uint64_t ticket;
	int err;

	if (m->state == QUEUE_M_ENDED) {
		command_done(op, RESULT_NOT_FOUND, 0, "no such message");
		return;
	}
	if (op->kind == OP_RELEASE && m->state != QUEUE_M_HELD) {
		command_done(op, RESULT_NOT_FOUND, 0, "it is not on hold");
		return;
	}
	if (op->kind != OP_DELETE && active_is_requeued(m)) {
		command_done(op, RESULT_DEFERRED, 0, "it is being requeued");
		return;
	}
	if (op->kind == OP_REQUEUE) {
		requeue(op, m);
		return;
	}
	err = change(op->kind, m, &ticket);
	if (err != 0) {
		command_done(op, RESULT_FAILED, 0, err_str(err));
		return;
	}
	log_info_as("postsuper", "%s: %s", op->id, pasts[op->kind]);
	follow(op->kind, m);
	if (ticket == 0)
		command_say(op->client, op->request, RESULT_OK, 1, NULL);
	else
		ack_when(ticket, durable, op->client, op->request);
	command_op_free(op);
}
