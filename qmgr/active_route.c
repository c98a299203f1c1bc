/* SPDX-License-Identifier: ISC */
#include <stdio.h>

#include "conf/conf.h"
#include "qmgr/active_private.h"
#include "qmgr/ask.h"
#include "qmgr/line.h"
#include "qmgr/memory.h"
#include "qmgr/probe.h"
#include "qmgr/qmgr.h"
#include "qmgr/site.h"
#include "util/mem.h"

/* Recipients on their way out: to the scheduler, back from it, or answered here. */

#define REROUTE_LIMIT 10 /* workers that died over a recipient, or sent it elsewhere */

static const struct {
	const char *program, *status, *dsn, *text;
	enum queue_event_type type;
} builtin[] = {
	[TRANSPORT_DISCARD] = {"discard", "sent", "2.0.0", "", QUEUE_EV_DELIVERED},
	[TRANSPORT_ERROR] = {"error", "bounced", "5.0.0", "", QUEUE_EV_FAILED},
	[TRANSPORT_RETRY] = {"error", "deferred", "4.0.0", "", QUEUE_EV_DEFERRED},
};

struct slice active_take_status(struct slice *text)
{
	struct slice rest = *text, status = SLICE_NONE;
	size_t dots = 0;

	slice_token(&rest, " ", &status);
	for (size_t i = 0; i < status.len; i++) {
		dots += status.p[i] == '.';
		if (status.p[i] != '.' && (status.p[i] < '0' || status.p[i] > '9'))
			return SLICE_NONE;
	}
	if (dots != 2 || status.len < 5 || status.p[1] != '.')
		return SLICE_NONE;
	*text = slice_trim(rest);
	return status;
}

static void answer(struct active *a, struct active_rcpt *r)
{
	enum transport_kind kind = r->transport->kind;
	struct slice nexthop = active_nexthop(a, r), dsn, status;
	enum queue_event_type type = builtin[kind].type;
	const char *word = builtin[kind].status;
	struct buf text = BUF_INIT(QUEUE_EVENT_TEXT_MAX);
	char code[16];

	/* The text of such a route stands where the next hop stands elsewhere. */
	if (r->nexthop == NULL && active_recipient(a, r).reason.len > 0)
		nexthop = active_recipient(a, r).reason;
	buf_add_slice(&text, slice_first(nexthop, QUEUE_EVENT_TEXT_MAX));
	nexthop = buf_slice(&text);
	status = kind == TRANSPORT_DISCARD ? SLICE_NONE : active_take_status(&nexthop);
	dsn = status.len > 0 && status.len < sizeof(code) ? status : slice_str(builtin[kind].dsn);
	snprintf(code, sizeof(code), "%.*s", SLICE_FMT(dsn));
	if (kind == TRANSPORT_RETRY)
		code[0] = '4';
	if (kind == TRANSPORT_ERROR && conf_bool(P_soft_bounce)) {
		type = QUEUE_EV_DEFERRED;
		word = "SOFTBOUNCE";
		code[0] = '4';
	}
	line_result(builtin[kind].program, a, r, word, slice_str(code), nexthop);
	active_result(a, r, type, slice_str(code), SLICE_NONE, nexthop);
	buf_clear(&text);
}

/* Deferred without an attempt. */
static void put_off(struct active *a, struct active_rcpt *r, const char *dsn, struct slice text)
{
	line_result("error", a, r, "deferred", slice_str(dsn), text);
	active_result(a, r, QUEUE_EV_DEFERRED, slice_str(dsn), SLICE_NONE, text);
}

/* Its last attempt through a relay had no result: none is left that may come to one. */
static bool is_used_up(const struct active *a, const struct active_rcpt *r)
{
	const struct queue_rstatus *status = &a->m->r[r->index];
	int64_t limit = conf_int(P_relay_attempts_limit);

	return limit > 0 && status->relayed + status->doubts >= limit &&
	       active_road(a, r) != QUEUE_ROAD_DIRECT && !a->is_probe;
}

static void return_it(struct active *a, struct active_rcpt *r)
{
	const struct queue_rstatus *status = &a->m->r[r->index];
	struct queue_event last = {0};

	line_relay_limit(a, r, status->relayed + status->doubts);
	(void)queue_store_last(a->m, r->index, &last);
	active_result(a, r, QUEUE_EV_EXPIRED, last.dsn.len > 0 ? last.dsn : SLICE_LIT("4.4.7"),
		last.host, last.text);
}

void active_dest_key(const struct active *a, const struct active_rcpt *r, struct buf *key)
{
	buf_reset(key);
	buf_add_lower(key,
		r->transport->by_recipient ? active_recipient(a, r).address : active_nexthop(a, r));
}

void active_enqueue(struct active *a, struct active_rcpt *r)
{
	struct buf key = BUF_INIT(QUEUE_STRING_MAX + QUEUE_ADDRESS_MAX);

	if (a->m->r[r->index].state == QUEUE_R_PASSED) {
		active_rcpt_done(a, r);
		return;
	}
	if (r->transport->kind != TRANSPORT_WORKERS) {
		answer(a, r);
		return;
	}
	if (a->is_probe && probe_is_one_too_many()) {
		put_off(a, r, "4.3.2", SLICE_LIT("Too many address verification requests"));
		return;
	}
	if (r->transport->is_off) {
		put_off(a, r, "4.3.2", SLICE_LIT("deferred transport"));
		return;
	}
	if (is_used_up(a, r)) {
		return_it(a, r);
		return;
	}
	active_dest_key(a, r, &key);
	if (!site_wait(a, r, buf_slice(&key))) {
		if (r->state == ACTIVE_RESOLVING)
			a->resolving--;
		r->state = ACTIVE_QUEUED;
		memory_meet(r->transport, buf_slice(&key));
		if (a->revives)
			schedule_revive_flushed(qmgr.schedule, qmgr_time(), r->transport->scheduled,
				buf_slice(&key));
		schedule_rcpt_add(qmgr.schedule, a->scheduled, r->transport->scheduled,
			buf_slice(&key), &r->link);
	}
	transport_wanted(r->transport);
	qmgr_work();
	buf_clear(&key);
}

void active_unasked(struct active *a, struct active_rcpt *r)
{
	uint32_t place = (uint32_t)(r - a->rcpts);

	r->is_asked = false;
	if (place < a->unasked)
		a->unasked = place;
}

void active_wait(struct active *a, struct active_rcpt *r)
{
	if (r->state == ACTIVE_RESOLVING)
		return;
	r->state = ACTIVE_RESOLVING;
	a->resolving++;
}

void active_route(struct active *a, struct active_rcpt *r, struct slice transport,
	struct slice nexthop, struct slice plan, unsigned via)
{
	mem_free(r->nexthop);
	mem_free(r->plan);
	r->nexthop = slice_dup(nexthop);
	r->plan = plan.len > 0 ? slice_dup(plan) : NULL;
	r->via = (uint16_t)via;
	r->transport = transport_get(transport);
	active_enqueue(a, r);
}

void active_set_route(
	struct active *a, struct active_rcpt *r, struct slice transport, struct slice nexthop)
{
	struct slice plan = a->m != NULL ? active_plan(a, r) : SLICE_NONE;
	char *kept = plan.len > 0 ? slice_dup(plan) : NULL;

	mem_free(r->nexthop);
	mem_free(r->plan);
	r->nexthop = slice_dup(nexthop);
	r->plan = kept;
	r->via = 0;
	r->transport = transport_get(transport);
}

void active_unrouted(struct active *a, struct slice text)
{
	for (uint32_t i = 0; i < a->count; i++) {
		struct active_rcpt *r = &a->rcpts[i];

		if (r->state != ACTIVE_RESOLVING)
			continue;
		put_off(a, r, "4.3.0", text);
	}
	active_check(a);
}

static void again(struct active *a, struct active_rcpt *r, bool is_blamed)
{
	/* Held or deleted, or its child was read before its worker had spoken. */
	if (a->m == NULL || a->m->state != QUEUE_M_LIVE ||
		a->m->r[r->index].state == QUEUE_R_PASSED) {
		active_rcpt_done(a, r);
		return;
	}
	if (is_blamed && ++r->deaths > REROUTE_LIMIT) {
		put_off(a, r, "4.3.0", SLICE_LIT("delivery agents died over it"));
		return;
	}
	if (r->transport != NULL) {
		active_enqueue(a, r);
		return;
	}
	active_wait(a, r);
	active_unasked(a, r);
	if (!a->is_passing)
		ask_routes(a);
}

void active_again(struct active *a, struct active_rcpt *r)
{
	again(a, r, true);
}

void active_again_later(struct active *a, struct active_rcpt *r)
{
	again(a, r, false);
}

void active_withdraw(struct active *a)
{
	struct schedule_rcpts list = STAILQ_HEAD_INITIALIZER(list);
	struct schedule_rcpt *link;

	a->has_more = false;
	if (a->scheduled != NULL)
		schedule_withdraw(qmgr.schedule, a->scheduled, &list);
	while ((link = STAILQ_FIRST(&list)) != NULL) {
		STAILQ_REMOVE_HEAD(&list, next);
		active_rcpt_done(a, (struct active_rcpt *)(void *)link);
	}
	for (uint32_t i = 0; i < a->count; i++)
		if (a->rcpts[i].state == ACTIVE_RESOLVING)
			active_rcpt_done(a, &a->rcpts[i]);
	ask_forget_routes(a);
	active_check(a);
}

static void reroute(struct active *a)
{
	struct schedule_rcpts list = STAILQ_HEAD_INITIALIZER(list);
	struct schedule_rcpt *link;
	struct active_rcpt *r;

	if (a->m == NULL || a->scheduled == NULL)
		return;
	schedule_withdraw(qmgr.schedule, a->scheduled, &list);
	while ((link = STAILQ_FIRST(&list)) != NULL) {
		STAILQ_REMOVE_HEAD(&list, next);
		r = (struct active_rcpt *)(void *)link;
		r->state = ACTIVE_RESOLVING;
		active_unasked(a, r);
		a->resolving++;
	}
	ask_routes(a);
}

void active_reroute(void)
{
	struct active *a;

	TAILQ_FOREACH(a, &actives, link)
	reroute(a);
}
