/* SPDX-License-Identifier: ISC */
#ifndef TOOLS_GATEQ_DRY_H
#define TOOLS_GATEQ_DRY_H

#include "tools/gateq.h"

/*
 * --dry-run: the ids that a command would change, one a line, and their number on standard error.
 * It is the number that the command itself tells, as long as nothing happens in between.
 */

/* Something would come of the command. */
bool gateq_dry_fits(const char *command, const struct gateq_message *m);
/* What is named twice is meant once. The number that is left. */
size_t gateq_dry_unique(char **ids, size_t n);
/* Of messages that a list has chosen. */
void gateq_dry_run(const char *command, char *const *ids, size_t n);
/* Of ids that somebody has named; missing: there is none, or nothing to do for it. The list's
 * error.
 */
int gateq_dry_run_named(const struct gateq_backend *b, const char *command, char *const *ids,
	size_t n, void (*missing)(const char *id));
/* Of all that waits, or what waits for the domain or next hop site (not NULL): postqueue -f and -s.
 * The list's error. */
int gateq_dry_run_flush(const struct gateq_backend *b, const char *site);

#endif
