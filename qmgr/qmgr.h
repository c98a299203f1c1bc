/* SPDX-License-Identifier: ISC */
#ifndef QMGR_QMGR_H
#define QMGR_QMGR_H

#include "net/loop.h"
#include "qmgr/schedule.h"
#include "queue/store.h"
#include "util/err.h"

/*
 * The queue manager's service state, and how its modules stand to each other.
 *
 *   main.c       start, settings, stop, who calls whom
 *   schedule*.c  the pure scheduler: whose turn it is
 *   lib/queue    the store: what is durable, and in which order it may become so
 *   keeper.c     the second process that waits for the disk
 *   intake.c     cleanup's segments, reading the journal
 *   active*.c    a message that is being worked on: from the store to its end or deferral
 *   flush.c      what flushes by next hop and domain mean
 *   transport.c  transports, their settings, and those that qmgr answers itself
 *   handout.c    jobs on their way to a worker; job.c what a job is, frames.c its frames
 *   worker.c     delivery workers; report.c what they say of a recipient
 *   held.c       jobs that workers hold from before
 *   late.c       what waits for room in the log
 *   plan.c       when a recipient is tried again
 *   site.c       which destinations are behind the same hosts: resolver is asked
 *   memory.c     what is known of destinations, over a restart
 *   ask.c        what cleanup is asked: routes and notices
 *   command*.c   gateq: who asks (command.c), changes, shows
 *   line.c       log lines
 *
 * All work that an event makes possible is done once, at the end of the loop's iteration
 * (qmgr_work): messages are read, jobs taken from the scheduler, their notes written together,
 * then frames sent. So the number of system calls falls with load.
 */
struct qmgr {
	struct queue_root root;
	struct queue_store *store; /* NULL until recovery is done */
	struct schedule *schedule;
	bool is_running;  /* claims are done: messages may be read */
	bool is_stopping; /* no new job */
};
extern struct qmgr qmgr;

/*
 * Two times (microseconds), cached for the iteration. Real time follows the system's clock when
 * that is set: what is noted of mail, its age, its end. The scheduler's is as real time was at the
 * start and goes on evenly: a time that has to pass passes, whatever is done to the clock. They are
 * the same as long as nobody sets it.
 */
int64_t qmgr_now(void);
int64_t qmgr_time(void);
/* The same moment in the scheduler's time, and back; CLOCK_NEVER stays. */
int64_t qmgr_time_of(int64_t real);
int64_t qmgr_real_of(int64_t time);
/* By how much the system's clock was set since the start, all in all. */
int64_t qmgr_clock_set(void);
/* For timers of the loop. */
int64_t qmgr_to_mono(int64_t time);
/* The directories are read. */
bool qmgr_has_walked(void);
/* Journal and directories are read: whom nobody knows now is gone. */
bool qmgr_has_read_all(void);
/* Does what is to be done at the end of this iteration. */
void qmgr_work(void);
/* There is more to do: after the next wait, which will be short. */
void qmgr_work_again(void);
/* The store cannot go on: ends the program, the next start recovers. */
_Noreturn void qmgr_dies(const char *what, int err);

#endif
