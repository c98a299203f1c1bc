/* SPDX-License-Identifier: ISC */
#ifndef UTIL_AGED_H
#define UTIL_AGED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Small records of one size, found by the key of fixed length at their front and kept in the order
 * of their age. For many of them: 16 bytes and 5 to 11 of index each beside the record. The index
 * is a keyed hash, so no peer can choose collisions. Bounded: at the limit the oldest goes. Records
 * do not move; they are aligned to 8 bytes.
 */
struct aged;

/* gone is called before a record is removed, for whatever reason; may be NULL. Owned. */
struct aged *aged_new(
	size_t record, size_t key, size_t limit, void (*gone)(void *record, void *arg), void *arg);
void aged_free(struct aged **a);
/* The oldest go at once when there are more. */
void aged_set_limit(struct aged *a, size_t limit);

void *aged_get(const struct aged *a, const void *key); /* NULL: none */
/* The youngest, zero but for its key. NULL: the limit is 0. One with this key must not be there. */
void *aged_add(struct aged *a, const void *key);
/* Makes it the youngest. */
void aged_touch(struct aged *a, void *record);
void aged_remove(struct aged *a, void *record);

/* From the oldest to the youngest; NULL at the end. A walk may remove what it has left. */
void *aged_oldest(const struct aged *a);
void *aged_younger(const struct aged *a, const void *record);
size_t aged_count(const struct aged *a);
/* All its memory. */
size_t aged_bytes(const struct aged *a);

#endif
