/* SPDX-License-Identifier: ISC */
#ifndef MAP_BDB_H
#define MAP_BDB_H

#include "util/buf.h"

/*
 * How Berkeley DB gets at files here. Its calls for open, exists and pread are replaced for the
 * whole process: a daemon's handles are given a descriptor and every path is refused; a command
 * that builds tables allows paths. A handle without an environment directory reads no DB_CONFIG.
 *
 * A checksum does not say which page it belongs to, and Berkeley DB takes a page of zeros in a hash
 * file for a bucket that was never filled: both kinds of damage would read as "not found". Tables
 * built here have checksums and no such page (build.h fills them), so in a file with checksums a
 * page that does not carry its own number is damage.
 */
#define BDB_NAME "table"

/* Replaces the calls; the first use decides nothing, allow may change. */
void bdb_set_up(bool allow_paths);
/* The next handle that opens BDB_NAME reads duplicates of fd (borrowed); -1 ends that. */
void bdb_offer(int fd);
/* Whether reads from now on want page numbers: to be said before each call into a handle. */
void bdb_set_strict(bool strict);

struct bdb_head {
	uint32_t page_size, last_page;
	bool is_hash, has_checksums;
};

/* Reads the first page's head. ERR_CORRUPT: no hash or btree file, or not all of it is there. */
int bdb_read_head(int fd, struct bdb_head *head, struct buf *why);

#endif
