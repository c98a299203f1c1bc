/* SPDX-License-Identifier: ISC */
#include "qmgr/active_private.h"

#include "conf/conf.h"
#include "qmgr/ask.h"
#include "qmgr/command.h"
#include "qmgr/flush.h"
#include "qmgr/handout.h"
#include "qmgr/held.h"
#include "qmgr/late.h"
#include "qmgr/line.h"
#include "qmgr/plan.h"
#include "qmgr/probe.h"
#include "qmgr/qmgr.h"
#include "qmgr/site.h"
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
			visit(active_key_keep(a->m->id), arg);
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

	queue_store_recipient(a->m, r->index, &to);
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

enum queue_road active_road(const struct active *a, const struct active_rcpt *r)
{
	unsigned via = active_via(a, r), first = via & QUEUE_VIA_RELAY;
	/* What a worker holds from before has no transport here. */
	bool falls_back =
		r->transport != NULL && r->transport->falls_back && !(via & QUEUE_VIA_ONLY);

	if (first == 1)
		return QUEUE_ROAD_RELAY;
	return first > 1 || falls_back ? QUEUE_ROAD_BOTH : QUEUE_ROAD_DIRECT;
}

struct slice active_plan(const struct active *a, const struct active_rcpt *r)
{
	return r->nexthop != NULL ? slice_str(r->plan) : active_recipient(a, r).plan;
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
	struct queue_envelope env;

	queue_store_envelope(m, &env);
	if (env.login.len > 0)
		return hash_lower(env.login);
	if (env.sender.len > 0)
		return hash_lower(env.sender);
	return hash_bytes(env.id);
}

bool active_is_open(const struct queue_rstatus *r)
{
	return r->state == QUEUE_R_WAIT || r->state == QUEUE_R_DOUBT;
}

/* ---- Beginning and going. ---- */

struct active *active_new(struct queue_message *m, bool loaded)
{
	struct active *a;
	uint32_t n = 0;

	for (uint32_t i = 0; i < m->env.recipients; i++)
		n += active_is_open(&m->r[i]) || m->r[i].state == QUEUE_R_OUT;
	a = mem_alloc(sizeof(*a) + n * sizeof(a->rcpts[0]));
	a->m = m;
	a->is_probe = probe_is(m);
	probe_count(a->is_probe ? 1 : 0);
	a->since = qmgr_now();
	a->scheduled = schedule_message_add(qmgr.schedule, a, sender_of(m), loaded);
	if (m->env.has_verp)
		schedule_message_set_single(a->scheduled);
	m->user = a;
	TAILQ_INSERT_TAIL(&actives, a, link);
	return a;
}

static void rcpt_free(struct active_rcpt *r)
{
	mem_free(r->nexthop);
	mem_free(r->plan);
	r->nexthop = r->plan = NULL;
}

void active_release_slot(struct active *a)
{
	schedule_message_free(qmgr.schedule, &a->scheduled);
}

void active_free(struct active *a)
{
	for (uint32_t i = 0; i < a->count; i++) {
		site_forget(&a->rcpts[i]);
		rcpt_free(&a->rcpts[i]);
	}
	if (a->m != NULL && a->m->user == a)
		a->m->user = NULL;
	held_forget(a);
	ask_forget(a);
	active_release_slot(a);
	probe_count(a->is_probe ? -1 : 0);
	TAILQ_REMOVE(&actives, a, link);
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
	site_forget(r);
	r->state = ACTIVE_DONE;
	a->open--;
	rcpt_free(r);
}

/* Its end is not noted yet: late.c has it. */
static void keep_out(struct active *a, struct active_rcpt *r)
{
	a->resolving -= r->state == ACTIVE_RESOLVING;
	r->state = ACTIVE_OUT;
}

void active_note(struct active *a, struct active_rcpt *r, const struct queue_result *result)
{
	uint64_t ticket;
	int err;

	if (a->m == NULL) {
		active_rcpt_done(a, r);
		return;
	}
	err = queue_store_result(a->m, r->index, result, qmgr_now(), &ticket);
	if (err == ERR_FULL) {
		keep_out(a, r);
		late_result(a, r, result);
		return;
	}
	active_rcpt_done(a, r);
	if (err != 0 && err != ERR_STATE)
		qmgr_dies("a result", err);
}

/* It was the last one that relay_attempts_limit allows. */
static bool is_last_by_relay(const struct queue_rstatus *status)
{
	int64_t limit = conf_int(P_relay_attempts_limit);

	return limit > 0 && status->relayed + status->doubts + 1 >= limit;
}

static void set_due(struct active *a, struct active_rcpt *r, struct queue_result *result,
	const struct active_facts *f)
{
	const struct queue_rstatus *status = &a->m->r[r->index];
	struct plan_case c = {.plan = active_plan(a, r),
		.status = result->dsn,
		.code = f->code,
		.stage = f->stage,
		.attempts = status->attempts};

	if (result->is_untried && status->state == QUEUE_R_OUT && c.attempts > 0)
		c.attempts--;
	result->due = plan_due(a->m, &c);
}

static void give(struct active *a, struct active_rcpt *r, struct queue_result *result,
	const struct active_facts *facts)
{
	enum queue_event_type type = result->type;

	if (a->m == NULL) {
		active_rcpt_done(a, r);
		return;
	}
	if (probe_is(a->m)) {
		result->how = type == QUEUE_EV_DELIVERED ? QUEUE_HOW_DELIVERABLE
							 : QUEUE_HOW_UNDELIVERABLE;
		probe_result(a, r, type, result->text);
		result->type = QUEUE_EV_DELIVERED;
	} else if (type == QUEUE_EV_DEFERRED && result->by_relay &&
		   is_last_by_relay(&a->m->r[r->index])) {
		line_relay_limit(a, r, a->m->r[r->index].relayed + a->m->r[r->index].doubts + 1);
		result->type = QUEUE_EV_EXPIRED;
	} else if (type == QUEUE_EV_DEFERRED) {
		set_due(a, r, result, facts);
	}
	active_note(a, r, result);
}

void active_report(struct active *a, struct active_rcpt *r, enum queue_event_type type,
	struct slice dsn, struct slice host, struct slice text, const struct active_facts *facts)
{
	struct queue_result result = {.type = type,
		.dsn = dsn,
		.host = host,
		.text = text,
		.how = r->how,
		.by_relay =
			facts->by_relay || (a->m != NULL && active_road(a, r) == QUEUE_ROAD_RELAY)};

	give(a, r, &result, facts);
}

void active_result(struct active *a, struct active_rcpt *r, enum queue_event_type type,
	struct slice dsn, struct slice host, struct slice text)
{
	static const struct active_facts none;
	struct queue_result result = {.type = type,
		.dsn = dsn,
		.host = host,
		.text = text,
		.how = r->how,
		.is_untried = true};

	give(a, r, &result, &none);
}

void active_back(struct active *a, struct active_rcpt *r, bool was_tried)
{
	int err = 0;

	if (a->m != NULL && a->m->r[r->index].is_unsent)
		err = queue_store_withdraw(a->m, &r->index, 1, qmgr_now());
	else if (a->m != NULL)
		err = queue_store_give_back(a->m, r->index, was_tried, qmgr_now());
	if (err == ERR_FULL) {
		keep_out(a, r);
		late_back(a, r, was_tried);
	} else if (err != 0 && a->m->r[r->index].is_out) {
		active_result(a, r, QUEUE_EV_DEFERRED, SLICE_LIT("4.3.0"), SLICE_NONE,
			SLICE_LIT("delivery agent gave it back"));
	} else {
		active_again(a, r);
	}
}

void active_doubt(struct active *a, struct active_rcpt *r, const char *reason)
{
	uint64_t ticket;

	if (a->m != NULL &&
		queue_store_in_doubt(a->m, &r->index, 1, reason, qmgr_now(), &ticket) == ERR_FULL) {
		keep_out(a, r);
		late_doubt(a, r, reason);
		return;
	}
	active_again(a, r);
}

void active_passed(struct active *a, struct active_rcpt *r)
{
	/* First: while it is open nothing that ends here takes a with it. */
	if (a->m != NULL)
		queue_store_passed(a->m, r->index);
	active_rcpt_done(a, r);
}

/* ---- A pass begins. ---- */

/* Further off than anybody waits it is when the clock was set back: as good as now. */
static bool is_due(const struct queue_rstatus *status, int64_t until)
{
	return status->due <= until || status->due > qmgr_now() + plan_longest();
}

/* So many may be in memory beside those of others; a few of each message always. */
static uint32_t room_for_recipients(void)
{
	int64_t limit = conf_int(P_qmgr_message_recipient_limit);
	int64_t least = conf_int(P_qmgr_message_recipient_minimum);
	struct schedule_counts c;

	schedule_count(qmgr.schedule, &c);
	limit -= (int64_t)c.recipients;
	return (uint32_t)(limit > least ? limit : least);
}

static void take(struct active *a, const struct queue_recipient *to, bool fresh)
{
	const struct queue_rstatus *status = &a->m->r[to->index];
	struct active_rcpt *r = &a->rcpts[a->count];

	*r = (struct active_rcpt){.index = to->index, .state = ACTIVE_RESOLVING};
	a->count++;
	a->open++;
	a->resolving++;
	if (status->state == QUEUE_R_OUT) {
		a->resolving--;
		r->state = ACTIVE_OUT;
		held_attach(a, r);
	} else if (to->flags & QUEUE_RCPT_EXPANDED) {
		r->how = QUEUE_HOW_EXPANDED;
		active_result(a, r, QUEUE_EV_DELIVERED, SLICE_LIT("2.0.0"), SLICE_NONE,
			SLICE_LIT("alias expanded"));
	} else if (fresh) {
		r->transport = transport_get(to->transport);
		active_enqueue(a, r);
	}
}

/*
 * Those that are due, each waits by its own plan, as far as there is room. Fresh mail goes by the
 * routes that cleanup wrote a moment ago, anything older by new ones. What workers hold from before
 * cannot wait.
 */
static void take_some(struct active *a, bool fresh)
{
	struct queue_message *m = a->m;
	uint32_t room = m->is_recovered ? UINT32_MAX : room_for_recipients();
	struct queue_recipient to;

	a->is_passing = true;
	a->has_more = false;
	a->taken = 0;
	while (!a->has_more && a->index < m->env.recipients) {
		uint32_t i = a->index++;
		const struct queue_rstatus *status = &m->r[i];

		if (status->state != QUEUE_R_OUT &&
			!(active_is_open(status) && is_due(status, a->until)))
			continue;
		queue_store_recipient(m, i, &to);
		take(a, &to, fresh);
		a->has_more = ++a->taken >= room;
	}
	a->is_passing = false;
}

static void start(struct active *a, bool fresh, int64_t until)
{
	a->until = until;
	take_some(a, fresh);
	if (a->m->is_recovered)
		held_begun(a);
	ask_routes(a);
	active_check(a);
}

void active_refill(struct active *a)
{
	if (!a->has_more || a->is_passing || a->open > a->taken / 2)
		return;
	if (a->m == NULL || a->scheduled == NULL || a->m->state != QUEUE_M_LIVE ||
		active_is_over(a)) {
		a->has_more = false;
		return;
	}
	do
		take_some(a, false);
	while (a->has_more && a->open == 0);
	ask_routes(a);
}

static bool has_out(const struct queue_message *m)
{
	for (uint32_t i = 0; i < m->env.recipients; i++)
		if (m->r[i].state == QUEUE_R_OUT)
			return true;
	return false;
}

/* Nothing is to be done for it now. */
static bool may_wait(const struct queue_message *m, int64_t until)
{
	bool waits = false;

	for (uint32_t i = 0; i < m->env.recipients; i++) {
		if (m->r[i].state == QUEUE_R_OUT ||
			(active_is_open(&m->r[i]) && is_due(&m->r[i], until)))
			return false;
		waits = waits || active_is_open(&m->r[i]);
	}
	return waits && !active_has_news(m) && !active_is_expired(m);
}

static void begin(struct queue_message *m, bool loaded, uint8_t flags)
{
	bool fresh = !loaded && !m->is_recovered && m->place == QUEUE_PLACE_JOURNAL;
	int64_t due = active_next_due(m), until;
	struct active *a;

	if (m->user != NULL) {
		if (loaded)
			schedule_load_failed(qmgr.schedule);
		return;
	}
	if ((flags & (SCHEDULE_ASKED | SCHEDULE_FLUSHED)) == SCHEDULE_ASKED)
		flags |= flush_means(m) ? SCHEDULE_FLUSHED | SCHEDULE_REVIVE : 0;
	until = flags & SCHEDULE_FLUSHED ? INT64_MAX : qmgr_now();
	if (m->state != QUEUE_M_LIVE || may_wait(m, until)) {
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
	a->revives = flags & SCHEDULE_REVIVE;
	if (due != 0 && !has_out(m) && active_is_expired(m)) {
		active_check(a);
		return;
	}
	if (due != 0)
		line_active(m);
	start(a, fresh, until);
}

void active_begin(struct queue_message *m)
{
	/* It may have waited, and was read for a child of it. */
	if (m->user == NULL)
		active_unpark(m);
	begin(m, false, 0);
}

void active_begin_due(struct queue_message *m, uint8_t flags, int64_t set)
{
	if (m->user == NULL && set != qmgr_clock_set())
		queue_store_shift(m, qmgr_clock_set() - set);
	begin(m, true, flags);
}

void active_clock_set(int64_t change)
{
	struct active *a;

	TAILQ_FOREACH(a, &actives, link)
	{
		if (a->m != NULL)
			queue_store_shift(a->m, change);
		if (a->until != INT64_MAX)
			a->until += change;
	}
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
		active_unpark(m);
		a = active_new(m, false);
	}
	/* Until the new one is read nothing here may end the pass. */
	a->is_asking = a->is_requeue = true;
	a->has_more = false;
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
	/* Of a part of many it is said once. */
	if (a->m != NULL && a->is_requeue)
		command_requeued(a->m, ERR_SYS);
	active_unask(a, rcpts, n);
	if (a->is_requeue || a->is_forward)
		active_no_longer_asking(a);
	active_check(a);
}
