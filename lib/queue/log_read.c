/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <fcntl.h>

#include "queue/log_private.h"
#include "util/err.h"
#include "util/hash.h"
#include "util/mem.h"
#include "util/wire.h"

/* Pieces as they are found: made, read, put in their order, and their events one by one. */

#define STEP (1u << 20)

int queue_piece_make(const struct queue_root *root, int slot, uint64_t size)
{
	const struct queue_io *io = root->io;
	char path[32];
	char *zeros = mem_alloc(STEP);
	int fd, err = 0;

	queue_piece_path(slot, path);
	fd = io->openat(io, root->fd, path, O_RDWR | O_CREAT, 0660);
	if (fd == -1 || io->fallocate(io, fd, 0, size) == -1)
		err = queue_errno();
	for (uint64_t at = 0; at < size && err == 0; at += STEP) {
		struct iovec iov = {zeros, size - at < STEP ? (size_t)(size - at) : STEP};

		err = queue_write_full(io, fd, &iov, 1, at);
	}
	if (err == 0 && io->ftruncate(io, fd, size) == -1)
		err = queue_errno();
	if (err == 0 && io->fsync(io, fd) == -1)
		err = queue_errno();
	queue_close(io, &fd);
	mem_free(zeros);
	return err != 0 ? err : queue_sync_dir(root, "log");
}

static int parse_head(const char *p, struct queue_log_piece *piece)
{
	if (wire_get_u32(p) != PIECE_MAGIC || wire_get_u16(p + 8) != PIECE_VERSION ||
		wire_get_u32(p + 4) != crc32c(0, p + 8, PIECE_HEAD_LEN - 8))
		return ERR_CORRUPT;
	piece->number = wire_get_u32(p + 12);
	piece->generation = wire_get_u64(p + 16);
	piece->prev = wire_get_u32(p + 24);
	piece->prev_generation = wire_get_u64(p + 32);
	piece->prev_end = wire_get_u64(p + 40);
	return wire_get_u64(p + 48) == piece->size ? 0 : ERR_CORRUPT;
}

int queue_piece_read(const struct queue_root *root, int slot, struct queue_log_piece *piece)
{
	const struct queue_io *io = root->io;
	struct queue_stat st;
	char path[32];
	int fd, err;

	*piece = (struct queue_log_piece){.slot = slot, .end = UINT64_MAX};
	queue_piece_path(slot, path);
	fd = io->openat(io, root->fd, path, O_RDWR, 0);
	if (fd == -1)
		return errno == ENOENT ? ERR_NOT_FOUND : ERR_SYS;
	if (io->fstat(io, fd, &st) == -1) {
		queue_close(io, &fd);
		return ERR_SYS;
	}
	piece->size = st.size;
	if (st.size < 2 * QUEUE_BLOCK || st.size > UINT64_C(1) << 30) {
		queue_close(io, &fd);
		return ERR_CORRUPT;
	}
	piece->bytes = mem_alloc((size_t)st.size);
	err = queue_read_full(io, fd, piece->bytes, (size_t)st.size, 0, false);
	queue_close(io, &fd);
	if (err == 0)
		err = parse_head(piece->bytes, piece);
	if (err != 0) {
		mem_free(piece->bytes);
		piece->bytes = NULL;
	}
	return err;
}

int queue_piece_next(struct slice bytes, uint64_t generation, uint64_t end, uint64_t *offset,
	struct queue_event *ev)
{
	uint64_t limit = end < bytes.len ? end : bytes.len;
	size_t used;

	*ev = (struct queue_event){0};
	while (*offset < limit) {
		int err = queue_event_decode(
			slice_from(slice_first(bytes, (size_t)limit), (size_t)*offset), generation,
			ev, &used);

		if (err == 0) {
			*offset += used;
			return 0;
		}
		/* Padding: fewer than four bytes of a block, or a length of zero inside one. */
		if ((err == ERR_NOT_FOUND || QUEUE_BLOCK - *offset % QUEUE_BLOCK < 4) &&
			*offset % QUEUE_BLOCK != 0) {
			*offset = queue_align(*offset, QUEUE_BLOCK);
			continue;
		}
		return ERR_NOT_FOUND;
	}
	return ERR_NOT_FOUND;
}

static struct slice piece_bytes(const struct queue_log_piece *p)
{
	return slice_of(p->bytes, (size_t)p->size);
}

/* The next event behind a bad place: a batch begins on a block. */
static bool resume(const struct queue_log_piece *p, uint64_t *offset)
{
	uint64_t limit = p->end < p->size ? p->end : p->size;
	struct queue_event ev;
	size_t used;

	for (uint64_t at = queue_align(*offset + 1, QUEUE_BLOCK); at < limit; at += QUEUE_BLOCK) {
		if (queue_event_decode(slice_from(piece_bytes(p), (size_t)at), p->generation, &ev,
			    &used) == 0) {
			*offset = at;
			return true;
		}
	}
	return false;
}

static void sort_chain(struct queue_log_piece *all, int *n)
{
	struct queue_log_piece chain[QUEUE_PIECE_SLOTS];
	int len = 0, next = -1;

	for (int i = 0; i < *n; i++) {
		if (next == -1 || all[i].number > all[next].number)
			next = i;
	}
	while (next != -1) {
		uint64_t end = all[next].prev_end;
		uint32_t prev = all[next].prev;
		uint64_t generation = all[next].prev_generation;

		chain[len++] = all[next];
		all[next].bytes = NULL;
		next = -1;
		for (int i = 0; i < *n; i++) {
			if (all[i].bytes != NULL && all[i].number == prev &&
				all[i].generation == generation) {
				next = i;
				all[i].end = end;
			}
		}
	}
	for (int i = 0; i < *n; i++)
		mem_free(all[i].bytes);
	for (int i = 0; i < len; i++)
		all[i] = chain[len - 1 - i];
	*n = len;
}

static bool place_is_above(const struct queue_log_place *a, uint32_t number, uint64_t offset)
{
	return a->number > number || (a->number == number && a->offset > offset);
}

/* Whatever a synced event says was true when it was written, wherever it now stands. */
static void find_durable(struct queue_log_image *image)
{
	for (int i = 0; i < image->n; i++) {
		const struct queue_log_piece *p = &image->pieces[i];
		uint64_t offset = QUEUE_BLOCK;
		struct queue_event ev;

		for (;;) {
			if (queue_piece_next(piece_bytes(p), p->generation, p->end, &offset, &ev) !=
				0) {
				if (!resume(p, &offset))
					break;
				continue;
			}
			if (ev.type == QUEUE_EV_SYNCED &&
				!place_is_above(&image->durable, ev.segment, ev.offset)) {
				image->durable.number = ev.segment;
				image->durable.offset = ev.offset;
			}
		}
	}
	for (int i = 0; i < image->n; i++) {
		if (image->pieces[i].number == image->durable.number)
			image->durable.generation = image->pieces[i].generation;
	}
}

int queue_log_read(const struct queue_root *root, struct queue_log_image *image)
{
	*image = (struct queue_log_image){0};
	image->pieces = mem_array(QUEUE_PIECE_SLOTS, sizeof(*image->pieces));
	for (int slot = 0; slot < QUEUE_PIECE_SLOTS; slot++) {
		int err = queue_piece_read(root, slot, &image->pieces[image->n]);

		if (err == 0)
			image->n++;
		else if (err == ERR_SYS && errno != EIO) {
			queue_log_image_clear(image);
			return err;
		}
	}
	sort_chain(image->pieces, &image->n);
	find_durable(image);
	queue_log_rewind(image);
	return 0;
}

void queue_log_image_clear(struct queue_log_image *image)
{
	for (int i = 0; i < image->n; i++)
		mem_free(image->pieces[i].bytes);
	mem_free(image->pieces);
	*image = (struct queue_log_image){0};
}

void queue_log_rewind(struct queue_log_image *image)
{
	image->at = 0;
	image->offset = QUEUE_BLOCK;
	image->damaged = 0;
	image->end = (struct queue_log_place){0};
}

static void note_end(struct queue_log_image *image)
{
	const struct queue_log_piece *p = &image->pieces[image->at];

	image->end = (struct queue_log_place){
		.number = p->number, .generation = p->generation, .offset = image->offset};
}

bool queue_log_next(struct queue_log_image *image, struct queue_event *ev)
{
	for (; image->at < image->n; image->at++, image->offset = QUEUE_BLOCK) {
		const struct queue_log_piece *p = &image->pieces[image->at];

		for (;;) {
			bool is_last = image->at + 1 == image->n;

			if (queue_piece_next(piece_bytes(p), p->generation, p->end, &image->offset,
				    ev) == 0) {
				image->is_behind_durable = !place_is_above(
					&image->durable, p->number, image->offset - 1);
				note_end(image);
				return true;
			}
			if (!is_last && image->offset >= p->end)
				break;
			if (!place_is_above(&image->durable, p->number, image->offset)) {
				/* Torn: nothing behind it counts, in no piece (Q4). */
				image->at = image->n;
				return false;
			}
			image->damaged++;
			if (!resume(p, &image->offset))
				break;
		}
	}
	*ev = (struct queue_event){0};
	return false;
}
