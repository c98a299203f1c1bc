/* SPDX-License-Identifier: ISC */
#ifndef CLEANUP_FLUSH_H
#define CLEANUP_FLUSH_H

#include "util/slice.h"

/*
 * ETRN: where does mail for this domain go? qmgr, which reads no table, is told to try what waits
 * for that next hop. Nobody is told how it ended: the command is a wish.
 */
void flush_domain(struct slice domain);

#endif
