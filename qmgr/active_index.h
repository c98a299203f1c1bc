/* SPDX-License-Identifier: ISC */
#ifndef QMGR_ACTIVE_INDEX_H
#define QMGR_ACTIVE_INDEX_H

#include "queue/store.h"

/*
 * Messages that are not being worked on: those that wait in the scheduler's index of deferred mail,
 * and those that are being loaded from there. The index knows messages by keys, which are numbers:
 * a short queue id is its own, a long one has a hash. Owns the texts of long ids and the set of
 * keys that are being loaded; messages stay the store's.
 */

/* Queue ids as keys, and back. */
uint64_t active_key(struct slice id);
/* Writes the id, NUL-terminated; false: not known. */
bool active_key_id(uint64_t key, char id[QUEUE_ID_MAX + 1]);
/* The key, for one that asks for the id later: it is known from now on until the message ends. */
uint64_t active_key_keep(const char *id);
/* The message has ended: out of the index, and its id is not needed any more. */
void active_key_drop(uint64_t key);

/* Into the index, and out of memory where that is possible. */
void active_park(struct queue_message *m, int64_t due);
/* The walk through the directories found this one. */
void active_waiting(const char *id, enum queue_place place, int64_t due);
/* The scheduler wants this one; set: by how much the clock had been set when it was put there. */
void active_load(uint64_t key, uint8_t flags, int64_t set);
/* m is no longer in the index: the times of its recipients follow the clock. */
void active_unpark(struct queue_message *m);
/* The store has an answer to a load that the scheduler asked for. */
void active_loaded(const char *id, int result, struct queue_message *m);

/* Whether the message is here, waits, or is being loaded. */
bool active_may_come(struct slice id);
/* Some that are asked for have not been looked at yet. */
bool active_has_asked(void);
/* The keys of what is being loaded. */
void active_walk_loading(void (*visit)(uint64_t key, void *arg), void *arg);

#endif
