/* SPDX-License-Identifier: ISC */
#ifndef QMGR_HANDOUT_H
#define QMGR_HANDOUT_H

#include "qmgr/job.h"

/*
 * Jobs on their way to a worker (job.h has their stages): the scheduler decides, the hand-out is
 * noted and a worker chosen, but not yet for a job made ahead; then what keeps it back is awaited.
 * Owns the copy of the content that was read last.
 */

/* Decided by the scheduler. */
void handout_job(struct schedule_job *sj);
/* Sends what can be sent now. After the notes of the iteration were flushed. */
void handout_run(void);
/* The content of a message came, or cannot. */
void handout_content(struct queue_message *m, int result, struct slice content);
/* Lines "in doubt" wait for the log. */
bool handout_has_lines(void);

/* The message is damaged: out of the queue, its job back. Frees j. */
void handout_unreadable(struct job *j, const char *reason);
/* Takes back jobs of a message that are not yet sent (Q17); all (NULL) at the end. */
void handout_withdraw(struct active *a);
/* Takes back what was prepared by old settings. */
void handout_withdraw_ahead(void);
/* Asks workers to give back what has no dot. */
void handout_cancel_all(void);

#endif
