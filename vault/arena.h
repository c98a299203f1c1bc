/* SPDX-License-Identifier: ISC */
#ifndef VAULT_ARENA_H
#define VAULT_ARENA_H

#include <stdbool.h>
#include <stddef.h>

/*
 * The memory of private keys, of all that OpenSSL allocates, and of indexed tables: a mapping of
 * its own that no other process can read, root's debugger included (memfd_secret). Where the kernel
 * has none, memory that is locked, left out of core dumps and not inherited. What is freed is
 * overwritten.
 *
 * A forked process does not have it, nor what was in it: its first allocation makes an arena of the
 * second kind. So OpenSSL may be used on both sides only when it was not before the fork.
 */
enum { ARENA_SIZE = 64 << 20, ARENA_LEAST = 16 << 20 };

/* First of all, before any call of OpenSSL, which allocates here from now on. */
void arena_use(void);
/* While rights are there: maps it. Whether it is one that nobody else can read. */
bool arena_open(void);
/* In a child behind its fork: the parent's is not there. */
void arena_leave(void);

/* Not zeroed; NULL: it is full. */
void *arena_alloc(size_t size);
void *arena_resize(void *p, size_t size);
void arena_free(void *p); /* overwrites; NULL is nothing */

/* Bytes in use, with what they are rounded up by. For tests. */
size_t arena_used(void);
bool arena_has(const void *p);

#endif
