/* SPDX-License-Identifier: ISC */
#include "qmgr/active_private.h"

#include "qmgr/ask.h"
#include "qmgr/command.h"
#include "qmgr/handout.h"
#include "qmgr/held.h"
#include "qmgr/late.h"
#include "qmgr/line.h"
#include "qmgr/probe.h"
#include "qmgr/qmgr.h"
#include "util/hash.h"
#include "util/mem.h"

struct actives actives = TAILQ_HEAD_INITIALIZER(actives);
static bool parks_new;

/* ---- Small things. ---- */

void active_walk(void (*visit)(uint64_t key, void *arg), void *arg)
{
	const struct active *a;

	TAILQ_FOREACH(a, &actives, link)
	{
		if (a->m != NULL)
			visit(active_key(slice_str(a->m->id)), arg);
	}
	active_walk_loading(visit, arg);
}

struct active *active_of(struct queue_message *m)
{
	return m->user;
}

bool active_is_bounce(const struct queue_message *m)
{
	return m->env.sender.len == 0;
}

struct queue_recipient active_recipient(const struct active *a, const struct active_rcpt *r)
{
	struct queue_recipient to;

	queue_recipient_at(&a->m->env, a->m->r[r->index].where, r->index, &to);
	return to;
}

struct slice active_domain(struct slice address)
{
	ptrdiff_t at = slice_find_last(address, '@');

	return at < 0 ? SLICE_NONE : slice_from(address, (size_t)at + 1);
}

unsigned active_via(const struct active *a, const struct active_rcpt *r)
{
	return r->nexthop != NULL ? r->via : active_recipient(a, r).via;
}

struct slice active_nexthop(const struct active *a, const struct active_rcpt *r)
{
	struct queue_recipient to;
	struct slice nexthop;

	if (r->nexthop != NULL && r->nexthop[0] != '\0')
		return slice_str(r->nexthop);
	to = active_recipient(a, r);
	nexthop = r->nexthop != NULL ? SLICE_NONE : to.nexthop;
	return nexthop.len > 0 ? nexthop : active_domain(to.address);
}

/* A login stands for its owner whatever the sender says; notices have no sender in common. */
static uint64_t sender_of(const struct queue_message *m)
{
	if (m->env.login.len > 0)
		return hash_lower(m->env.login);
	if (m->env.sender.len > 0)
		return hash_lower(m->env.sender);
	return hash_bytes(m->env.id);
}

bool active_is_open(const struct queue_rstatus *r)
{
	return r->state == QUEUE_R_WAIT || r->state == QUEUE_R_DOUBT;
}

/* ---- Beginning and going. ---- */

struct active *active_new(struct queue_message *m, bool loaded)
{
	struct active *a = mem_alloc(sizeof(*a));
	uint32_t n = 0;

	a->m = m;
	a->is_probe = probe_is(m);
	probe_count(a->is_probe ? 1 : 0);
	a->since = qmgr_now();
	a->scheduled = schedule_message_add(qmgr.schedule, a, sender_of(m), loaded);
	for (uint32_t i = 0; i < m->env.recipients; i++)
		n += active_is_open(&m->r[i]) || m->r[i].state == QUEUE_R_OUT;
	a->rcpts = mem_array(n, sizeof(*a->rcpts));
	m->user = a;
	TAILQ_INSERT_TAIL(&actives, a, link);
	return a;
}

static void rcpt_free(struct active_rcpt *r)
{
	mem_free(r->nexthop);
	r->nexthop = NULL;
}

void active_release_slot(struct active *a)
{
	schedule_message_free(qmgr.schedule, &a->scheduled);
}

void active_free(struct active *a)
{
	for (uint32_t i = 0; i < a->count; i++)
		rcpt_free(&a->rcpts[i]);
	if (a->m != NULL && a->m->user == a)
		a->m->user = NULL;
	held_forget(a);
	ask_forget(a);
	active_release_slot(a);
	probe_count(a->is_probe ? -1 : 0);
	TAILQ_REMOVE(&actives, a, link);
	mem_free(a->rcpts);
	mem_free(a);
	qmgr_work();
}

/* ---- Results. ---- */

void active_rcpt_done(struct active *a, struct active_rcpt *r)
{
	if (r->state == ACTIVE_DONE)
		return;
	if (r->state == ACTIVE_RESOLVING)
		a->resolving--;
	r->state = ACTIVE_DONE;
	a->open--;
	rcpt_free(r);
}

void active_result(struct active *a, struct active_rcpt *r, enum queue_event_type type,
	struct slice dsn, struct slice host, struct slice text)
{
	struct queue_result result = {
		.type = (uint8_t)type, .dsn = dsn, .host = host, .text = text, .how = r->how};
	uint64_t ticket;
	bool expired;
	int err;

	if (a->m == NULL) {
		active_rcpt_done(a, r);
		return;
	}
	if (probe_is(a->m)) {
		probe_result(a, r, type, text);
		result.type = QUEUE_EV_DELIVERED;
		/* Once known it stays, should the log have no room for it now. */
		if (r->how < QUEUE_HOW_DELIVERABLE)
			r->how = type == QUEUE_EV_DELIVERED ? QUEUE_HOW_DELIVERABLE
							    : QUEUE_HOW_UNDELIVERABLE;
		result.how = r->how;
	} else if (type == QUEUE_EV_DEFERRED)
		result.due = schedule_backoff(qmgr.schedule, qmgr_now(), a->m->env.arrival, NULL, 0,
			active_is_bounce(a->m), &expired);
	err = queue_store_result(a->m, r->index, &result, qmgr_now(), &ticket);
	if (err == ERR_FULL) {
		a->resolving -= r->state == ACTIVE_RESOLVING;
		r->state = ACTIVE_OUT;
		late_add(a, r, &result);
		return;
	}
	active_rcpt_done(a, r);
	if (err != 0 && err != ERR_STATE)
		qmgr_dies("a result", err);
}

void active_passed(struct active *a, struct active_rcpt *r)
{
	active_rcpt_done(a, r);
	if (a->m != NULL)
		queue_store_passed(a->m, r->index);
}

/* ---- A pass begins. ---- */

/* Fresh mail goes by the routes that cleanup wrote a moment ago, anything older by new ones. */
static void start(struct active *a, bool fresh)
{
	struct queue_message *m = a->m;
	struct queue_recipient to;
	uint32_t offset = 0, index = 0;

	a->is_passing = true;
	while (queue_recipient_next(&m->env, &offset, &index, &to)) {
		struct queue_rstatus *status = &m->r[to.index];
		struct active_rcpt *r = &a->rcpts[a->count];

		if (!active_is_open(status) && status->state != QUEUE_R_OUT)
			continue;
		*r = (struct active_rcpt){.index = to.index, .state = ACTIVE_RESOLVING};
		a->count++;
		a->open++;
		a->resolving++;
		if (status->state == QUEUE_R_OUT) {
			a->resolving--;
			r->state = ACTIVE_OUT;
			held_attach(a, r);
		} else if (to.flags & QUEUE_RCPT_EXPANDED) {
			r->how = QUEUE_HOW_EXPANDED;
			active_result(a, r, QUEUE_EV_DELIVERED, SLICE_LIT("2.0.0"), SLICE_NONE,
				SLICE_LIT("alias expanded"));
		} else if (to.flags & QUEUE_RCPT_DROPPED) {
			active_result(a, r, QUEUE_EV_DELIVERED, SLICE_LIT("2.0.0"), SLICE_NONE,
				SLICE_LIT("dropped"));
		} else if (fresh) {
			r->transport = transport_get(to.transport);
			active_enqueue(a, r);
		}
	}
	a->is_passing = false;
	if (m->is_recovered)
		held_begun(a);
	ask_routes(a);
	active_check(a);
}

static bool has_out(const struct queue_message *m)
{
	for (uint32_t i = 0; i < m->env.recipients; i++)
		if (m->r[i].state == QUEUE_R_OUT)
			return true;
	return false;
}

void active_begin(struct queue_message *m, bool loaded)
{
	bool fresh = !loaded && !m->is_recovered && m->place == QUEUE_PLACE_JOURNAL;
	int64_t due = active_next_due(m);
	struct active *a;

	if (m->user != NULL) {
		if (loaded)
			schedule_load_failed(qmgr.schedule);
		return;
	}
	if (m->state != QUEUE_M_LIVE ||
		(!loaded && due > qmgr_now() && !has_out(m) && !active_has_news(m))) {
		if (loaded)
			schedule_load_failed(qmgr.schedule);
		if (m->state != QUEUE_M_ENDED)
			active_park(m, due);
		return;
	}
	if (parks_new && !loaded && !has_out(m)) {
		active_park(m, due != 0 ? due : 1);
		return;
	}
	a = active_new(m, loaded);
	if (due != 0 && !has_out(m) && active_is_expired(m)) {
		active_check(a);
		return;
	}
	if (due != 0)
		line_active(m);
	start(a, fresh);
}

void active_park_new(bool is_on)
{
	parks_new = is_on;
}

/* ---- Made anew. ---- */

bool active_is_requeued(struct queue_message *m)
{
	const struct active *a = m->user;

	return a != NULL && a->is_requeue;
}

/* Those that are in no sent job: asked for, each part by a request of its own. */
static int ask_requeue(struct active *a)
{
	struct queue_message *m = a->m;
	uint32_t *list = mem_array(m->env.recipients, sizeof(*list)), n = 0;
	int err = ERR_STATE;

	for (uint32_t i = 0; i < m->env.recipients; i++)
		if (active_is_open(&m->r[i]) && !m->r[i].is_out && !m->r[i].is_asked)
			list[n++] = i;
	if (n > 0)
		err = queue_store_ask(m, list, n, QUEUE_REASON_REQUEUE);
	for (uint32_t at = 0; err == 0 && at < n; at += QUEUE_PARENTS_MAX)
		ask_requeue_of(
			a, list + at, n - at < QUEUE_PARENTS_MAX ? n - at : QUEUE_PARENTS_MAX);
	mem_free(list);
	return err;
}

int active_requeue(struct queue_message *m)
{
	struct active *a = m->user;
	int err;

	if (a != NULL && a->is_asking)
		return ERR_AGAIN;
	if (a == NULL) {
		schedule_deferred_remove(qmgr.schedule, active_key(slice_str(m->id)));
		a = active_new(m, false);
	}
	/* Until the new one is read nothing here may end the pass. */
	a->is_asking = a->is_requeue = true;
	handout_withdraw(a);
	active_withdraw(a);
	if (schedule_message_is_idle(a->scheduled))
		active_release_slot(a);
	err = ask_requeue(a);
	if (err != 0) {
		active_no_longer_asking(a);
		active_check(a);
	}
	return err;
}

void active_requeue_failed(struct active *a, const uint32_t *rcpts, uint32_t n)
{
	if (a->m != NULL) {
		queue_store_ask_failed(a->m, rcpts, n);
		command_requeued(a->m, ERR_SYS);
	}
	active_no_longer_asking(a);
	active_check(a);
}
