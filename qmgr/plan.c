/* SPDX-License-Identifier: ISC */
#include "qmgr/plan.h"

#include "conf/conf.h"
#include "conf/plans.h"
#include "mail/stage.h"
#include "qmgr/qmgr.h"
#include "util/dict.h"
#include "util/log.h"

#define UNKNOWN_MAX 1000 /* names that are told of */

static struct plans *plans;
static struct dict *unknown; /* names that were told of, since the settings are in force */

void plan_set(void)
{
	struct buf why = BUF_INIT(1000);
	size_t where;

	plans_free(&plans);
	dict_free(&unknown);
	/* It was parsed before the settings came into force. */
	if (plans_parse(slice_str(conf_str(P_backoff_plans)), &why, &where, &plans) != 0)
		log_panic("backoff_plans: %s", buf_str(&why));
	buf_clear(&why);
}

static bool ends_by_deadline(const struct queue_message *m)
{
	return m->env.deadline != 0 && !(m->env.flags & QUEUE_FLAG_BY_NOTIFY);
}

int64_t plan_end(const struct queue_message *m)
{
	int64_t end = schedule_lifetime_end(qmgr.schedule, m->env.arrival, active_is_bounce(m));

	return ends_by_deadline(m) && m->env.deadline < end ? m->env.deadline : end;
}

bool plan_is_returned(const struct queue_message *m)
{
	return ends_by_deadline(m) && qmgr_now() >= m->env.deadline;
}

int64_t plan_tell(const struct queue_message *m)
{
	int64_t after = conf_time(P_delay_warning_time);

	if (m->env.deadline != 0 && (m->env.flags & QUEUE_FLAG_BY_NOTIFY))
		return m->env.flags & QUEUE_FLAG_BY_TOLD ? 0 : m->env.deadline;
	if (m->env.delay_warning != 0)
		return m->env.delay_warning;
	return after > 0 ? m->env.arrival + after : 0;
}

bool plan_was_told(const struct queue_message *m, const uint32_t *rcpts, uint32_t n)
{
	bool told = (m->env.flags & QUEUE_FLAG_BY_TOLD) != 0;

	for (uint32_t i = 0; i < n && !told && (m->env.flags & QUEUE_FLAG_BY_NOTIFY); i++)
		told = m->r[rcpts[i]].is_told;
	return told;
}

void plan_say_over(struct buf *text, struct slice last)
{
	(void)buf_add_str(text, "the delivery time that its sender asked for is over");
	/* Room for these words, whatever a host has said. */
	if (last.len > 0)
		(void)buf_add_fmt(text, "; last attempt: %.*s",
			SLICE_FMT(slice_first(last, QUEUE_EVENT_TEXT_MAX - 100)));
}

int64_t plan_longest(void)
{
	int64_t longest = plans_longest(plans), usual = conf_time(P_maximal_backoff_time);
	int64_t least = conf_time(P_minimal_backoff_time);

	usual = usual > least ? usual : least;
	return longest > usual ? longest : usual;
}

/* A table names it, but backoff_plans does not. */
static void tell_unknown(struct slice name)
{
	if (unknown == NULL)
		unknown = dict_new(UNKNOWN_MAX, NULL);
	if (dict_get(unknown, name) == NULL && dict_set(unknown, name, &unknown) == 0)
		log_warning(
			"backoff_plan_maps: no plan \"%s\" in backoff_plans; the default is used",
			log_q(name));
}

static struct slice known_name(struct slice name)
{
	if (name.len > 0 && plans_has(plans, name))
		return name;
	if (name.len > 0)
		tell_unknown(name);
	return SLICE_LIT("default");
}

int64_t plan_due(const struct queue_message *m, const struct plan_case *c)
{
	struct plans_query q = {.name = known_name(c->plan),
		.status = c->status,
		.code = c->code,
		.stage = stage_str((enum stage)c->stage)};
	struct schedule_plan plan = {0};
	int64_t now = qmgr_now(), end = plan_end(m), tell = plan_tell(m), due;
	bool expired;

	(void)plans_find(plans, &q, &plan.steps, &plan.n);
	due = schedule_backoff(qmgr.schedule, now, m->env.arrival, &plan, c->attempts,
		active_is_bounce(m), &expired);
	/* The sender named the time at which to hear of it: it is not slept through. */
	if ((m->env.flags & QUEUE_FLAG_BY_NOTIFY) && tell > now && tell < due)
		due = tell;
	return due < end ? due : end;
}
