/* SPDX-License-Identifier: ISC */
#ifndef LOCAL_CHILD_H
#define LOCAL_CHILD_H

#include "local/delivery.h"

/*
 * The life of a child: everything but the message and the pipe is closed, the rights are dropped,
 * then the message is looked at. Ends the process; what is not written to the pipe is for the
 * parent a delivery that died.
 */
_Noreturn void child_run(
	const struct job *j, const struct job_rcpt *r, const struct plan *p, int pipe);

#endif
