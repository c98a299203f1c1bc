/* SPDX-License-Identifier: ISC */
#ifndef QMGR_FLUSH_H
#define QMGR_FLUSH_H

#include "queue/store.h"

/*
 * Flushes by domain of recipients and by next hop (ETRN, postqueue -s). The scheduler's index says
 * which messages may be meant. Their envelopes are read, as fast as there is room for messages, and
 * what no flush means waits on as it was.
 */

/* What waits for the domain or next hop of that name is made due now, or looked at: so many
 * messages. Destinations of what is meant are revived. */
size_t flush_site(struct slice name);
/* All that waits, and all destinations. */
size_t flush_all(void);
/* The directories are not read yet: what is found there now may be meant. */
bool flush_is_open(void);
/* m, which was asked for, has an open recipient of such a domain or next hop. */
bool flush_means(const struct queue_message *m);

#endif
