/* SPDX-License-Identifier: ISC */
#include "qmgr/job.h"

#include "conf/conf.h"
#include "qmgr/memory.h"
#include "qmgr/qmgr.h"
#include "qmgr/worker.h"
#include "util/log.h"
#include "util/mem.h"

#define AHEAD_BYTES (16u << 20) /* content of jobs that may not start yet */

static TAILQ_HEAD(, job) lists[JOB_STAGES] = {
	TAILQ_HEAD_INITIALIZER(lists[0]),
	TAILQ_HEAD_INITIALIZER(lists[1]),
	TAILQ_HEAD_INITIALIZER(lists[2]),
	TAILQ_HEAD_INITIALIZER(lists[3]),
	TAILQ_HEAD_INITIALIZER(lists[4]),
};
static size_t sent_jobs, ahead_bytes;

void job_set_stage(struct job *j, enum job_stage stage)
{
	TAILQ_REMOVE(&lists[j->stage], j, link);
	sent_jobs -= j->stage == JOB_SENT;
	j->stage = stage;
	sent_jobs += stage == JOB_SENT;
	TAILQ_INSERT_TAIL(&lists[stage], j, link);
}

size_t job_sent(void)
{
	return sent_jobs;
}

struct job *job_first(enum job_stage stage)
{
	return TAILQ_FIRST(&lists[stage]);
}

static uint64_t next_number(void)
{
	static uint64_t number;

	/* Not used twice by two lives of qmgr: workers keep jobs over its death. */
	if (number == 0)
		number = (uint64_t)clock_real();
	return number++;
}

struct job *job_new(struct schedule_job *sj)
{
	struct job *j = mem_alloc(sizeof(*j));
	struct schedule_rcpt *link;
	uint32_t n = 0;

	j->scheduled = sj;
	j->a = schedule_message_owner(sj->message);
	j->number = next_number();
	j->count = j->left = sj->count;
	j->rcpts = mem_array(j->count, sizeof(*j->rcpts));
	j->index = mem_array(j->count, sizeof(*j->index));
	j->was_doubt = mem_array(j->count, sizeof(*j->was_doubt));
	buf_init(&j->content, QUEUE_RECORD_MAX);
	while ((link = STAILQ_FIRST(&sj->rcpts)) != NULL) {
		struct active_rcpt *r = (struct active_rcpt *)(void *)link;

		STAILQ_REMOVE_HEAD(&sj->rcpts, next);
		r->state = ACTIVE_OUT;
		j->rcpts[n] = r;
		j->index[n] = r->index;
		j->was_doubt[n] = j->a->m->r[r->index].state == QUEUE_R_DOUBT;
		j->has_doubt |= j->was_doubt[n];
		n++;
	}
	j->transport = j->rcpts[0]->transport;
	TAILQ_INSERT_TAIL(&lists[JOB_NOTING], j, link);
	return j;
}

bool job_may_read(struct job *j)
{
	size_t size = (size_t)j->a->m->env.size;

	if (j->worker != NULL)
		return true;
	if (ahead_bytes > 0 && ahead_bytes + size > AHEAD_BYTES)
		return false;
	ahead_bytes += size;
	j->ahead_bytes = size;
	return true;
}

void job_not_ahead(struct job *j)
{
	ahead_bytes -= j->ahead_bytes;
	j->ahead_bytes = 0;
}

/* Postfix's lines, for who studies how concurrency goes. */
static void log_feedback(struct transport *t, struct slice key, enum schedule_outcome outcome)
{
	const char *what = outcome == SCHEDULE_FAILED ? "throttle" : "unthrottle";
	double feedback = schedule_last_feedback(qmgr.schedule);
	struct schedule_memory m = {0};

	if (feedback >= 0)
		log_info("qmgr_queue_%s: feedback %g", what, feedback);
	/* One without anything to remember has what it began with. */
	if (!schedule_memory_find(qmgr.schedule, qmgr_time(), t->scheduled, key, &m))
		m.window = t->initial;
	log_info("qmgr_queue_%s: queue %s: limit %u window %u success %g failure %g fail_cohorts "
		 "%g",
		what, log_q(key), t->limit, m.window, m.success, m.failure, m.cohorts);
}

static void end_scheduled(struct job *j, enum schedule_outcome outcome, struct slice reason)
{
	bool is_wanted =
		outcome != SCHEDULE_NEUTRAL && conf_bool(P_destination_concurrency_feedback_debug);
	char *key = is_wanted ? slice_dup(schedule_dest_key(j->scheduled->dest)) : NULL;

	schedule_job_done(qmgr.schedule, &j->scheduled, qmgr_time(), outcome, reason);
	if (is_wanted)
		log_feedback(j->transport, slice_str(key), outcome);
	mem_free(key);
}

void job_free(struct job *j, enum schedule_outcome outcome, struct slice reason)
{
	struct active *a = j->a;
	struct transport *t = j->transport;

	job_not_ahead(j);
	TAILQ_REMOVE(&lists[j->stage], j, link);
	sent_jobs -= j->stage == JOB_SENT;
	if (j->worker != NULL)
		TAILQ_REMOVE(&j->worker->jobs, j, of_work);
	end_scheduled(j, outcome, reason);
	memory_touch();
	/* A job that has ended makes room only when its worker says so. */
	transport_room(t, 0);
	buf_clear(&j->content);
	mem_free(j->rcpts);
	mem_free(j->index);
	mem_free(j->was_doubt);
	mem_free(j);
	active_check(a);
	qmgr_work();
}

/* Recipients of one next hop differ only where a table names the relay for some of them. */
enum queue_road job_road(const struct job *j)
{
	enum queue_road road = active_road(j->a, j->rcpts[0]);

	for (uint32_t i = 1; i < j->count; i++)
		if (active_road(j->a, j->rcpts[i]) != road)
			return QUEUE_ROAD_UNKNOWN;
	return road;
}

void job_by_relay(struct job *j)
{
	for (uint32_t i = 0; j->a->m != NULL && i < j->count; i++)
		if (j->rcpts[i] != NULL)
			queue_store_set_road(j->a->m, j->index[i], QUEUE_ROAD_RELAY);
}

/* A worker says so before it goes from other hosts to a relay, and this one is gone. */
static void settle_road(struct job *j)
{
	struct queue_message *m = j->a->m;

	for (uint32_t i = 0; m != NULL && i < j->count; i++)
		if (j->rcpts[i] != NULL && m->r[j->index[i]].road == QUEUE_ROAD_BOTH)
			queue_store_set_road(m, j->index[i], QUEUE_ROAD_DIRECT);
}

void job_take_back(struct job *j)
{
	struct active *a = j->a;

	settle_road(j);
	for (uint32_t i = 0; i < j->count; i++) {
		struct active_rcpt *r = j->rcpts[i];

		j->rcpts[i] = NULL;
		if (r != NULL)
			active_back(a, r, true);
	}
	j->left = 0;
}

void job_doubt(struct job *j, const char *reason)
{
	struct active *a = j->a;

	settle_road(j);
	for (uint32_t i = 0; i < j->count; i++) {
		struct active_rcpt *r = j->rcpts[i];

		j->rcpts[i] = NULL;
		if (r != NULL)
			active_doubt(a, r, reason);
	}
	j->left = 0;
}
