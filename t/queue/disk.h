/* SPDX-License-Identifier: ISC */
#ifndef T_QUEUE_DISK_H
#define T_QUEUE_DISK_H

#include "queue/io.h"

/*
 * A disk in memory behind struct queue_io, for tests of lib/queue. It knows what every file and
 * name is in the page cache and what of it is durable: blocks of 4 KB, sizes, and names one by
 * one (a rename is one thing). fsync and fdatasync make a file's blocks and size durable, fsync of
 * a directory its names; nothing else does, so everything else may be lost, kept or torn.
 *
 * Each process has a struct queue_io of its own, so that it can die at any of its calls: from
 * then on all its calls fail and its descriptors are closed. When the power is cut all
 * processes are dead and the disk is what disk_power_cut chose.
 */
struct disk;

enum disk_choice {
	DISK_FORGET_ALL, /* only what is durable */
	DISK_KEEP_ALL,   /* as if all had been synced */
	DISK_ONE_KEPT,   /* all forgotten but one thing (the seed-th) */
	DISK_ONE_LOST,   /* all kept but one thing */
	DISK_RANDOM, /* each block kept, lost, torn, or an older version of it; each name and size
		      */
};

struct disk *disk_new(void);
void disk_free(struct disk **d);

/* A process. Owned by the disk. */
const struct queue_io *disk_process(struct disk *d);
/* Its descriptors are closed (locks end), all further calls fail with EIO. */
void disk_kill(struct disk *d, const struct queue_io *io);
bool disk_is_dead(const struct queue_io *io);
/* The root directory for this process. */
struct queue_root disk_root(const struct queue_io *io);
/* Another process takes over a descriptor of io (the lock that keeper and qmgr share). */
void disk_keep_open(const struct queue_io *io, int fd, const struct queue_io *other);

/* Counts calls that change or sync something, of all processes. */
uint64_t disk_calls(const struct disk *d);
/* The process that makes this call (absolute number) dies: before it, or, for a write, in its
 * middle. 0: none. on_stop is called first. */
void disk_stop_at(
	struct disk *d, uint64_t call, bool in_middle, void (*on_stop)(void *arg), void *arg);
/* This call, if it is a sync, fails: its pages are marked clean and lost (a random half is kept).
 */
void disk_fail_sync_at(struct disk *d, uint64_t call, uint64_t seed);
bool disk_has_failed(const struct disk *d); /* that happened */
/* The next sync of a file whose path begins so fails likewise. */
void disk_fail_next_sync(struct disk *d, const char *prefix, uint64_t seed);
/* After skip of them so many opens, or reads, of files whose path begins so fail with this errno,
 * and the next ones are good again. */
enum disk_failure { DISK_OPENS, DISK_READS };
void disk_fail_some(struct disk *d, enum disk_failure what, const char *prefix, unsigned skip,
	unsigned n, int err);
/* Blocks that may still be allocated; UINT64_MAX: no limit. */
bool disk_has_limit(const struct disk *d);
void disk_set_space(struct disk *d, uint64_t blocks);
/* It copies on write: for a block that was clean there must be room for another, until the sync.
 * hides: nobody is told how much room there is, as with a quota. */
void disk_set_copying(struct disk *d, bool hides);
/* Lies: syncs below this prefix say yes and do nothing; locks always succeed. For tests of tests.
 */
void disk_lie_about_syncs(struct disk *d, const char *prefix);
void disk_lie_about_locks(struct disk *d);

/* How many things a power cut could keep or lose now. */
unsigned disk_unsynced(const struct disk *d);
/* All processes die; what is not durable goes by choice. */
void disk_power_cut(struct disk *d, enum disk_choice choice, uint64_t seed);
/* A copy as after a power cut that forgets all; the original goes on. */
struct disk *disk_durable_copy(const struct disk *d);
/* Flips a bit of a file, in memory and on the disk. False: no such place. */
bool disk_damage(struct disk *d, const char *path, uint64_t offset);
/* Names below a directory, for checks of leftovers. */
int disk_count(const struct disk *d, const char *prefix);
int disk_count_suffix(const struct disk *d, const char *suffix);

#endif
