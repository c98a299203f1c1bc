/* SPDX-License-Identifier: ISC */
#ifndef T_QMGR_RIG_H
#define T_QMGR_RIG_H

#include "qmgr/schedule.h"

/* A scheduler with one transport, for tests; messages are known by their name. */
#define NOW (INT64_C(1700000000) * CLOCK_SEC)

struct rcpt {
	struct schedule_rcpt link;
	int number;
};

struct rig {
	struct schedule *s;
	struct schedule_transport *smtp;
	int64_t now;
};

extern const struct schedule_settings settings;
extern const struct schedule_limits limits;

struct rig rig_new(const struct schedule_limits *l, unsigned capacity);
/* Hands out and ends all that is left. */
void rig_free(struct rig *r);
/* n recipients for one destination; the first letter of the name is the sender. */
struct schedule_message *add(struct rig *r, const char *name, const char *dest, int n);
void free_rcpts(struct schedule_rcpts *list);
/* The next job; NULL: the decision is another. */
struct schedule_job *job(struct rig *r);
/* -1: the decision is not to wait. */
int64_t wait_until(struct rig *r);
const char *name_of(const struct schedule_job *j);
/* The job's end; frees its message when that was all. */
void done(struct rig *r, struct schedule_job *j, enum schedule_outcome outcome);
/* As many jobs as may go now, at most max. */
int all_jobs(struct rig *r, struct schedule_job **j, int max);
void drop(struct rig *r, struct schedule_message *m);

#endif
