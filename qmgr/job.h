/* SPDX-License-Identifier: ISC */
#ifndef QMGR_JOB_H
#define QMGR_JOB_H

#include "qmgr/active.h"

/*
 * A job: recipients of one message for one destination, from the scheduler's decision to the
 * worker's last word. It is owned by the list of its stage and goes from list to list until
 * nothing keeps it back:
 *
 *   NOTING   its notes must be durable first (Q1, Q16): a retry, or one in doubt
 *   LINING   a line "in doubt" must be with the log first
 *   READING  its content comes from the keeper
 *   READY    made ahead: the scheduler says that it may start, and a worker is chosen;
 *            the worker's connection has room → its frames are sent
 *   SENT     waits for reports; what is left of the content goes as credit comes
 *
 * Its worker's list and the request on the worker's connection borrow it. handout.c moves it up to
 * SENT, frames.c writes it, worker.c takes its reports.
 */
enum job_stage { JOB_NOTING, JOB_LINING, JOB_READING, JOB_READY, JOB_SENT, JOB_STAGES };

struct job {
	TAILQ_ENTRY(job) link;    /* in the list of its stage */
	TAILQ_ENTRY(job) of_work; /* in its worker's */
	struct schedule_job *scheduled;
	struct active *a;
	struct transport *transport;
	struct worker *worker; /* NULL: made ahead, not started */
	uint64_t number, id;   /* id: the request on the worker's connection */
	uint64_t wait, line;   /* ticket; line that must be with the log */
	struct buf content;    /* what is not sent yet */
	enum job_stage stage;
	size_t ahead_bytes; /* what job_may_read counts of it */
	bool has_doubt, has_dot, is_gone, is_over;
	bool lacks_body;            /* its file is missing */
	uint32_t count, left;       /* recipients; without report */
	struct active_rcpt **rcpts; /* NULL: reported */
	uint32_t *index;
	bool *was_doubt; /* each recipient, before the hand-out */
};

/* Takes the recipients of sj, which stays the scheduler's and is told of the end by job_free. */
struct job *job_new(struct schedule_job *sj);
/* Ends it: all recipients were reported or taken back. Ends the pass of its message if it can. */
void job_free(struct job *j, enum schedule_outcome outcome, struct slice reason);
void job_set_stage(struct job *j, enum job_stage stage);
/* The oldest of a stage, or NULL; TAILQ_NEXT(j, link) is the next one. */
struct job *job_first(enum job_stage stage);
/* Jobs that are with workers. */
size_t job_sent(void);

/* What is not needed yet may fill only so much memory: false when it must wait. */
bool job_may_read(struct job *j);
/* It may start: its content is not counted any more. */
void job_not_ahead(struct job *j);

/* By what relay_attempts_limit is to count it. */
enum queue_road job_road(const struct job *j);
/* Its worker has come to a relay with what is left of it. */
void job_by_relay(struct job *j);
/* Takes the job back: those without report were not delivered for certain. */
void job_take_back(struct job *j);
/* The worker died behind its dot: noted, then sent again, which the log will say first (Q16). */
void job_doubt(struct job *j, const char *reason);

#endif
