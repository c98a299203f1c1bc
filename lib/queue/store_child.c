/* SPDX-License-Identifier: ISC */
#include "queue/store_private.h"
#include "util/err.h"
#include "util/mem.h"

/*
 * Mail made from a message (Q14). A child is an orphan until its parent has been read; then one
 * event of the parent accepts it, or it is dropped.
 */

static bool is_undecided(const struct queue_rstatus *r)
{
	return r->state == QUEUE_R_WAIT || r->state == QUEUE_R_OUT || r->state == QUEUE_R_DOUBT;
}

static bool is_open(const struct queue_rstatus *r, uint8_t reason)
{
	switch (reason) {
	case QUEUE_REASON_BOUNCE: return r->state == QUEUE_R_FAILED;
	case QUEUE_REASON_BOUNCE_COPY: return !r->is_copied && r->state == QUEUE_R_FAILED;
	case QUEUE_REASON_SUCCESS: return r->state == QUEUE_R_DELIVERED;
	case QUEUE_REASON_DELAY: return !r->is_told && is_undecided(r);
	case QUEUE_REASON_DELAY_COPY: return !r->is_delay_copied && is_undecided(r);
	case QUEUE_REASON_TRACE:
		return !r->is_traced && r->state != QUEUE_R_PASSED && r->state != QUEUE_R_DELETED;
	case QUEUE_REASON_FORWARD:
		/* Made by the delivery worker that has it, or had it (queue_store_passed). */
		return is_undecided(r);
	default: return !r->is_out && (r->state == QUEUE_R_WAIT || r->state == QUEUE_R_DOUBT);
	}
}

static bool parent_takes(const struct queue_message *parent, const struct queue_message *child)
{
	struct queue_envelope env;
	uint32_t n;

	queue_store_envelope(child, &env);
	n = queue_parent_count(&env);
	if (parent == NULL || parent->state == QUEUE_M_ENDED || n == 0)
		return false;
	for (uint32_t i = 0; i < n; i++) {
		uint32_t index = queue_parent_at(&env, i);

		if (index >= parent->env.recipients ||
			!is_open(&parent->r[index], child->env.reason))
			return false;
	}
	return true;
}

static enum queue_event_type parent_event(uint8_t reason)
{
	switch (reason) {
	case QUEUE_REASON_BOUNCE:
	case QUEUE_REASON_SUCCESS: return QUEUE_EV_NOTIFIED;
	case QUEUE_REASON_DELAY: return QUEUE_EV_DELAY_TOLD;
	case QUEUE_REASON_TRACE: return QUEUE_EV_TRACED;
	case QUEUE_REASON_BOUNCE_COPY:
	case QUEUE_REASON_DELAY_COPY: return QUEUE_EV_COPIED;
	default: return QUEUE_EV_PASSED;
	}
}

static uint32_t *parent_list(const struct queue_message *child, uint32_t *n)
{
	struct queue_envelope env;
	uint32_t *list;

	queue_store_envelope(child, &env);
	*n = queue_parent_count(&env);
	list = mem_array(*n + 1, sizeof(*list));
	for (uint32_t i = 0; i < *n; i++)
		list[i] = queue_parent_at(&env, i);
	return list;
}

static int drop_child(
	struct queue_store *s, struct queue_message *child, struct queue_message *parent)
{
	struct queue_event ev = {.type = QUEUE_EV_DROPPED, .other = child->env.parent};
	uint64_t ticket;
	int err = store_note_message(child, &ev, NULL, 0, &ticket);

	if (err != 0)
		return err;
	store_problem(s, false, "%s: made from %.*s too late: dropped", child->id,
		SLICE_FMT(child->env.parent));
	child->p->is_ending = true;
	store_wait(s, ticket, WAIT_END, child, NULL, 0);
	if (parent != NULL) {
		uint32_t n, *list = parent_list(child, &n);

		parent->p->busy++; /* it may have waited for nothing else */
		queue_store_ask_failed(parent, list, n);
		if (parent->p->is_given)
			s->calls->child(s->arg, parent, child->id,
				(enum queue_reason)child->env.reason, ERR_STATE);
		parent->p->busy--;
		store_try_remove(parent);
		mem_free(list);
	}
	return 0;
}

/* One event says both: the new one is accepted, the parent's recipients are done with. */
static int accept_child(
	struct queue_store *s, struct queue_message *child, struct queue_message *parent)
{
	struct queue_event ev = {.type = (uint8_t)parent_event(child->env.reason),
		.other = slice_str(child->id),
		.reason = child->env.reason};
	uint64_t ticket;
	uint32_t n, *list;
	int err;

	if (!parent_takes(parent, child))
		return drop_child(s, child, parent);
	list = parent_list(child, &n);
	err = store_note_message(parent, &ev, list, n, &ticket);
	mem_free(list);
	if (err != 0)
		return err;
	/* Behind this note in the log stand all in-doubt notes of the parent. */
	child->p->wait = ticket;
	/* When the log forgets the parent it must go on knowing that this one was accepted. */
	if (child->p->first_piece == 0)
		child->p->first_piece = s->log.slots[s->log.current].number;
	if (parent->p->is_given)
		s->calls->child(s->arg, parent, child->id, (enum queue_reason)child->env.reason, 0);
	store_try_remove(parent);
	err = store_hold_new(child);
	store_give(s, child);
	return err;
}

/* In the log at start: the parent's event names the child; one of its own does too. */
bool store_was_accepted(const struct queue_store *s, const struct queue_message *child)
{
	return child->p->no > 0 || dict_get(s->past, slice_str(child->id)) != NULL ||
	       dict_get(s->claims, slice_str(child->id)) != NULL;
}

static void order_parent(struct queue_store *s, struct queue_message *child)
{
	struct sorder *o = store_order_new(s, QUEUE_ORDER_READ);

	memcpy(o->id, child->env.parent.p, child->env.parent.len);
	o->place = QUEUE_PLACE_DEFERRED;
	o->m[o->n++] = child;
	child->p->busy++;
	store_order_put(s, o, false);
}

void store_check_orphans(struct queue_store *s)
{
	struct queue_store_private *p, *next;
	bool pending = store_has_pending_segments(s);

	for (p = TAILQ_FIRST(&s->orphans); p != NULL; p = next) {
		struct queue_message *m = p->m;
		struct queue_message *parent = store_find(s, m->env.parent);

		next = TAILQ_NEXT(p, orphan);
		if (p->busy > 0 || (parent == NULL && pending) ||
			(parent != NULL && (parent->p->is_orphan || parent->p->is_unloading)))
			continue;
		if (parent == NULL && !p->is_damaged) {
			order_parent(s, m);
			continue;
		}
		/* is_damaged: it was looked for and is nowhere. */
		if (accept_child(s, m, parent) != 0)
			return;
		TAILQ_REMOVE(&s->orphans, p, orphan);
		p->is_orphan = false;
	}
}

void store_note_orphan(struct queue_store *s, struct queue_message *m)
{
	TAILQ_INSERT_TAIL(&s->orphans, m->p, orphan);
	m->p->is_orphan = true;
}

int queue_store_ask(
	struct queue_message *m, const uint32_t *rcpts, uint32_t n, enum queue_reason reason)
{
	if (!store_has_rcpts(m, rcpts, n) || m->state == QUEUE_M_ENDED || m->p->is_unloading)
		return ERR_STATE;
	for (uint32_t i = 0; i < n; i++) {
		const struct queue_rstatus *r = &m->r[rcpts[i]];

		if (r->is_asked || (r->is_out && reason >= QUEUE_REASON_REQUEUE &&
					   reason <= QUEUE_REASON_FORWARD))
			return ERR_STATE;
	}
	for (uint32_t i = 0; i < n; i++)
		m->r[rcpts[i]].is_asked = true;
	m->p->asked += n;
	return 0;
}

int queue_store_ask_failed(struct queue_message *m, const uint32_t *rcpts, uint32_t n)
{
	if (!store_has_rcpts(m, rcpts, n))
		return ERR_STATE;
	for (uint32_t i = 0; i < n; i++) {
		if (m->r[rcpts[i]].is_asked)
			m->p->asked--;
		m->r[rcpts[i]].is_asked = false;
	}
	store_try_remove(m);
	return 0;
}
