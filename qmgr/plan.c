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

int64_t plan_end(const struct queue_message *m)
{
	int64_t end = schedule_lifetime_end(qmgr.schedule, m->env.arrival, active_is_bounce(m));

	return m->env.deadline != 0 && m->env.deadline < end ? m->env.deadline : end;
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
	int64_t end = plan_end(m), due;
	bool expired;

	(void)plans_find(plans, &q, &plan.steps, &plan.n);
	due = schedule_backoff(qmgr.schedule, qmgr_now(), m->env.arrival, &plan, c->attempts,
		active_is_bounce(m), &expired);
	return due < end ? due : end;
}
