/* SPDX-License-Identifier: ISC */
#ifndef QMGR_ACTIVE_PRIVATE_H
#define QMGR_ACTIVE_PRIVATE_H

#include "qmgr/active.h"
#include "qmgr/active_index.h"

/*
 * Inside of the active messages. Modules: active.c (beginning, results), active_route.c
 * (recipients to the scheduler and back), active_end.c (ends), active_index.c (what waits).
 */

/* All of them; a message is owned by this list until active_free. */
TAILQ_HEAD(actives, active);
extern struct actives actives;

/* active.c */
struct active *active_new(struct queue_message *m, bool loaded);
void active_free(struct active *a);
/* The recipient has its result, or nothing is to be done for it any more. */
void active_rcpt_done(struct active *a, struct active_rcpt *r);
/* Takes on more of its recipients when there is time for them. */
void active_refill(struct active *a);
/* Gives up its place in the scheduler. */
void active_release_slot(struct active *a);
bool active_is_open(const struct queue_rstatus *r);
struct slice active_domain(struct slice address);

/* active_route.c */
/* What the scheduler knows the destination of r by. */
void active_dest_key(const struct active *a, const struct active_rcpt *r, struct buf *key);
/* By the transport that r has. */
void active_enqueue(struct active *a, struct active_rcpt *r);
/* RESOLVING: something is to be known of it first. */
void active_wait(struct active *a, struct active_rcpt *r);
/* Takes "5.1.1 " off the front of text; SLICE_NONE: there is none. */
struct slice active_take_status(struct slice *text);

/* active_end.c */
void active_no_longer_asking(struct active *a);
bool active_is_expired(const struct queue_message *m);
/* The next attempt; 0: nobody waits. */
int64_t active_next_due(const struct queue_message *m);
/* Somebody is to be told of a failure, or of a success. */
bool active_has_news(const struct queue_message *m);

#endif
