/* SPDX-License-Identifier: ISC */
#include "qmgr/job.h"

#include "qmgr/qmgr.h"
#include "qmgr/worker.h"
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

void job_free(struct job *j, enum schedule_outcome outcome, struct slice reason)
{
	struct active *a = j->a;
	struct transport *t = j->transport;

	job_not_ahead(j);
	TAILQ_REMOVE(&lists[j->stage], j, link);
	sent_jobs -= j->stage == JOB_SENT;
	if (j->worker != NULL)
		TAILQ_REMOVE(&j->worker->jobs, j, of_work);
	schedule_job_done(qmgr.schedule, &j->scheduled, qmgr_now(), outcome, reason);
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

/* Those without report, in the order of the job. */
static uint32_t job_rest(const struct job *j, uint32_t *index)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < j->count; i++)
		if (j->rcpts[i] != NULL)
			index[n++] = j->index[i];
	return n;
}

void job_take_back(struct job *j)
{
	uint32_t *rest = mem_array(j->count, sizeof(*rest));
	uint32_t n = job_rest(j, rest);
	struct active *a = j->a;
	bool refused =
		n > 0 && a->m != NULL && queue_store_withdraw(a->m, rest, n, qmgr_now()) != 0;

	for (uint32_t i = 0; i < j->count; i++) {
		struct active_rcpt *r = j->rcpts[i];

		j->rcpts[i] = NULL;
		if (r == NULL)
			continue;
		if (refused)
			active_result(a, r, QUEUE_EV_DEFERRED, SLICE_LIT("4.3.0"), SLICE_NONE,
				SLICE_LIT("delivery agent ended"));
		else
			active_again(a, r);
	}
	j->left = 0;
	mem_free(rest);
}

void job_doubt(struct job *j, const char *reason)
{
	uint32_t *rest = mem_array(j->count, sizeof(*rest));
	uint32_t n = job_rest(j, rest);
	struct active *a = j->a;
	uint64_t ticket;

	if (n > 0 && a->m != NULL)
		queue_store_in_doubt(a->m, rest, n, reason, qmgr_now(), &ticket);
	for (uint32_t i = 0; i < j->count; i++)
		if (j->rcpts[i] != NULL) {
			active_again(a, j->rcpts[i]);
			j->rcpts[i] = NULL;
		}
	j->left = 0;
	mem_free(rest);
}
