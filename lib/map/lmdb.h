/* SPDX-License-Identifier: ISC */
#ifndef MAP_LMDB_H
#define MAP_LMDB_H

#include <sys/types.h>

#include "map/build.h"

/*
 * Building an LMDB file, for build.c: a new file at path, which is durable after lmdb_build_finish.
 * Results are those of map_build_put and map_build_remove; nul: a NUL is stored behind keys and
 * values, as postmap does.
 */
struct lmdb_build;

int lmdb_build_open(const char *path, mode_t mode, struct buf *why, struct lmdb_build **b);
int lmdb_build_put(
	struct lmdb_build *b, struct slice key, struct slice value, bool nul, enum map_dup dup);
int lmdb_build_remove(struct lmdb_build *b, struct slice key, bool nul);
/* Both free b. */
int lmdb_build_finish(struct lmdb_build **b, struct buf *why);
void lmdb_build_discard(struct lmdb_build **b);

#endif
