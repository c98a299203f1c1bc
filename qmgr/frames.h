/* SPDX-License-Identifier: ISC */
#ifndef QMGR_FRAMES_H
#define QMGR_FRAMES_H

#include "qmgr/job.h"

/*
 * A job as frames on its worker's connection: JOB, JOB_RCPT for each recipient, JOB_BODY with the
 * open file, JOB_DATA, JOB_GO. Keeps nothing; the job must have a worker.
 */

/* The connection has room for it. */
bool frames_have_room(const struct job *j);
/* All before the content; j->id is the request. What queue_store_body says of its file. */
int frames_send_head(struct job *j);
/* What credit and room allow of the content, which is consumed; JOB_GO behind the last byte. */
void frames_send_content(struct job *j);

#endif
