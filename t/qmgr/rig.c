/* SPDX-License-Identifier: ISC */
#include "t/qmgr/rig.h"

#include "util/mem.h"

const struct schedule_settings settings = {
	.message_limit = 20000,
	.recipient_limit = 20000,
	.minimal_backoff = 300 * CLOCK_SEC,
	.maximal_backoff = 4000 * CLOCK_SEC,
	.lifetime = 432000 * CLOCK_SEC,
	.bounce_lifetime = 86400 * CLOCK_SEC,
};
const struct schedule_limits limits = {
	.recipients = 50,
	.initial_concurrency = 5,
	.concurrency = 20,
	.failed_cohorts = 1,
	.positive = {1, SCHEDULE_CONSTANT},
	.negative = {1, SCHEDULE_CONSTANT},
};

struct rig rig_new(const struct schedule_limits *l, unsigned capacity)
{
	struct rig r = {.s = schedule_new(&settings), .now = NOW};

	r.smtp = schedule_transport_set(r.s, SLICE_LIT("smtp"), l);
	schedule_transport_capacity(r.s, r.smtp, capacity);
	return r;
}

struct schedule_message *add(struct rig *r, const char *name, const char *dest, int n)
{
	struct schedule_message *m =
		schedule_message_add(r->s, mem_str(name), (uint64_t)name[0], false);

	for (int i = 0; i < n; i++) {
		struct rcpt *rcpt = mem_alloc(sizeof(*rcpt));

		rcpt->number = i;
		schedule_rcpt_add(r->s, m, r->smtp, slice_str(dest), &rcpt->link);
	}
	return m;
}

void free_rcpts(struct schedule_rcpts *list)
{
	struct schedule_rcpt *r;

	while ((r = STAILQ_FIRST(list)) != NULL) {
		STAILQ_REMOVE_HEAD(list, next);
		mem_free((struct rcpt *)(void *)r);
	}
}

struct schedule_job *job(struct rig *r)
{
	struct schedule_decision d;

	schedule_next(r->s, r->now, &d);
	return d.what == SCHEDULE_JOB ? d.job : NULL;
}

int64_t wait_until(struct rig *r)
{
	struct schedule_decision d;

	schedule_next(r->s, r->now, &d);
	return d.what == SCHEDULE_WAIT ? d.until : -1;
}

const char *name_of(const struct schedule_job *j)
{
	return j != NULL ? schedule_message_owner(j->message) : NULL;
}

void done(struct rig *r, struct schedule_job *j, enum schedule_outcome outcome)
{
	struct schedule_message *m = j->message;

	free_rcpts(&j->rcpts);
	schedule_job_done(r->s, &j, r->now, outcome, SLICE_LIT("connection refused"));
	if (schedule_message_is_idle(m)) {
		mem_free(schedule_message_owner(m));
		schedule_message_free(r->s, &m);
	}
}

void drop(struct rig *r, struct schedule_message *m)
{
	struct schedule_rcpts list = STAILQ_HEAD_INITIALIZER(list);

	schedule_withdraw(r->s, m, &list);
	free_rcpts(&list);
	mem_free(schedule_message_owner(m));
	schedule_message_free(r->s, &m);
}

void rig_free(struct rig *r)
{
	struct schedule_job *j;

	schedule_transport_capacity(r->s, r->smtp, 1000000);
	while ((j = job(r)) != NULL)
		done(r, j, SCHEDULE_NEUTRAL);
	schedule_free(&r->s);
}

int all_jobs(struct rig *r, struct schedule_job **j, int max)
{
	int n = 0;

	while (n < max && (j[n] = job(r)) != NULL)
		n++;
	return n;
}
