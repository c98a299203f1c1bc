/* SPDX-License-Identifier: ISC */
#ifndef MAP_BUILD_H
#define MAP_BUILD_H

#include <sys/types.h>

#include "util/buf.h"

/*
 * Builds an indexed table (hash, btree, lmdb) beside the one that is in use. Entries go to a new
 * file "PATH.new.PID" with page checksums, which is verified, synced and renamed over PATH; then
 * the directory is synced. So readers never see half a table and never wait, and a crash leaves the
 * old one. Keys and values are stored as postmap does (with a NUL behind them, keys as given:
 * folding is the caller's), so that other programs can read the tables.
 */
struct map_build;

enum map_dup { MAP_DUP_KEEP, MAP_DUP_REPLACE };

/* type is "hash", "btree" or "lmdb"; path ends as map_build_suffix says; mode as for open(2).
 * ERR_SYS, ERR_SYNTAX. */
int map_build_open(
	const char *type, const char *path, mode_t mode, struct buf *why, struct map_build **b);
/* Whether a NUL is stored behind keys and values (yes). Before the first put. */
void map_build_set_nul(struct map_build *b, bool nul);
/* ERR_EXISTS: the key was there (MAP_DUP_KEEP); ERR_LIMIT: too long or empty; ERR_SYS. */
int map_build_put(struct map_build *b, struct slice key, struct slice value, enum map_dup dup);
/* ERR_NOT_FOUND, ERR_SYS. */
int map_build_remove(struct map_build *b, struct slice key);
/* After this or discard b is gone. An error leaves the table that was there. */
int map_build_commit(struct map_build **b, struct buf *why);
void map_build_discard(struct map_build **b);

/* Whether gatemap can build the type. */
bool map_build_has_type(const char *type);
const char *map_build_suffix(const char *type); /* ".db", ".lmdb" */

#endif
