/* SPDX-License-Identifier: ISC */
#include "queue/segment.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "util/err.h"
#include "util/hash.h"
#include "util/mem.h"
#include "util/wire.h"

#define HEAD_MAGIC 0x31534547u   /* "GES1" */
#define RECORD_MAGIC 0x31524547u /* "GER1" */
#define VERSION 1
#define HEAD_LEN 64
#define HEAD_COPY 2048 /* second copy in the first block: sectors go bad one by one */
#define WINDOW (256u << 10)
#define SEARCH (64u << 10) /* bytes at a time */

void queue_segment_path(uint32_t number, char path[QUEUE_SEGMENT_PATH])
{
	snprintf(path, QUEUE_SEGMENT_PATH, "incoming/%08X.segment", number);
}

uint32_t queue_segment_number(const char *name)
{
	char want[QUEUE_SEGMENT_PATH];
	uint32_t n = 0;

	for (int i = 0; i < 8; i++) {
		char c = name[i];

		if (c >= '0' && c <= '9')
			n = n << 4 | (uint32_t)(c - '0');
		else if (c >= 'A' && c <= 'F')
			n = n << 4 | (uint32_t)(c - 'A' + 10);
		else
			return 0;
	}
	queue_segment_path(n, want);
	return strcmp(want + sizeof("incoming/") - 1, name) == 0 ? n : 0;
}

static void put_head(const struct queue_segment *s, char *p)
{
	memset(p, 0, HEAD_LEN);
	wire_put_u32(p, HEAD_MAGIC);
	wire_put_u16(p + 8, VERSION);
	p[10] = (char)s->state;
	wire_put_u32(p + 12, s->number);
	wire_put_u64(p + 16, s->size);
	memcpy(p + 24, s->generation, QUEUE_GENERATION);
	wire_put_u32(p + 4, crc32c(0, p + 8, HEAD_LEN - 8));
}

static bool get_head(struct queue_segment *s, const char *p)
{
	if (wire_get_u32(p) != HEAD_MAGIC || wire_get_u32(p + 4) != crc32c(0, p + 8, HEAD_LEN - 8))
		return false;
	if (wire_get_u16(p + 8) != VERSION || wire_get_u32(p + 12) != s->number ||
		wire_get_u64(p + 16) != s->size)
		return false;
	s->state = (uint8_t)p[10];
	memcpy(s->generation, p + 24, QUEUE_GENERATION);
	return s->state == QUEUE_SEGMENT_FREE || s->state == QUEUE_SEGMENT_USED;
}

int queue_segment_reload(struct queue_segment *s)
{
	const uint64_t places[] = {0, HEAD_COPY, s->size - QUEUE_BLOCK};
	size_t unread = 0, n = sizeof(places) / sizeof(places[0]);
	char raw[HEAD_LEN];

	queue_segment_forget(s);
	if (s->size < 4 * QUEUE_BLOCK || s->size % QUEUE_BLOCK != 0)
		return ERR_CORRUPT;
	for (size_t i = 0; i < n; i++) {
		int err = queue_read_full(s->io, s->fd, raw, sizeof(raw), places[i], false);

		/* A bad sector of one copy is what the others are for. */
		if (err == 0 && get_head(s, raw))
			return 0;
		unread += err == ERR_SYS;
	}
	/* Where nothing can be read nobody knows what stands there. */
	return unread == n ? ERR_SYS : ERR_CORRUPT;
}

int queue_segment_open(const struct queue_root *root, uint32_t number, struct queue_segment *s)
{
	char path[QUEUE_SEGMENT_PATH];
	struct queue_stat st;
	int err;

	*s = (struct queue_segment){.io = root->io, .fd = -1, .number = number};
	queue_segment_path(number, path);
	s->fd = s->io->openat(s->io, root->fd, path, O_RDWR, 0);
	if (s->fd == -1)
		return errno == ENOENT ? ERR_NOT_FOUND : ERR_SYS;
	if (s->io->fstat(s->io, s->fd, &st) == -1) {
		queue_close(s->io, &s->fd);
		return ERR_SYS;
	}
	s->size = st.size;
	err = queue_segment_reload(s);
	if (err == ERR_SYS)
		queue_close(s->io, &s->fd);
	return err;
}

void queue_segment_close(struct queue_segment *s)
{
	if (s->io != NULL)
		queue_close(s->io, &s->fd);
	mem_free(s->window);
	s->window = NULL;
	s->window_len = s->window_cap = 0;
}

int queue_segment_write_head(struct queue_segment *s)
{
	char block[QUEUE_BLOCK] = {0};
	struct iovec iov = {block, sizeof(block)};
	int err;

	put_head(s, block);
	put_head(s, block + HEAD_COPY);
	err = queue_write_full(s->io, s->fd, &iov, 1, 0);
	if (err != 0)
		return err;
	iov = (struct iovec){block, sizeof(block)};
	return queue_write_full(s->io, s->fd, &iov, 1, s->size - QUEUE_BLOCK);
}

void queue_segment_forget(struct queue_segment *s)
{
	s->window_len = 0;
}

int queue_segment_get(
	struct queue_segment *s, uint64_t offset, size_t len, bool nowait, struct slice *out)
{
	size_t want = len > WINDOW ? len : WINDOW;
	int err;

	*out = SLICE_NONE;
	if (offset > s->size || len > s->size - offset)
		return ERR_SHORT;
	if (offset >= s->window_at && offset + len <= s->window_at + s->window_len) {
		*out = slice_of(s->window + (offset - s->window_at), len);
		return 0;
	}
	if (want > s->size - offset)
		want = (size_t)(s->size - offset);
	if (want > s->window_cap) {
		s->window = mem_resize(s->window, want, 1);
		s->window_cap = want;
	}
	s->window_len = 0;
	err = queue_read_full(s->io, s->fd, s->window, want, offset, nowait);
	/* Far bytes that are not in memory must not hold up near ones that are. */
	if (err == ERR_AGAIN && want > len) {
		want = len;
		err = queue_read_full(s->io, s->fd, s->window, want, offset, nowait);
	}
	if (err != 0)
		return err;
	s->window_at = offset;
	s->window_len = want;
	*out = slice_of(s->window, len);
	return 0;
}

void queue_record_head(char *out, const uint8_t generation[QUEUE_GENERATION],
	const struct queue_record *r, const uint32_t *crcs)
{
	uint64_t payload = (uint64_t)r->ref.length;
	size_t len = queue_record_head_len(payload);
	size_t id_len = strlen(r->id);

	memset(out, 0, QUEUE_RECORD_HEAD);
	wire_put_u32(out, RECORD_MAGIC);
	memcpy(out + 8, generation, QUEUE_GENERATION);
	wire_put_u16(out + 24, VERSION);
	wire_put_u32(out + 28, r->ref.seq);
	wire_put_u64(out + 32, r->durable);
	wire_put_u32(out + 40, r->ref.envelope_len);
	wire_put_u32(out + 44, r->content_len);
	out[48] = (char)id_len;
	memcpy(out + 49, r->id, id_len);
	wire_put_u64(out + 80, r->ref.offset);
	for (size_t i = 0; i < (len - QUEUE_RECORD_HEAD) / 4; i++)
		wire_put_u32(out + QUEUE_RECORD_HEAD + i * 4, crcs[i]);
	wire_put_u32(out + 4, crc32c(0, out + 8, len - 8));
}

static bool head_matches(const struct queue_segment *s, const char *p)
{
	return wire_get_u32(p) == RECORD_MAGIC &&
	       memcmp(p + 8, s->generation, QUEUE_GENERATION) == 0;
}

static int parse_head(const char *p, uint64_t offset, uint64_t limit, struct queue_record *r)
{
	uint64_t payload;
	size_t id_len = (uint8_t)p[48];

	*r = (struct queue_record){0};
	r->ref.seq = wire_get_u32(p + 28);
	r->ref.offset = offset;
	r->durable = wire_get_u64(p + 32);
	r->ref.envelope_len = wire_get_u32(p + 40);
	r->content_len = wire_get_u32(p + 44);
	payload = (uint64_t)r->ref.envelope_len + r->content_len;
	if (wire_get_u16(p + 24) != VERSION || wire_get_u64(p + 80) != offset ||
		payload > QUEUE_RECORD_MAX || id_len > QUEUE_ID_MAX)
		return ERR_CORRUPT;
	memcpy(r->id, p + 49, id_len);
	r->ref.length = (uint32_t)payload;
	r->payload = offset + queue_record_head_len(payload);
	r->end = queue_align(r->payload + payload, QUEUE_RECORD_UNIT);
	return r->end <= limit ? 0 : ERR_CORRUPT;
}

int queue_record_read(struct queue_segment *s, uint64_t offset, uint64_t limit, bool nowait,
	struct queue_record *r)
{
	struct slice head;
	int err;

	*r = (struct queue_record){0};
	if (offset + QUEUE_RECORD_HEAD > limit)
		return ERR_CORRUPT;
	err = queue_segment_get(s, offset, QUEUE_RECORD_HEAD, nowait, &head);
	if (err != 0)
		return err == ERR_SHORT ? ERR_CORRUPT : err;
	if (!head_matches(s, head.p))
		return ERR_CORRUPT;
	err = parse_head(head.p, offset, limit, r);
	if (err != 0)
		return err;
	r->ref.segment = s->number;
	err = queue_segment_get(s, offset, (size_t)(r->payload - offset), nowait, &head);
	if (err != 0)
		return err == ERR_SHORT ? ERR_CORRUPT : err;
	if (wire_get_u32(head.p + 4) != crc32c(0, head.p + 8, head.len - 8) ||
		!queue_id_is_valid(slice_str(r->id)))
		return ERR_CORRUPT;
	return 0;
}

int queue_record_payload(struct queue_segment *s, const struct queue_record *r, size_t len,
	bool nowait, struct slice *out)
{
	size_t head_len = (size_t)(r->payload - r->ref.offset);
	size_t rounded = (size_t)queue_align(len, QUEUE_CHUNK);
	struct slice all;
	int err;

	*out = SLICE_NONE;
	if (rounded > r->ref.length)
		rounded = r->ref.length;
	/* Head and payload together, so that the table is at hand. */
	err = queue_segment_get(s, r->ref.offset, head_len + rounded, nowait, &all);
	if (err != 0)
		return err == ERR_SHORT ? ERR_CORRUPT : err;
	for (size_t at = 0, i = 0; at < rounded; at += QUEUE_CHUNK, i++) {
		size_t part = rounded - at < QUEUE_CHUNK ? rounded - at : QUEUE_CHUNK;

		if (wire_get_u32(all.p + QUEUE_RECORD_HEAD + i * 4) !=
			crc32c(0, all.p + head_len + at, part))
			return ERR_CORRUPT;
	}
	*out = slice_first(slice_from(all, head_len), len);
	return 0;
}

/* The first place in bytes, a multiple of the unit, where a head of this generation could be. */
static bool find_head(const struct queue_segment *s, struct slice bytes, size_t *at)
{
	for (*at = 0; *at + QUEUE_RECORD_HEAD <= bytes.len; *at += QUEUE_RECORD_UNIT) {
		if (head_matches(s, bytes.p + *at))
			return true;
	}
	return false;
}

/* From offset (a multiple of the unit) on, for the next record. */
static int search(struct queue_segment *s, uint64_t *offset, uint64_t limit, bool nowait,
	struct queue_record *r)
{
	while (*offset + QUEUE_RECORD_HEAD <= limit) {
		uint64_t left = limit - *offset;
		size_t part = left < SEARCH ? (size_t)left : SEARCH, at = 0;
		struct slice bytes;
		int err = queue_segment_get(s, *offset, part, nowait, &bytes);

		if (err == ERR_SYS && part > QUEUE_RECORD_HEAD) {
			/* An unreadable sector: what is before and behind it can still be good. */
			part = QUEUE_RECORD_HEAD;
			err = queue_segment_get(s, *offset, part, nowait, &bytes);
		}
		if (err == ERR_SYS) {
			*offset = queue_align(*offset + 1, QUEUE_BLOCK);
			continue;
		}
		if (err != 0)
			return err;
		if (!find_head(s, bytes, &at)) {
			*offset += at > 0 ? at : QUEUE_RECORD_UNIT;
			continue;
		}
		*offset += at;
		err = queue_record_read(s, *offset, limit, nowait, r);
		if (err != ERR_CORRUPT)
			return err;
		*offset += QUEUE_RECORD_UNIT;
	}
	return ERR_NOT_FOUND;
}

int queue_record_next(struct queue_segment *s, uint64_t *offset, uint64_t limit, bool nowait,
	struct queue_record *r, uint64_t *gap)
{
	uint64_t at = queue_align(*offset, QUEUE_RECORD_UNIT);
	uint64_t block = queue_align(at, QUEUE_BLOCK);
	int err;

	*gap = 0;
	err = queue_record_read(s, at, limit, nowait, r);
	if (err == ERR_CORRUPT && block != at) {
		at = block;
		err = queue_record_read(s, at, limit, nowait, r);
	}
	if (err == ERR_CORRUPT || err == ERR_SYS) {
		at = queue_align(*offset, QUEUE_RECORD_UNIT);
		err = search(s, &at, limit, nowait, r);
		if (err == 0)
			*gap = at - *offset;
	}
	if (err == 0)
		*offset = r->end;
	return err;
}
