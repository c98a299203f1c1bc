/* SPDX-License-Identifier: ISC */
#ifndef QMGR_REPORT_H
#define QMGR_REPORT_H

#include "ipc/ipc.h"
#include "qmgr/active.h"

/* What a worker says of a recipient: of a job (JOB_REPORT) or of one from before (HELD_REPORT). */
struct report {
	uint64_t result; /* enum proto_result */
	struct slice status, remote, text, transport, nexthop;
	uint64_t code, stage;
	uint64_t flags; /* JOB_BY_RELAY and its kin of server/job.h */
};

/* out borrows from msg. */
void report_read(const struct ipc_msg *msg, struct report *out);
/* Gives r its result, or sends it on: another transport, or the scheduler again. */
void report_give(struct active *a, struct active_rcpt *r, const struct report *report);

#endif
