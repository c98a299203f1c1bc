/* SPDX-License-Identifier: ISC */
#ifndef UTIL_FD_H
#define UTIL_FD_H

#include <stdbool.h>
#include <sys/types.h>

#include "util/buf.h"

/* Descriptors. EINTR is handled; all made here are close-on-exec. */
void fd_close(int *fd); /* -1 is fine; sets -1 */
int fd_set_nonblock(int fd, bool on);
int fd_set_cloexec(int fd, bool on);
/* Exactly len bytes, from / to a blocking descriptor or file; ERR_SHORT at its end. */
int fd_read_full(int fd, void *p, size_t len);
int fd_write_full(int fd, const void *p, size_t len);
/* The whole rest of a file into out (its limit holds: ERR_LIMIT). */
int fd_read_all(int fd, struct buf *out);
/* An exclusive flock, tried until the time (monotonic; 0: once). ERR_TIMEOUT. */
int fd_lock(int fd, int64_t until);
/* As many descriptors as this process may have. */
void fd_raise_limit(void);
/* An unnamed file in memory (memfd), for descriptors that are handed over. */
int fd_memory(const char *name, int *fd);

#endif
