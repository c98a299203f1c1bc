/* SPDX-License-Identifier: ISC */
#ifndef QMGR_ACK_H
#define QMGR_ACK_H

#include <stdint.h>

/* What is to be said when a note is durable. */

/* done(arg, number) is called from the loop when ticket is durable; a sync is begun at once. */
void ack_when(
	uint64_t ticket, void (*done)(void *arg, uint64_t number), void *arg, uint64_t number);
/* Nobody waits any more: drops all of arg. */
void ack_cancel(const void *arg);
/* Notes up to ticket are durable. */
void ack_durable(uint64_t ticket);

#endif
