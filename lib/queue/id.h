/* SPDX-License-Identifier: ISC */
#ifndef QUEUE_ID_H
#define QUEUE_ID_H

#include "queue/io.h"
#include "util/slice.h"

/*
 * Queue ids. Short (the default): QUEUE_ID_SHORT upper-case hexadecimal digits, a bijection of a
 * counter, so that digits are even and no id comes twice. The counter is handed out in blocks of
 * QUEUE_ID_BLOCK from incoming/ids, whose high mark is durable before the first id of a block is
 * used and never goes back; several processes share the file under its lock. What a process does
 * not use of a block at its end is never used. A lost file starts anew from the time, above all
 * it can have given out below 4,096 ids a second.
 *
 * Long (enable_long_queue_ids, Postfix's shape): seconds and microseconds in base 52 (digits and
 * consonants of both cases), 'z', then a number in base 51 that is unique among all that live:
 * Postfix takes the file's inode, here it is the counter of short ids.
 */
#define QUEUE_ID_SHORT 11
#define QUEUE_ID_MIN 6
#define QUEUE_ID_MAX 31
#define QUEUE_ID_BLOCK 4096

struct queue_ids;

/* Opens the source of ids. now: real time in microseconds. ERR_SYS, ERR_FULL. */
int queue_ids_open(const struct queue_root *root, int64_t now, struct queue_ids **ids);
void queue_ids_close(struct queue_ids **ids);
/*
 * The next id, NUL-terminated, into id. Waits for the disk once in QUEUE_ID_BLOCK ids. After a
 * failed sync the block is thrown away: ERR_SYS or ERR_FULL, and the next call tries a new one.
 */
int queue_ids_next(struct queue_ids *ids, bool is_long, int64_t now, char id[QUEUE_ID_MAX + 1]);
/* Whether the next call would wait for the disk (a caller with time to spare may call refill). */
bool queue_ids_is_low(const struct queue_ids *ids);
int queue_ids_refill(struct queue_ids *ids, int64_t now);

/* Of either shape, and nothing else that could harm a path, a log line or a frame. */
bool queue_id_is_valid(struct slice id);
bool queue_id_is_long(struct slice id);
/* The hash directory: two characters and NUL. id is valid. */
void queue_id_hash(struct slice id, char hash[3]);

/* For tests: the bijection and its inverse on 44 bits. */
uint64_t queue_id_mix(uint64_t n);
uint64_t queue_id_unmix(uint64_t n);

#endif
