/* SPDX-License-Identifier: ISC */
#ifndef UTIL_CLOCK_H
#define UTIL_CLOCK_H

#include <stdint.h>

#include "util/buf.h"

/* Times are int64_t microseconds. Deadlines are monotonic and absolute; CLOCK_NEVER is none. */
#define CLOCK_SEC INT64_C(1000000)
#define CLOCK_MSEC INT64_C(1000)
#define CLOCK_NEVER INT64_MAX

int64_t clock_mono(void); /* CLOCK_MONOTONIC; for an event loop's cached time see loop_now */
int64_t clock_real(void); /* since 1970 */

/* "Sat, 21 Nov 2026 10:00:00 +0000 (UTC)" (RFC 5322, 3.3), in UTC always: no zone file is read. */
void clock_add_rfc5322(struct buf *out, int64_t real);
/* "Nov 21 10:00:00" (RFC 3164) in the zone that was loaded by clock_load_zone, else UTC. */
void clock_add_syslog(struct buf *out, int64_t real);
/* "Sat Nov 21 10:00:00", as mailq prints it. */
void clock_add_ctime(struct buf *out, int64_t real);
/* Loads the local time zone once, before a chroot; later calls of the above never open a file. */
void clock_load_zone(void);

#endif
