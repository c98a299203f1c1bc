/* SPDX-License-Identifier: ISC */
#ifndef CLIENT_BODY_H
#define CLIENT_BODY_H

#include "smtp-client/xact.h"

/*
 * Content on its way. In every case qmgr is told first (JOB_DOT, in the kernel's hands) that the
 * server may have the message from now on:
 *
 *   DATA   content … ─► JOB_DOT ─► the final dot; small content goes together with it
 *   BDAT   chunk, chunk … each answered ─► JOB_DOT ─► chunk LAST
 *
 * The last chunk is held back until every other one is answered with 250, so that no part of a
 * message can be taken for the whole.
 */

/* The server waits for content. */
void body_begin(struct session *s);
/* A chunk that is not the last is answered with 250. */
void body_chunk_taken(struct session *s);
/* Output is with the kernel again. */
void body_drained(struct session *s);
/* The time that content on its way has from now on. */
int64_t body_deadline(struct session *s);
void body_clear(struct xact *x);

#endif
