/* SPDX-License-Identifier: ISC */
#ifndef LOCAL_DELIVER_H
#define LOCAL_DELIVER_H

#include "local/target.h"

/*
 * In the child, as the recipient, rights dropped: reads the message from the descriptor content
 * and delivers it to the target. loops: how many Delivered-To: fields of the recipient are no
 * circle yet.
 */
void deliver(struct job *j, const struct job_rcpt *r, const struct target *t, unsigned loops,
	int content, struct outcome *o);

#endif
