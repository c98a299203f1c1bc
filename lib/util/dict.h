/* SPDX-License-Identifier: ISC */
#ifndef UTIL_DICT_H
#define UTIL_DICT_H

#include "util/slice.h"

/*
 * Bytes → pointer, by keyed hash (SipHash, a key per process), so no peer can choose collisions.
 * Keys are copied; values are borrowed unless a free function is given. Bounded: an insertion
 * over the limit is ERR_LIMIT. Growth is amortised.
 */
struct dict;

struct dict *dict_new(size_t limit, void (*free_value)(void *value)); /* owned */
void dict_free(struct dict **d);
size_t dict_count(const struct dict *d);
void *dict_get(const struct dict *d, struct slice key); /* NULL: none */
/* value is not NULL. An existing value is replaced (and freed). ERR_LIMIT. */
int dict_set(struct dict *d, struct slice key, void *value);
/* Removes and frees; false when it was not there. */
bool dict_remove(struct dict *d, struct slice key);
/* Removes without freeing the value; NULL when not there. */
void *dict_take(struct dict *d, struct slice key);
/* Calls visit for each, in no order; visit returns false to stop. It may remove the current key. */
void dict_walk(struct dict *d, bool (*visit)(struct slice key, void *value, void *arg), void *arg);

/* A number as key. */
#define DICT_U64(v) slice_of(&(v), sizeof(uint64_t))

#endif
