/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "queue/file.h"
#include "queue/id.h"
#include "util/err.h"
#include "util/hash.h"
#include "util/mem.h"
#include "util/wire.h"

#define TABLE_MAX (64u << 20) /* 1 TB of body */
#define WRITEBACK (1u << 20)

struct queue_body {
	struct queue_root root;
	int fd;
	bool is_bad;
	bool has_name; /* ID.body, no longer ID.part */
	char id[QUEUE_ID_MAX + 1];
	uint64_t size, started;
	uint32_t crc;
	struct buf table;
};

/* A body has its name when it is whole, so that nobody takes a part for one. */
static void part_path(struct slice id, char path[QUEUE_PATH_MAX])
{
	snprintf(path, QUEUE_PATH_MAX, "%s/%.*s.part", queue_place_name(QUEUE_PLACE_JOURNAL),
		SLICE_FMT(id));
}

int queue_body_create(const struct queue_root *root, struct slice id, struct queue_body **out)
{
	struct queue_body *b;
	char path[QUEUE_PATH_MAX];
	int fd;

	*out = NULL;
	if (!queue_id_is_valid(id))
		return ERR_RANGE;
	part_path(id, path);
	fd = root->io->openat(root->io, root->fd, path, O_RDWR | O_CREAT | O_EXCL, 0660);
	if (fd == -1)
		return queue_errno();
	/* The lock says that somebody is at it: see queue_body_sweep. */
	if (root->io->lock(root->io, fd, false) == -1) {
		queue_close(root->io, &fd);
		return ERR_SYS;
	}
	b = mem_alloc(sizeof(*b));
	b->root = *root;
	b->fd = fd;
	memcpy(b->id, id.p, id.len);
	b->table = BUF_INIT(TABLE_MAX);
	*out = b;
	return 0;
}

static void sum(struct queue_body *b, const struct iovec *iov, int n)
{
	for (int i = 0; i < n; i++) {
		const char *p = iov[i].iov_base;
		size_t len = iov[i].iov_len;

		while (len > 0) {
			size_t room = QUEUE_CHUNK - b->size % QUEUE_CHUNK;
			size_t part = len < room ? len : room;

			b->crc = crc32c(b->crc, p, part);
			b->size += part;
			p += part;
			len -= part;
			if (part == room) {
				wire_u32(&b->table, b->crc);
				b->crc = 0;
			}
		}
	}
}

int queue_body_append(struct queue_body *b, const struct iovec *iov, int n)
{
	uint64_t at = b->size;
	struct iovec *copy;
	int err;

	if (b->is_bad)
		return ERR_STATE;
	copy = mem_dup(iov, (size_t)n * sizeof(*iov));
	err = queue_write_full(b->root.io, b->fd, copy, n, at);
	mem_free(copy);
	if (err != 0) {
		b->is_bad = true;
		return err;
	}
	sum(b, iov, n);
	while (b->size - b->started >= WRITEBACK) {
		b->root.io->writeback(b->root.io, b->fd, b->started, WRITEBACK);
		b->started += WRITEBACK;
	}
	return buf_failed(&b->table) ? ERR_LIMIT : 0;
}

uint64_t queue_body_size(const struct queue_body *b)
{
	return b->size;
}

static int give_name(struct queue_body *b)
{
	char from[QUEUE_PATH_MAX], to[QUEUE_PATH_MAX];

	part_path(slice_str(b->id), from);
	queue_file_path(QUEUE_PLACE_JOURNAL, slice_str(b->id), true, to);
	if (b->root.io->renameat(b->root.io, b->root.fd, from, b->root.fd, to) == -1)
		return queue_errno();
	b->has_name = true;
	return queue_sync_dir(&b->root, queue_place_name(QUEUE_PLACE_JOURNAL));
}

int queue_body_sync(struct queue_body *b)
{
	struct iovec iov;
	int err;

	if (b->is_bad)
		return ERR_STATE;
	if (b->size % QUEUE_CHUNK != 0)
		wire_u32(&b->table, b->crc);
	iov = (struct iovec){(void *)(uintptr_t)buf_str(&b->table), b->table.len};
	err = queue_write_full(b->root.io, b->fd, &iov, 1, b->size);
	if (err == 0 && b->root.io->fsync(b->root.io, b->fd) == -1)
		err = queue_errno();
	if (err == 0)
		err = give_name(b);
	b->is_bad = true; /* nothing can be added any more, good or not */
	return err;
}

void queue_body_close(struct queue_body **bp)
{
	struct queue_body *b = *bp;

	if (b == NULL)
		return;
	queue_close(b->root.io, &b->fd);
	buf_clear(&b->table);
	mem_free(b);
	*bp = NULL;
}

void queue_body_discard(struct queue_body **bp)
{
	char path[QUEUE_PATH_MAX];

	if (*bp == NULL)
		return;
	if ((*bp)->has_name)
		queue_file_path(QUEUE_PLACE_JOURNAL, slice_str((*bp)->id), true, path);
	else
		part_path(slice_str((*bp)->id), path);
	(*bp)->root.io->unlinkat((*bp)->root.io, (*bp)->root.fd, path);
	queue_body_close(bp);
}

struct sweep {
	const struct queue_root *root;
	int64_t before;
	int n;
};

static bool sweep_one(const char *name, void *arg)
{
	struct sweep *s = arg;
	const struct queue_io *io = s->root->io;
	char path[QUEUE_PATH_MAX];
	struct queue_stat st;
	int fd;

	if (!slice_ends(slice_str(name), ".part"))
		return true;
	snprintf(path, sizeof(path), "%s/%s", queue_place_name(QUEUE_PLACE_JOURNAL), name);
	fd = io->openat(io, s->root->fd, path, O_RDWR, 0);
	if (fd == -1)
		return true;
	if (io->fstat(io, fd, &st) == 0 && st.mtime < s->before && io->lock(io, fd, false) == 0 &&
		io->unlinkat(io, s->root->fd, path) == 0)
		s->n++;
	queue_close(io, &fd);
	return true;
}

int queue_body_sweep(const struct queue_root *root, int64_t before)
{
	struct sweep s = {root, before, 0};
	const char *dir = queue_place_name(QUEUE_PLACE_JOURNAL);

	return root->io->list(root->io, root->fd, dir, sweep_one, &s) == -1 ? ERR_SYS : s.n;
}

int queue_body_open(const struct queue_root *root, enum queue_place place, struct slice id, int *fd)
{
	char path[QUEUE_PATH_MAX];

	*fd = -1;
	/* It moves right before or behind its message: wherever it is, it is the one. */
	for (unsigned i = 0; i < QUEUE_PLACES; i++) {
		queue_file_path((enum queue_place)((place + i) % QUEUE_PLACES), id, true, path);
		*fd = root->io->openat(root->io, root->fd, path, O_RDONLY, 0);
		if (*fd != -1)
			return 0;
		if (errno != ENOENT)
			return ERR_SYS;
	}
	return ERR_NOT_FOUND;
}

void queue_body_reader_init(
	struct queue_body_reader *r, const struct queue_io *io, int fd, uint64_t len)
{
	*r = (struct queue_body_reader){.io = io, .fd = fd, .len = len};
}

int queue_body_reader_next(struct queue_body_reader *r, struct slice *chunk)
{
	uint64_t left = r->len - r->offset;
	size_t part = left < QUEUE_CHUNK ? (size_t)left : QUEUE_CHUNK;
	char sum_at[4];
	int err;

	*chunk = SLICE_NONE;
	if (part == 0)
		return 0;
	if (r->chunk == NULL)
		r->chunk = mem_alloc(QUEUE_CHUNK);
	err = queue_read_full(r->io, r->fd, sum_at, 4, r->len + r->offset / QUEUE_CHUNK * 4, false);
	if (err == 0)
		err = queue_read_full(r->io, r->fd, r->chunk, part, r->offset, false);
	if (err != 0)
		return err;
	if (wire_get_u32(sum_at) != crc32c(0, r->chunk, part))
		return ERR_CORRUPT;
	r->offset += part;
	*chunk = slice_of(r->chunk, part);
	return 0;
}

void queue_body_reader_clear(struct queue_body_reader *r)
{
	mem_free(r->chunk);
	*r = (struct queue_body_reader){.fd = -1};
}
