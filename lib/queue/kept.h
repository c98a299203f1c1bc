/* SPDX-License-Identifier: ISC */
#ifndef QUEUE_KEPT_H
#define QUEUE_KEPT_H

#include "queue/io.h"
#include "util/buf.h"

/*
 * log/kept: a small file of what the queue manager wants to know again after a restart beside its
 * mail. It is written whole, under another name first, and no mail depends on it: one that is
 * damaged is as good as none. On disk: magic u32, CRC-32C u32 of the bytes, length u64, bytes.
 */
#define QUEUE_KEPT_MAX (16u << 20)

/* Adds its bytes to out. ERR_NOT_FOUND; ERR_CORRUPT: damaged, or no such file; ERR_SYS. */
int queue_kept_read(const struct queue_root *root, struct buf *out);
/* Writes, syncs and renames it: waits for the disk. ERR_LIMIT, ERR_FULL, ERR_SYS. */
int queue_kept_write(const struct queue_root *root, struct slice bytes);

#endif
