/* SPDX-License-Identifier: ISC */
#ifndef UTIL_BUF_H
#define UTIL_BUF_H

#include "util/slice.h"

/*
 * A bounded byte buffer, always terminated by a NUL that does not count. Embedded by callers:
 * buf_init, use, buf_clear. What would exceed the limit is not added at all, the buffer is marked
 * failed (sticky until buf_reset or buf_clear) and ERR_LIMIT is returned, so a builder may add ten
 * things and check buf_failed once. Bytes are taken off the front without moving the rest.
 * Memory is given on first use and returned by buf_clear and buf_release. A secret one (BUF_SECRET)
 * overwrites whatever memory it leaves.
 */
struct buf {
	char *data; /* private */
	size_t start, len, cap, limit;
	bool failed, secret;
};

#define BUF_INIT(max) ((struct buf){.limit = (max)})
#define BUF_SECRET(max) ((struct buf){.limit = (max), .secret = true})

void buf_init(struct buf *b, size_t limit);
void buf_clear(struct buf *b);      /* frees; limit stays, usable again */
void buf_wipe_clear(struct buf *b); /* for secrets in one that is not BUF_SECRET; buf_room first, as
				       growth leaves copies */
void buf_reset(struct buf *b);      /* empty, memory kept */
void buf_release(struct buf *b);    /* gives memory back when empty */

int buf_add(struct buf *b, const void *p, size_t len);
int buf_add_slice(struct buf *b, struct slice s);
int buf_add_str(struct buf *b, const char *s);
int buf_add_char(struct buf *b, char c);
int buf_add_fmt(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int buf_add_lower(struct buf *b, struct slice s); /* ASCII folded */
/* Room for at least n more bytes; *room is where to write, buf_added says how many were. */
int buf_room(struct buf *b, size_t n, char **room);
void buf_added(struct buf *b, size_t n);

void buf_consume(struct buf *b, size_t n);  /* off the front; n <= len */
void buf_truncate(struct buf *b, size_t n); /* keep the first n; n <= len */

static inline struct slice buf_slice(const struct buf *b)
{
	return slice_of(b->data != NULL ? b->data + b->start : "", b->len);
}

static inline const char *buf_str(const struct buf *b)
{
	return b->data != NULL ? b->data + b->start : "";
}

static inline bool buf_failed(const struct buf *b)
{
	return b->failed;
}

#endif
