/* SPDX-License-Identifier: ISC */
#ifndef TALLY_STORE_H
#define TALLY_STORE_H

#include "util/buf.h"

/*
 * Records on disk: a snapshot of all of them, and logs of what has changed since. Each record says
 * how something is now, so that the last one of its kind counts and applying one twice does no
 * harm. Files of a directory: snapshot.N holds all that is in log.M with M < N; log.N and later
 * ones follow. What was flushed survives a killed process, and a power cut as soon as the system
 * has written it.
 *
 * A record is length, CRC-32C and bytes. A torn or damaged one ends the reading of its file: only a
 * log's end can be torn. Compaction is done by a child that holds the state as it was at the fork;
 * nobody waits for its disk.
 */
struct store;

enum { STORE_RECORD_MAX = 16384 };

/*
 * dir is taken over. Reads all: apply is called with each record, the oldest first. Begins a new
 * log. Files that cannot be read or written are logged; the store then goes on without.
 */
struct store *store_open(int dir, void (*apply)(struct slice record)); /* owned */
void store_close(struct store **s);

/* Gathers a record; store_flush writes what is gathered, in one write. */
void store_add(struct store *s, struct slice record);
void store_flush(struct store *s);

/*
 * Whether the logs have grown so that a snapshot is due. store_compact begins one: dump, in the
 * child, calls store_add for all there is. The descriptor it gives can be read when the child has
 * ended: then store_compacted. -1: it could not be begun.
 */
bool store_is_due(const struct store *s);
int store_compact(struct store *s, void (*dump)(struct store *s));
void store_compacted(struct store *s);

#endif
