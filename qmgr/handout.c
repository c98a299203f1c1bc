/* SPDX-License-Identifier: ISC */
#include "qmgr/handout.h"

#include "qmgr/active_private.h"
#include "qmgr/content.h"
#include "qmgr/frames.h"
#include "qmgr/line.h"
#include "qmgr/qmgr.h"
#include "qmgr/worker.h"
#include "util/err.h"
#include "util/log.h"

/* ---- Decided by the scheduler. ---- */

static void suspend_rcpt(struct active *a, struct active_rcpt *r, const struct schedule_job *sj)
{
	struct buf reason = BUF_INIT(QUEUE_EVENT_TEXT_MAX);
	struct slice text, dsn;

	/* "4.4.1 text" (worker.c, transport.c). */
	buf_add_slice(
		&reason, slice_first(schedule_dest_reason(sj->dest), QUEUE_EVENT_TEXT_MAX - 1));
	text = buf_slice(&reason);
	dsn = active_take_status(&text);
	if (dsn.len == 0)
		dsn = SLICE_LIT("4.0.0");
	line_result("error", a, r, "deferred", dsn, text);
	active_result(a, r, QUEUE_EV_DEFERRED, dsn, SLICE_NONE, text);
	buf_clear(&reason);
}

/* Its time went by while it waited here: no attempt is left. */
static void too_late(struct schedule_job *sj)
{
	struct active *a = schedule_message_owner(sj->message);
	struct schedule_rcpt *link;

	while ((link = STAILQ_FIRST(&sj->rcpts)) != NULL) {
		STAILQ_REMOVE_HEAD(&sj->rcpts, next);
		active_rcpt_done(a, (struct active_rcpt *)(void *)link);
	}
	schedule_job_done(qmgr.schedule, &sj, qmgr_time(), SCHEDULE_NEUTRAL, SLICE_NONE);
	active_check(a);
}

static void suspended(struct schedule_job *sj)
{
	struct active *a = schedule_message_owner(sj->message);
	struct schedule_rcpt *link;

	while ((link = STAILQ_FIRST(&sj->rcpts)) != NULL) {
		STAILQ_REMOVE_HEAD(&sj->rcpts, next);
		suspend_rcpt(a, (struct active_rcpt *)(void *)link, sj);
	}
	schedule_job_done(qmgr.schedule, &sj, qmgr_time(), SCHEDULE_NEUTRAL, SLICE_NONE);
	active_check(a);
}

void handout_job(struct schedule_job *sj)
{
	struct job *j;
	int err;

	if (sj->suspended) {
		suspended(sj);
		return;
	}
	if (active_is_over(schedule_message_owner(sj->message))) {
		too_late(sj);
		return;
	}
	j = job_new(sj);
	err = queue_store_handout(j->a->m, j->index, j->count, job_road(j), qmgr_now(), &j->wait);
	if (err == 0) {
		if (!sj->ahead)
			worker_assign(j);
		return;
	}
	if (err != ERR_STATE && err != ERR_FULL)
		qmgr_dies("a hand-out", err);
	/* Held or deleted in this very moment; or the log is full, which the next decision sees. */
	for (uint32_t i = 0; i < j->count; i++) {
		if (err == ERR_FULL)
			active_again_later(j->a, j->rcpts[i]);
		else
			active_again(j->a, j->rcpts[i]);
	}
	job_free(j, SCHEDULE_NEUTRAL, SLICE_NONE);
}

/* ---- Taking back. ---- */

static void take_back(struct job *j)
{
	job_take_back(j);
	worker_release(j);
	job_free(j, SCHEDULE_NEUTRAL, SLICE_NONE);
}

void handout_unreadable(struct job *j, const char *reason)
{
	struct active *a = j->a;
	struct queue_message *m = a->m;
	uint64_t ticket;

	job_take_back(j);
	if (j->stage != JOB_SENT)
		worker_release(j);
	if (m != NULL) {
		log_warning("%s: %s: moved to corrupt", m->id, reason);
		queue_store_corrupt(m, reason, qmgr_now(), &ticket);
	}
	a->is_passing = true;
	job_free(j, SCHEDULE_NEUTRAL, SLICE_NONE);
	a->is_passing = false;
	active_withdraw(a);
}

static bool is_void(struct job *j)
{
	if (j->a->m != NULL)
		return false;
	take_back(j);
	return true;
}

/* Those of a, or of all (NULL). */
static void withdraw(const struct active *a, bool only_ahead)
{
	for (enum job_stage s = JOB_NOTING; s < JOB_SENT; s++) {
		struct job *j = job_first(s);

		while (j != NULL) {
			struct job *next = TAILQ_NEXT(j, link);

			if ((a == NULL || j->a == a) && (!only_ahead || j->worker == NULL))
				take_back(j);
			j = next;
		}
	}
}

void handout_withdraw(struct active *a)
{
	withdraw(a, false);
}

void handout_withdraw_ahead(void)
{
	withdraw(NULL, true);
}

void handout_cancel_all(void)
{
	struct job *j;

	handout_withdraw(NULL);
	for (j = job_first(JOB_SENT); j != NULL; j = TAILQ_NEXT(j, link))
		if (!j->has_dot && j->worker != NULL)
			ipc_send(j->worker->peer->ipc, PROTO_JOB_CANCEL, j->id);
}

/* ---- Sending. ---- */

/* Made ahead: false when it cannot go now; then it may be gone. */
static bool start_job(struct job *j)
{
	int err = schedule_job_start(qmgr.schedule, j->scheduled, qmgr_time());

	if (err == 0) {
		job_not_ahead(j);
		worker_assign(j);
		return true;
	}
	if (err == ERR_AGAIN)
		return false;
	for (uint32_t i = 0; i < j->count; i++)
		suspend_rcpt(j->a, j->rcpts[i], j->scheduled);
	job_free(j, SCHEDULE_NEUTRAL, SLICE_NONE);
	return false;
}

static void send_job(struct job *j)
{
	int err;

	if (j->worker == NULL && active_is_over(j->a)) {
		take_back(j);
		return;
	}
	if (j->worker == NULL && !start_job(j))
		return;
	if (!frames_have_room(j))
		return;
	err = queue_store_send(j->a->m, j->index, j->count);
	if (err == ERR_AGAIN) {
		/* Another job of the message was noted meanwhile. Its content is read once more. */
		buf_reset(&j->content);
		j->wait = queue_store_noted(qmgr.store);
		job_set_stage(j, JOB_NOTING);
		return;
	}
	/* Until the log has room for its note. */
	if (err == ERR_FULL)
		return;
	if (err != 0) {
		take_back(j);
		return;
	}
	job_set_stage(j, JOB_SENT);
	err = frames_send_head(j);
	if (err != 0 && err != ERR_CLOSED) {
		j->is_over = true;
		j->lacks_body = err == ERR_NOT_FOUND;
		ipc_send(j->worker->peer->ipc, PROTO_JOB_CANCEL, j->id);
		log_warning("%s: its body cannot be opened: %s", j->a->m->id, err_str(err));
		return;
	}
	frames_send_content(j);
}

static void got_content(struct job *j, int result, struct slice content)
{
	if (result == 0 && buf_add_slice(&j->content, content) == 0)
		job_set_stage(j, JOB_READY);
	else if (result == ERR_CORRUPT)
		handout_unreadable(j, "content is damaged");
	else
		take_back(j);
}

static void read_content(struct job *j)
{
	struct slice content;
	int err = content_read(j->a->m, &content);

	if (err == ERR_LATER)
		job_set_stage(j, JOB_READING);
	else
		got_content(j, err, content);
}

void handout_content(struct queue_message *m, int result, struct slice content)
{
	struct job *j = job_first(JOB_READING);

	while (j != NULL) {
		struct job *next = TAILQ_NEXT(j, link);

		if (j->a->m == m)
			got_content(j, result, content);
		j = next;
	}
	qmgr_work();
}

/* The state alone decides: the event with the reason may have left the log with a clean stop. */
static void say_doubt(struct job *j)
{
	const struct queue_message *m = j->a->m;

	for (uint32_t i = 0; i < j->count; i++) {
		struct queue_event ev = {0};
		struct slice reason = SLICE_LIT("no result before the last stop");

		if (!j->was_doubt[i])
			continue;
		if (queue_store_last(m, j->index[i], &ev) && ev.type == QUEUE_EV_IN_DOUBT)
			reason = ev.text;
		j->line = line_in_doubt(m, j->index[i], reason);
	}
}

static void run_noted(void)
{
	struct job *j, *next;

	for (j = job_first(JOB_NOTING); j != NULL; j = next) {
		next = TAILQ_NEXT(j, link);
		if (is_void(j) || j->wait > queue_store_durable(qmgr.store) || !job_may_read(j))
			continue;
		if (j->has_doubt && j->line == 0)
			say_doubt(j);
		if (j->line != 0)
			job_set_stage(j, JOB_LINING);
		else
			read_content(j);
	}
}

void handout_run(void)
{
	struct job *j, *next;

	run_noted();
	if (job_first(JOB_LINING) != NULL)
		log_flush();
	for (j = job_first(JOB_LINING); j != NULL; j = next) {
		next = TAILQ_NEXT(j, link);
		if (!is_void(j) && log_is_written(j->line))
			read_content(j);
	}
	for (j = job_first(JOB_READY); j != NULL; j = next) {
		next = TAILQ_NEXT(j, link);
		if (!is_void(j))
			send_job(j);
	}
}

bool handout_has_lines(void)
{
	return job_first(JOB_LINING) != NULL;
}
