/* SPDX-License-Identifier: ISC */
#ifndef QMGR_NAMES_H
#define QMGR_NAMES_H

#include "queue/id.h"

/*
 * Texts of queue ids that are too long to be numbers of 64 bits, by their keys, which are hashes.
 * A million of them may wait, so each takes 28 bytes and 6 to 11 in the hash; what is removed
 * makes room for others.
 */
struct names;

struct names *names_new(void); /* owned */
void names_free(struct names **n);
/* The key of a valid id; its highest bit is set. */
uint64_t names_key(struct slice id);
/* Keeps the text of a valid id; a second time changes nothing. */
void names_add(struct names *n, struct slice id);
/* Writes the id, NUL-terminated; false, and an empty one: not known. */
bool names_get(const struct names *n, uint64_t key, char id[QUEUE_ID_MAX + 1]);
void names_remove(struct names *n, uint64_t key);
size_t names_count(const struct names *n);

#endif
