/* SPDX-License-Identifier: ISC */
#ifndef SERVER_COUNTERS_H
#define SERVER_COUNTERS_H

#include <stdint.h>

#include "util/err.h"

/*
 * A page shared by master and all workers of one service, old generations included. Each worker
 * writes its own slot alone; master clears the slot of one that has died. It holds what must be
 * counted over workers (the sessions open at a port) and what gatepost top and monitor read.
 */
enum { COUNTERS_SLOTS = 128, COUNTERS_SIZE = COUNTERS_SLOTS * 64 };

enum counter {
	COUNTER_SESSIONS,  /* open now */
	COUNTER_ACCEPTED,  /* sessions ever */
	COUNTER_MESSAGES,  /* taken or delivered */
	COUNTER_REFUSED,   /* sessions answered 421 because the port was full */
	COUNTER_STRESS,    /* 1: new sessions of this worker get the limits for stress */
	COUNTER_FORBIDDEN, /* the forbidden call that ended a process of this worker: PRIV_REPORT */
	COUNTER_LEAVING,   /* 1: accepts no more, and ends when all is done */
	COUNTER_COUNT = 8
};

/* Maps the page from a descriptor (kept by the caller); slot < COUNTERS_SLOTS. ERR_SYS, ERR_RANGE.
 */
int counters_map(int fd, unsigned slot);
void counters_add(enum counter c, int64_t n);
/* Where a counter of this worker is; NULL when no page is mapped. */
_Atomic uint64_t *counters_at(enum counter c);
/* Over all slots. 0 when no page is mapped. */
uint64_t counters_sum(enum counter c);
/* For master: maps another service's page, reads and clears slots. */
void *counters_open(int fd);                   /* NULL: errno */
void *counters_new(const char *name, int *fd); /* makes the page, too */
uint64_t counters_read(const void *page, unsigned slot, enum counter c);
void counters_clear(void *page, unsigned slot); /* what is so now: the rest is history */
void counters_close(void *page);

#endif
