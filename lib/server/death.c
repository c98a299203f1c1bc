/* SPDX-License-Identifier: ISC */
#include "server/death.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/wait.h>

#include "priv/priv.h"
#include "server/counters.h"
#include "util/log.h"

enum { NOT_RUN = 127 };

static void log_forbidden(const char *service, uint64_t report)
{
	if (report != 0)
		log_error("service %s: process %d ended by a forbidden system call: %s(%d)",
			service, (int)PRIV_REPORT_PID(report),
			priv_call_name(PRIV_REPORT_CALL(report)), PRIV_REPORT_CALL(report));
}

void death_of_child(const char *service)
{
	_Atomic uint64_t *at = counters_at(COUNTER_FORBIDDEN);

	if (at != NULL)
		log_forbidden(service, atomic_exchange(at, 0));
}

void death_log(const struct death *d)
{
	char what[64];
	bool not_run = WIFEXITED(d->status) && WEXITSTATUS(d->status) == NOT_RUN;

	if (WIFSIGNALED(d->status))
		snprintf(what, sizeof(what), "killed by signal %d", WTERMSIG(d->status));
	else if (not_run)
		snprintf(what, sizeof(what), "could not be executed");
	else
		snprintf(what, sizeof(what), "exit status %d", WEXITSTATUS(d->status));
	log_forbidden(d->service, counters_read(d->counters, d->slot, COUNTER_FORBIDDEN));
	log_warning("process %s/%s pid %d %s%s", d->directory, d->program, (int)d->pid, what,
		d->was_ready || not_run ? "" : " before it was ready");
}
