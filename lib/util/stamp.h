/* SPDX-License-Identifier: ISC */
#ifndef UTIL_STAMP_H
#define UTIL_STAMP_H

#include <stdbool.h>
#include <sys/stat.h>

/* What a file was when it was looked at: whether it has been replaced or changed since. */
struct stamp {
	dev_t dev;
	ino_t ino;
	off_t size;
	struct timespec mtime, ctime;
};

struct stamp stamp_of(const struct stat *st);
bool stamp_eq(const struct stamp *a, const struct stamp *b);
/*
 * Whether the file at path is another than last time, which is then remembered. One that cannot be
 * looked at is not: what was taken from it goes on.
 */
bool stamp_has_changed(struct stamp *last, const char *path);

#endif
