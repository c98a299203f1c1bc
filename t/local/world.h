/* SPDX-License-Identifier: ISC */
#ifndef T_LOCAL_WORLD_H
#define T_LOCAL_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/*
 * A directory and a passwd file of this test's own: users anna (47001) and bert (47002) with homes
 * in it, virtual mailboxes of 47003. Only this process and its children see them.
 */
enum { ANNA = 47001, BERT = 47002, VIRT = 47003 };

/* Skips the test where it cannot be made (not root). */
void world_make(void);
void world_end(void);
/* DIR/NAME; one of eight rotating buffers. */
const char *world_path(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void world_write(const char *path, const char *text, uid_t owner, mode_t mode);
/* The file's text, until the next call; "" when there is none. */
const char *world_read(const char *path);
/* How many entries a directory has; *first (64 bytes, may be NULL) is the name of one. */
int world_count(const char *directory, char *first);
/* Kills the processes of a user; how many there were. */
int world_kill(uid_t uid);
void world_run(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
