/* SPDX-License-Identifier: ISC */
#include "queue/id.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "util/clock.h"
#include "util/err.h"
#include "util/hash.h"
#include "util/mem.h"
#include "util/wire.h"

/*
 * incoming/ids is SLOTS blocks, each with magic u32, CRC-32C u32 of the rest, number u64, high
 * mark u64. Number n goes to slot n % SLOTS and the highest good one counts, so a write that is
 * torn or lost never touches the mark that was durable before it.
 */
#define PATH "incoming/ids"
#define MAGIC 0x31494447u /* "GDI1" */
#define SLOTS 16
#define SLOT_LEN 24
#define COUNTER_BITS 44
#define COUNTER_MASK ((UINT64_C(1) << COUNTER_BITS) - 1)
#define EPOCH INT64_C(1735689600) /* 2025-01-01: a lost file begins at 4,096 a second since */

struct queue_ids {
	struct queue_root root;
	int fd;
	uint64_t next, end;
};

/* Two odd multiplications around a fold of the high half: each step can be undone. */
#define MUL_A UINT64_C(0x9e3779b97f5)
#define MUL_B UINT64_C(0xbf58476d1ce)
#define MUL_B_ODD (MUL_B | 1)

static uint64_t inverse(uint64_t odd)
{
	uint64_t x = odd;

	for (int i = 0; i < 6; i++)
		x *= 2 - odd * x;
	return x & COUNTER_MASK;
}

uint64_t queue_id_mix(uint64_t n)
{
	n = (n & COUNTER_MASK) * MUL_A & COUNTER_MASK;
	n ^= n >> (COUNTER_BITS / 2);
	n = n * MUL_B_ODD & COUNTER_MASK;
	return n ^ n >> (COUNTER_BITS / 2);
}

uint64_t queue_id_unmix(uint64_t n)
{
	n = (n & COUNTER_MASK) ^ n >> (COUNTER_BITS / 2);
	n = n * inverse(MUL_B_ODD) & COUNTER_MASK;
	n ^= n >> (COUNTER_BITS / 2);
	return n * inverse(MUL_A) & COUNTER_MASK;
}

static int read_slots(struct queue_ids *ids, uint64_t *number, uint64_t *high)
{
	*number = *high = 0;
	for (unsigned i = 0; i < SLOTS; i++) {
		char raw[SLOT_LEN];
		int err = queue_read_full(
			ids->root.io, ids->fd, raw, sizeof(raw), (uint64_t)i * QUEUE_BLOCK, false);

		if (err == ERR_SHORT)
			continue;
		if (err != 0)
			return err;
		if (wire_get_u32(raw) != MAGIC ||
			wire_get_u32(raw + 4) != crc32c(0, raw + 8, SLOT_LEN - 8))
			continue;
		if (wire_get_u64(raw + 8) > *number)
			*number = wire_get_u64(raw + 8);
		if (wire_get_u64(raw + 16) > *high)
			*high = wire_get_u64(raw + 16);
	}
	return 0;
}

static int write_slot(struct queue_ids *ids, uint64_t number, uint64_t high)
{
	char block[QUEUE_BLOCK] = {0};
	struct iovec iov = {block, sizeof(block)};
	int err;

	wire_put_u32(block, MAGIC);
	wire_put_u64(block + 8, number);
	wire_put_u64(block + 16, high);
	wire_put_u32(block + 4, crc32c(0, block + 8, SLOT_LEN - 8));
	err = queue_write_full(
		ids->root.io, ids->fd, &iov, 1, (number % SLOTS) * (uint64_t)QUEUE_BLOCK);
	if (err == 0 && ids->root.io->fsync(ids->root.io, ids->fd) == -1)
		err = queue_errno();
	return err;
}

/* Under the file's lock: the next block, its high mark durable. */
static int take_block(struct queue_ids *ids, int64_t now)
{
	uint64_t number, high;
	int err = read_slots(ids, &number, &high);

	if (err != 0)
		return err;
	if (number == 0) {
		int64_t age = now / CLOCK_SEC - EPOCH;

		high = age > 0 ? (uint64_t)age * QUEUE_ID_BLOCK : 0;
		/* The name must last as the mark does. */
		err = queue_sync_dir(&ids->root, "incoming");
		if (err != 0)
			return err;
	}
	err = write_slot(ids, number + 1, high + QUEUE_ID_BLOCK);
	if (err != 0)
		return err;
	ids->next = high;
	ids->end = high + QUEUE_ID_BLOCK;
	return 0;
}

int queue_ids_refill(struct queue_ids *ids, int64_t now)
{
	const struct queue_io *io = ids->root.io;
	int err;

	if (io->lock(io, ids->fd, true) == -1)
		return ERR_SYS;
	err = take_block(ids, now);
	if (io->unlock(io, ids->fd) == -1 && err == 0)
		err = ERR_SYS;
	return err;
}

int queue_ids_open(const struct queue_root *root, int64_t now, struct queue_ids **out)
{
	struct queue_ids *ids = mem_alloc(sizeof(*ids));
	int err = 0;

	*out = NULL;
	ids->root = *root;
	ids->fd = root->io->openat(root->io, root->fd, PATH, O_RDWR | O_CREAT, 0660);
	if (ids->fd == -1)
		err = queue_errno();
	else
		err = queue_ids_refill(ids, now);
	if (err != 0) {
		queue_ids_close(&ids);
		return err;
	}
	*out = ids;
	return 0;
}

void queue_ids_close(struct queue_ids **ids)
{
	if (*ids == NULL)
		return;
	queue_close((*ids)->root.io, &(*ids)->fd);
	mem_free(*ids);
	*ids = NULL;
}

bool queue_ids_is_low(const struct queue_ids *ids)
{
	return ids->next == ids->end;
}

static const char base52[] = "0123456789BCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz";

/* Digits of value, at least width of them, appended at *to. */
static void add_base(char **to, uint64_t value, unsigned base, unsigned width)
{
	char digits[16];
	unsigned n = 0;

	do {
		digits[n++] = base52[value % base];
		value /= base;
	} while (value > 0 || n < width);
	while (n > 0)
		*(*to)++ = digits[--n];
}

int queue_ids_next(struct queue_ids *ids, bool is_long, int64_t now, char id[QUEUE_ID_MAX + 1])
{
	uint64_t n;
	char *to = id;
	int err;

	id[0] = '\0';
	if (ids->next == ids->end) {
		err = queue_ids_refill(ids, now);
		if (err != 0)
			return err;
	}
	n = ids->next++;
	if (!is_long) {
		snprintf(id, QUEUE_ID_MAX + 1, "%0*llX", QUEUE_ID_SHORT,
			(unsigned long long)queue_id_mix(n));
		return 0;
	}
	/* Base 51 is base 52 without its last digit, the z that divides. */
	add_base(&to, (uint64_t)(now / CLOCK_SEC), 52, 6);
	add_base(&to, (uint64_t)(now % CLOCK_SEC), 52, 4);
	*to++ = 'z';
	add_base(&to, n, 51, 1);
	*to = '\0';
	return 0;
}

static bool is_short(struct slice id)
{
	for (size_t i = 0; i < id.len; i++) {
		if (!((id.p[i] >= '0' && id.p[i] <= '9') || (id.p[i] >= 'A' && id.p[i] <= 'F')))
			return false;
	}
	return true;
}

/* 6 digits or more of seconds, 4 of microseconds, z, the rest. */
bool queue_id_is_long(struct slice id)
{
	ptrdiff_t z = slice_find_last(id, 'z');

	if (id.len > QUEUE_ID_MAX || z < 10 || (size_t)z + 1 == id.len)
		return false;
	for (size_t i = 0; i < id.len; i++) {
		if (id.p[i] == '\0' || strchr(base52, id.p[i]) == NULL)
			return false;
	}
	return true;
}

bool queue_id_is_valid(struct slice id)
{
	if (id.len < QUEUE_ID_MIN || id.len > QUEUE_ID_MAX)
		return false;
	return is_short(id) || queue_id_is_long(id);
}

/* Short ids: the last two digits. Long ids: the last two of the microseconds. */
void queue_id_hash(struct slice id, char hash[3])
{
	size_t end = id.len;

	if (!is_short(id))
		end = (size_t)slice_find_last(id, 'z');
	memcpy(hash, id.p + end - 2, 2);
	hash[2] = '\0';
}
