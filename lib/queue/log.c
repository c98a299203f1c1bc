/* SPDX-License-Identifier: ISC */
#include "queue/log_private.h"

#include <fcntl.h>
#include <stdio.h>

#include "util/err.h"
#include "util/hash.h"
#include "util/mem.h"
#include "util/wire.h"

#define FLUSH_AT (256u << 10) /* pending bytes that are written without waiting for flush */

void queue_piece_path(int slot, char path[32])
{
	snprintf(path, 32, "log/%02X.piece", (unsigned)slot & 0xffu);
}

static const struct queue_io *io_of(const struct queue_log *log)
{
	return log->root.io;
}

void queue_log_init(struct queue_log *log, const struct queue_root *root, uint64_t piece_size)
{
	*log = (struct queue_log){.root = *root, .current = -1};
	log->piece_size = piece_size == 0 ? QUEUE_PIECE_SIZE : piece_size;
	buf_init(&log->pending, (size_t)log->piece_size + QUEUE_EVENT_MAX);
	buf_init(&log->redo, (size_t)log->piece_size - 6 * QUEUE_BLOCK);
	for (int i = 0; i < QUEUE_PIECE_SLOTS; i++)
		log->slots[i].fd = -1;
}

void queue_log_clear(struct queue_log *log)
{
	for (int i = 0; i < QUEUE_PIECE_SLOTS && log->root.io != NULL; i++)
		queue_close(log->root.io, &log->slots[i].fd);
	buf_clear(&log->pending);
	buf_clear(&log->redo);
}

/* ---- Writing ---- */

static int open_slot(struct queue_log *log, int slot)
{
	char path[32];

	if (log->slots[slot].fd != -1)
		return 0;
	queue_piece_path(slot, path);
	log->slots[slot].fd = io_of(log)->openat(io_of(log), log->root.fd, path, O_RDWR, 0);
	return log->slots[slot].fd == -1 ? ERR_SYS : 0;
}

static int write_head(struct queue_log *log, int slot, const struct queue_log_place *after)
{
	const struct queue_slot *s = &log->slots[slot];
	char block[QUEUE_BLOCK] = {0};
	struct iovec iov = {block, sizeof(block)};

	wire_put_u32(block, PIECE_MAGIC);
	wire_put_u16(block + 8, PIECE_VERSION);
	wire_put_u32(block + 12, s->number);
	wire_put_u64(block + 16, s->generation);
	wire_put_u32(block + 24, after->number);
	wire_put_u64(block + 32, after->generation);
	wire_put_u64(block + 40, after->offset);
	wire_put_u64(block + 48, s->size);
	wire_put_u32(block + 4, crc32c(0, block + 8, PIECE_HEAD_LEN - 8));
	return queue_write_full(io_of(log), s->fd, &iov, 1, 0);
}

/* Makes a spare slot the current piece; its head is not written yet. */
static int begin_piece(struct queue_log *log, const struct queue_log_place *after, uint32_t number)
{
	int slot = -1, err;

	for (int i = 0; i < QUEUE_PIECE_SLOTS && slot == -1; i++) {
		if (log->slots[i].state == QUEUE_SLOT_SPARE)
			slot = i;
	}
	if (slot == -1)
		return ERR_FULL;
	err = open_slot(log, slot);
	if (err != 0)
		return err;
	log->slots[slot].number = number;
	log->slots[slot].state = QUEUE_SLOT_USED;
	log->slots[slot].is_dirty = true;
	log->slots[slot].end = UINT64_MAX;
	for (int i = 0; i < QUEUE_PIECE_SLOTS; i++) {
		if (log->slots[i].state == QUEUE_SLOT_USED && i != slot &&
			log->slots[i].number == after->number)
			log->slots[i].end = after->offset;
	}
	io_of(log)->random(io_of(log), &log->slots[slot].generation, sizeof(uint64_t));
	log->current = slot;
	log->pos = QUEUE_BLOCK;
	buf_reset(&log->pending);
	log->follows = *after;
	log->is_unpublished = true;
	return 0;
}

static int write_pending(struct queue_log *log)
{
	static char zeros[QUEUE_BLOCK];
	uint64_t end = log->pos + log->pending.len;
	struct slice all = buf_slice(&log->pending);
	struct iovec iov[2] = {
		{(void *)(uintptr_t)all.p, all.len},
		{zeros, (size_t)(queue_align(end, QUEUE_BLOCK) - end)},
	};

	return queue_write_full(io_of(log), log->slots[log->current].fd, iov, 2, log->pos);
}

/*
 * The current piece could not be written and has no head: no start would ever find it. For want of
 * space (a file system that copies on write) it is as good as it was; else it is not trusted again.
 */
static int give_up(struct queue_log *log, int err)
{
	struct queue_slot *s = &log->slots[log->current];

	s->state = err == ERR_FULL ? QUEUE_SLOT_SPARE : QUEUE_SLOT_STALE;
	s->is_dirty = false;
	log->is_bad = true;
	log->needs_space = err == ERR_FULL;
	return err;
}

static int write_out(struct queue_log *log)
{
	int err = write_pending(log);

	if (err != 0)
		return err;
	log->slots[log->current].is_dirty = true;
	log->pos += log->pending.len;
	buf_reset(&log->pending);
	return 0;
}

/*
 * The head makes the piece a part of the chain and cuts the one before it, so it is written
 * behind the events that were cut off there.
 */
static int write_first_head(struct queue_log *log)
{
	int err = write_head(log, log->current, &log->follows);

	if (err != 0)
		return err;
	log->slots[log->current].is_dirty = true;
	log->is_unpublished = false;
	return 0;
}

int queue_log_publish(struct queue_log *log)
{
	int err = queue_log_flush(log);

	log->is_continuing = false;
	if (err != 0 || !log->is_unpublished)
		return err;
	err = write_first_head(log);
	return err != 0 ? give_up(log, err) : 0;
}

/* All since the last good sync, in the new current piece; there is room for all of redo in one. */
static int write_redo(struct queue_log *log)
{
	uint64_t generation = log->slots[log->current].generation;
	struct slice plain = buf_slice(&log->redo);
	struct queue_event ev;
	size_t used;
	int err = 0;

	for (; err == 0 && queue_event_decode(plain, 0, &ev, &used) == 0;
		plain = slice_from(plain, used))
		err = queue_event_encode(&log->pending, generation, &ev);
	if (err == 0)
		err = write_out(log);
	/* At a start not all that stood behind the good place is noted again yet. */
	if (err == 0 && !log->is_continuing)
		err = write_first_head(log);
	return err;
}

/*
 * The current piece is bad: all since the last good sync goes into another. Without one, or
 * without space, it stays in memory and nothing is written; each flush tries once more.
 */
static int rewrite(struct queue_log *log)
{
	uint32_t number = log->slots[log->current].number;
	int err;

	/* Pieces behind the good place leave the chain when the new one is durable. */
	for (int i = 0; i < QUEUE_PIECE_SLOTS; i++) {
		struct queue_slot *s = &log->slots[i];

		if (s->state == QUEUE_SLOT_USED && s->number > log->good.number)
			s->state = QUEUE_SLOT_STALE;
		s->is_dirty = false;
	}
	log->is_syncing = false;
	log->is_bad = true;
	log->redo_synced = 0;
	if (log->needs_space && !queue_has_space(&log->root, log->redo.len + 2 * QUEUE_BLOCK, 0))
		return ERR_FULL;
	while ((err = begin_piece(log, &log->good, ++number)) == 0) {
		err = write_redo(log);
		if (err == 0) {
			log->is_bad = log->needs_space = false;
			return 0;
		}
		give_up(log, err);
		if (err == ERR_FULL)
			return err;
	}
	return err;
}

int queue_log_flush(struct queue_log *log)
{
	int err;

	if (log->is_bad)
		return rewrite(log);
	if (log->pending.len == 0)
		return 0;
	err = write_out(log);
	if (err == 0)
		return 0;
	/* Its blocks were there before: then the other piece's do not help either. */
	log->needs_space = err == ERR_FULL;
	return rewrite(log);
}

/* The present piece ends where the next event would begin. */
static int rotate(struct queue_log *log)
{
	struct queue_log_place after;
	int err = queue_log_flush(log);

	if (err != 0)
		return err;
	after = (struct queue_log_place){.number = log->slots[log->current].number,
		.generation = log->slots[log->current].generation,
		.offset = log->pos};
	err = begin_piece(log, &after, after.number + 1);
	return err != 0 ? err : queue_log_publish(log);
}

int queue_log_note(struct queue_log *log, const struct queue_event *ev, uint64_t *ticket)
{
	size_t before = log->pending.len, redo = log->redo.len;
	int err = queue_event_encode(&log->redo, 0, ev);
	uint64_t end;

	if (ticket != NULL)
		*ticket = 0;
	if (err != 0) {
		buf_truncate(&log->redo, redo);
		return err == ERR_LIMIT ? ERR_FULL : err;
	}
	if (log->is_bad) {
		log->noted++;
		if (ticket != NULL)
			*ticket = log->noted;
		return 0;
	}
	/* An event may follow padding: then it begins where a length would be read as padding. */
	end = log->pos + log->pending.len + (log->redo.len - redo);
	if (end + QUEUE_BLOCK > log->slots[log->current].size) {
		/* The redo copy of this event is not part of what rotate may have to write. */
		struct slice last = slice_from(buf_slice(&log->redo), redo);
		void *copy = mem_dup(last.p, last.len);
		size_t len = last.len;

		buf_truncate(&log->redo, redo);
		err = rotate(log);
		if (err == 0)
			buf_add(&log->redo, copy, len);
		mem_free(copy);
		if (err != 0)
			return err;
		before = log->pending.len;
	}
	err = queue_event_encode(&log->pending, log->slots[log->current].generation, ev);
	if (err != 0) {
		buf_truncate(&log->pending, before);
		buf_truncate(&log->redo, redo);
		return err;
	}
	log->noted++;
	if (ticket != NULL)
		*ticket = log->noted;
	err = log->pending.len > FLUSH_AT ? queue_log_flush(log) : 0;
	/* It is kept with the others until there is a piece. */
	return err == ERR_FULL && log->is_bad ? 0 : err;
}

int queue_log_load(const struct queue_log *log)
{
	return (int)(log->redo.len * 100 / log->redo.limit);
}

bool queue_log_is_dirty(const struct queue_log *log)
{
	return log->noted > (log->is_syncing ? log->syncing : log->durable);
}

int queue_log_sync_begin(struct queue_log *log, uint8_t slots[QUEUE_PIECE_SLOTS], int *n)
{
	struct queue_slot *s;
	int err;

	*n = 0;
	if (log->is_syncing)
		return ERR_STATE;
	err = queue_log_flush(log);
	if (err != 0)
		return err;
	log->pos = queue_align(log->pos, QUEUE_BLOCK);
	s = &log->slots[log->current];
	log->covered = (struct queue_log_place){
		.number = s->number, .generation = s->generation, .offset = log->pos};
	/* Oldest first: the sync of a later piece means nothing without the earlier. */
	for (uint32_t number = log->good.number; number <= s->number; number++) {
		for (int i = 0; i < QUEUE_PIECE_SLOTS; i++) {
			struct queue_slot *o = &log->slots[i];

			if (o->state == QUEUE_SLOT_USED && o->is_dirty && o->number == number) {
				slots[(*n)++] = (uint8_t)i;
				o->is_dirty = false;
			}
		}
	}
	log->is_syncing = true;
	log->syncing = log->noted;
	log->redo_synced = log->redo.len;
	return 0;
}

int queue_log_sync_end(struct queue_log *log, bool is_good)
{
	if (!log->is_syncing)
		return ERR_STATE;
	if (!is_good)
		return rewrite(log);
	log->is_syncing = false;
	log->durable = log->syncing;
	log->good = log->covered;
	/* A file whose sync failed is not trusted again before it was written whole. */
	for (int i = 0; i < QUEUE_PIECE_SLOTS; i++) {
		if (log->slots[i].state == QUEUE_SLOT_STALE)
			log->slots[i].state = QUEUE_SLOT_ABSENT;
	}
	buf_consume(&log->redo, log->redo_synced);
	log->redo_synced = 0;
	return 0;
}

static int count(const struct queue_log *log, enum queue_slot_state state)
{
	int n = 0;

	for (int i = 0; i < QUEUE_PIECE_SLOTS; i++)
		n += log->slots[i].state == state;
	return n;
}

int queue_log_spares(const struct queue_log *log)
{
	return count(log, QUEUE_SLOT_SPARE);
}

int queue_log_used(const struct queue_log *log)
{
	return count(log, QUEUE_SLOT_USED);
}

int queue_log_absent(const struct queue_log *log)
{
	for (int i = 0; i < QUEUE_PIECE_SLOTS; i++) {
		if (log->slots[i].state == QUEUE_SLOT_ABSENT)
			return i;
	}
	return -1;
}

int queue_log_oldest(const struct queue_log *log)
{
	int oldest = -1;

	for (int i = 0; i < QUEUE_PIECE_SLOTS; i++) {
		if (log->slots[i].state == QUEUE_SLOT_USED &&
			(oldest == -1 || log->slots[i].number < log->slots[oldest].number))
			oldest = i;
	}
	if (oldest == -1 || log->slots[oldest].number >= log->good.number)
		return -1;
	return oldest;
}

void queue_log_drop(struct queue_log *log, int slot)
{
	log->slots[slot].state = QUEUE_SLOT_SPARE;
}

/* ---- Going on at start ---- */

/* Pieces that are in no chain, with their names durable. */
static int find_spares(struct queue_log *log)
{
	for (int i = 0; i < QUEUE_PIECE_SLOTS; i++) {
		struct queue_stat st;
		char path[32];

		queue_piece_path(i, path);
		if (log->slots[i].state == QUEUE_SLOT_ABSENT &&
			io_of(log)->statat(io_of(log), log->root.fd, path, &st) == 0 &&
			st.is_regular && st.size == log->piece_size) {
			log->slots[i].state = QUEUE_SLOT_SPARE;
			log->slots[i].size = st.size;
		}
	}
	return queue_sync_dir(&log->root, "log");
}

static int make_spares(struct queue_log *log)
{
	while (queue_log_spares(log) < 2) {
		int slot = queue_log_absent(log), err;

		if (slot == -1)
			return ERR_FULL;
		err = queue_piece_make(&log->root, slot, log->piece_size);
		if (err != 0)
			return queue_log_spares(log) > 0 ? 0 : err;
		log->slots[slot].state = QUEUE_SLOT_SPARE;
		log->slots[slot].size = log->piece_size;
	}
	return 0;
}

int queue_log_continue(struct queue_log *log, const struct queue_log_image *image,
	const struct queue_log_place *after)
{
	uint32_t number = 1;
	int err;

	for (int i = 0; i < image->n; i++) {
		const struct queue_log_piece *p = &image->pieces[i];
		struct queue_slot *s = &log->slots[p->slot];

		s->state = p->number > after->number ? QUEUE_SLOT_STALE : QUEUE_SLOT_USED;
		s->number = p->number;
		s->generation = p->generation;
		s->size = p->size;
		s->end = p->end;
		if (p->number >= number)
			number = p->number + 1;
	}
	log->good = *after;
	log->is_continuing = true;
	/* What is noted again may have filled it to its limit; the start wants room for more. */
	log->redo.limit += QUEUE_BLOCK;
	err = find_spares(log);
	if (err == 0)
		err = make_spares(log);
	return err != 0 ? err : begin_piece(log, after, number);
}
