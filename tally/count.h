/* SPDX-License-Identifier: ISC */
#ifndef TALLY_COUNT_H
#define TALLY_COUNT_H

#include "util/slice.h"

/*
 * Counts per service and client address, each held by one or more owners (workers of smtpd). When
 * an owner is lost, what it held is taken back. Bounded: a client over the limit is not counted
 * (0). Pure: no I/O, no clock. A row is where a client's rates and failures will stand, too.
 */
struct count;
struct count_owner;

struct count *count_new(size_t clients);              /* owned */
void count_free(struct count **c);                    /* all owners are gone */
struct count_owner *count_owner_new(struct count *c); /* owned */
/* Takes back all that it held. */
void count_owner_free(struct count_owner **o);

/* One more session of the client; how many there are now, over all owners. */
uint64_t count_enter(struct count_owner *o, struct slice service, struct slice client);
/* One less; false when the owner had none. */
bool count_leave(struct count_owner *o, struct slice service, struct slice client);
size_t count_clients(const struct count *c);

#endif
