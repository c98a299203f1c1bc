/* SPDX-License-Identifier: ISC */
#ifndef CLEANUP_COMMIT_H
#define CLEANUP_COMMIT_H

#include "cleanup/message.h"

/*
 * The journal. All messages that are complete when the loop's iteration ends are appended, one
 * sync makes them durable, then each has its answer and qmgr is told. An idle system does not wait
 * for company.
 *
 * A failed write or sync (Q18): the segment is given up, qmgr is asked to note durably where it
 * ends, and only then the messages behind that place are refused with 451. When qmgr cannot be
 * asked in time the program ends without an answer to them, so that nobody hears 4xx of a message
 * that a takeover of the segment may yet find.
 */
void commit_open(void);
void commit_add(struct message *m);
/* m is READY and goes elsewhere. */
void commit_remove(struct message *m);
/* qmgr has come: asks it what is to be asked. */
void commit_qmgr_new(void);
/* qmgr's answer to SEG_FAIL. */
void commit_noted(bool is_durable);
/* Nothing waits for the journal or for qmgr. */
bool commit_is_idle(void);
/* Whether the id was made durable here, lately. False means nothing. */
bool commit_knows(struct slice id);

#endif
