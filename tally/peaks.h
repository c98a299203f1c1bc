/* SPDX-License-Identifier: ISC */
#ifndef TALLY_PEAKS_H
#define TALLY_PEAKS_H

#include "policy/tally_client.h"

/*
 * The highest counts and rates of single clients since they were last told, in the words of
 * Postfix's anvil, which log tools know. Pure: times are given, in real microseconds.
 */
struct peaks;

struct peaks *peaks_new(void); /* owned */
void peaks_free(struct peaks **p);

/* The rate after an event of a client; what anvil does not count, and 0, is nothing. */
void peaks_rate(struct peaks *p, const struct tally_event *e, uint64_t rate, int64_t now);
/* Its open connections; and of how many clients, by service, there are any. */
void peaks_count(
	struct peaks *p, const struct tally_event *e, uint64_t open, uint64_t clients, int64_t now);

/* Tells each peak there was, unit being that of the rates in microseconds, and begins anew. */
void peaks_tell(struct peaks *p, int64_t unit, void (*tell)(const char *line));

#endif
