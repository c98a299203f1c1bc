/* SPDX-License-Identifier: ISC */
#ifndef TOOLS_GATEQ_SUMMARY_H
#define TOOLS_GATEQ_SUMMARY_H

#include "tools/gateq_filter.h"

/*
 * Views of the queue: how many messages and recipients there are of each destination, site, reason,
 * age or sender. Messages go by one after the other; what is kept is a row of each value, of which
 * there are at most GATEQ_ROWS: what comes with new values then counts as "(others)".
 */
enum gateq_by { GATEQ_DESTINATION, GATEQ_SITE, GATEQ_REASON, GATEQ_AGE, GATEQ_SENDER };
enum { GATEQ_ROWS = 100000 };

struct gateq_summary;
/* "destination" …; -1: none of these. */
int gateq_summary_by(const char *name);
/* filter is borrowed: of a message's recipients those count that it names. now: real time. */
struct gateq_summary *gateq_summary_new(
	enum gateq_by by, const struct gateq_filter *filter, int64_t now);
void gateq_summary_free(struct gateq_summary **s);
void gateq_summary_add(struct gateq_summary *s, const struct gateq_message *m);
/* To standard output, most recipients first (ages: youngest first). rows 0: all. */
void gateq_summary_print(struct gateq_summary *s, bool json, size_t rows);

/*
 * A reason without what differs from message to message: "connect to host[addr]:25: X" is
 * "connect: X", "host H[A] said: R (in reply to C)" is "said: R (in reply to C)"; within it
 * addresses, [addresses of hosts], and words with digits in them that are longer than a reply code
 * or an enhanced status code, become "*".
 */
void gateq_reason(struct buf *out, struct slice reason);

#endif
