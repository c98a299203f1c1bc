/* SPDX-License-Identifier: ISC */
#include "util/stamp.h"

struct stamp stamp_of(const struct stat *st)
{
	return (struct stamp){st->st_dev, st->st_ino, st->st_size, st->st_mtim, st->st_ctim};
}

bool stamp_eq(const struct stamp *a, const struct stamp *b)
{
	return a->dev == b->dev && a->ino == b->ino && a->size == b->size &&
	       a->mtime.tv_sec == b->mtime.tv_sec && a->mtime.tv_nsec == b->mtime.tv_nsec &&
	       a->ctime.tv_sec == b->ctime.tv_sec && a->ctime.tv_nsec == b->ctime.tv_nsec;
}

bool stamp_has_changed(struct stamp *last, const char *path)
{
	struct stat st;
	struct stamp now;

	if (stat(path, &st) != 0)
		return false;
	now = stamp_of(&st);
	if (stamp_eq(last, &now))
		return false;
	*last = now;
	return true;
}
