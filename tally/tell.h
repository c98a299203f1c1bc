/* SPDX-License-Identifier: ISC */
#ifndef TALLY_TELL_H
#define TALLY_TELL_H

#include "tally/bans.h"

/* A new or renewed ban: to the log, to all workers, to the disk. */
void tell_ban(const struct ban *b);
/* Something has changed that is to be written. */
void tell_store(void);

#endif
