/* SPDX-License-Identifier: ISC */
#include "queue/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "queue/id.h"
#include "util/err.h"
#include "util/hash.h"
#include "util/mem.h"
#include "util/wire.h"

/*
 * Head: magic u32, CRC-32C u32 of all behind it (table too), version u16, zero u16, envelope
 * length u32, content length u32, generation u64, id length u8, id; at HEAD_LEN a CRC-32C for
 * each QUEUE_CHUNK of payload. Payload follows at the next block, events at the one behind that.
 */
#define MAGIC 0x31465147u /* "GQF1" */
#define VERSION 1
#define HEAD_LEN 64
#define PAYLOAD_MAX (128u << 20)
#define EVENTS_MAX (256u << 20)

const char *queue_place_name(enum queue_place place)
{
	static const char *const names[QUEUE_PLACES] = {"incoming", "deferred", "hold", "corrupt"};

	return place < QUEUE_PLACES ? names[place] : "unknown";
}

void queue_file_path(
	enum queue_place place, struct slice id, bool is_body, char path[QUEUE_PATH_MAX])
{
	const char *suffix = is_body ? ".body" : "";
	char hash[3];

	if (place == QUEUE_PLACE_JOURNAL) {
		snprintf(path, QUEUE_PATH_MAX, "incoming/%.*s%s", SLICE_FMT(id), suffix);
		return;
	}
	queue_id_hash(id, hash);
	snprintf(path, QUEUE_PATH_MAX, "%s/%s/%.*s%s", queue_place_name(place), hash, SLICE_FMT(id),
		suffix);
}

static uint64_t payload_at(uint64_t payload)
{
	return queue_align(HEAD_LEN + (payload + QUEUE_CHUNK - 1) / QUEUE_CHUNK * 4, QUEUE_BLOCK);
}

static int parse_head(struct slice head, uint64_t file_size, struct slice id, uint32_t *envelope,
	uint32_t *content, uint64_t *generation)
{
	uint64_t payload;
	size_t table;

	if (head.len < HEAD_LEN || wire_get_u32(head.p) != MAGIC)
		return ERR_CORRUPT;
	*envelope = wire_get_u32(head.p + 12);
	*content = wire_get_u32(head.p + 16);
	*generation = wire_get_u64(head.p + 20);
	payload = (uint64_t)*envelope + *content;
	if (payload > PAYLOAD_MAX || payload_at(payload) + payload > file_size)
		return ERR_CORRUPT;
	table = (size_t)((payload + QUEUE_CHUNK - 1) / QUEUE_CHUNK) * 4;
	if (head.len < HEAD_LEN + table ||
		wire_get_u32(head.p + 4) != crc32c(0, head.p + 8, HEAD_LEN + table - 8))
		return ERR_CORRUPT;
	if (wire_get_u16(head.p + 8) != VERSION)
		return ERR_RANGE;
	if (!slice_eq(slice_of(head.p + 29, (uint8_t)head.p[28]), id))
		return ERR_CORRUPT;
	return 0;
}

static int check_payload(const char *table, struct slice payload, size_t len)
{
	for (size_t at = 0, i = 0; at < len; at += QUEUE_CHUNK, i++) {
		size_t part = payload.len - at < QUEUE_CHUNK ? payload.len - at : QUEUE_CHUNK;

		if (wire_get_u32(table + i * 4) != crc32c(0, payload.p + at, part))
			return ERR_CORRUPT;
	}
	return 0;
}

/* Finds where good events end, and whether anything that is none stands behind them. */
static void find_end(struct queue_file *f, uint64_t begin)
{
	uint64_t offset = 0;
	struct queue_event ev;
	size_t used;

	f->end = begin;
	while (offset < f->events.len) {
		int err = queue_event_decode(
			slice_from(f->events, (size_t)offset), f->generation, &ev, &used);

		if (err == 0) {
			offset += used;
			f->end = begin + offset;
		} else if ((err == ERR_NOT_FOUND || QUEUE_BLOCK - offset % QUEUE_BLOCK < 4) &&
			   offset % QUEUE_BLOCK != 0) {
			offset = queue_align(offset, QUEUE_BLOCK);
		} else {
			f->is_torn = true;
			break;
		}
	}
	f->events = slice_first(f->events, (size_t)(f->end - begin));
}

static int read_all(const struct queue_root *root, int fd, struct buf *out, uint64_t *size)
{
	struct queue_stat st;
	char *room = NULL;

	if (root->io->fstat(root->io, fd, &st) == -1)
		return ERR_SYS;
	*size = st.size;
	if (!st.is_regular || st.size > (uint64_t)PAYLOAD_MAX + EVENTS_MAX)
		return ERR_CORRUPT;
	if (buf_room(out, (size_t)st.size, &room) != 0)
		return ERR_CORRUPT;
	if (queue_read_full(root->io, fd, room, (size_t)st.size, 0, false) != 0)
		return errno == EIO ? ERR_CORRUPT : ERR_SYS;
	buf_added(out, (size_t)st.size);
	return 0;
}

static int parse_file(struct queue_file *f, struct slice id, bool with_content)
{
	struct slice all = buf_slice(&f->bytes), payload;
	uint32_t envelope = 0, content = 0;
	int err = parse_head(all, all.len, id, &envelope, &content, &f->generation);
	uint64_t at = payload_at((uint64_t)envelope + content), events;
	size_t check;

	if (err != 0)
		return err;
	payload = slice_first(slice_from(all, (size_t)at), (size_t)envelope + content);
	check = with_content ? payload.len : (size_t)queue_align(envelope, QUEUE_CHUNK);
	if (check > payload.len)
		check = payload.len;
	if (check_payload(all.p + HEAD_LEN, payload, check) != 0)
		return ERR_CORRUPT;
	f->envelope = slice_first(payload, envelope);
	if (with_content)
		f->content = slice_from(payload, envelope);
	events = queue_align(at + payload.len, QUEUE_BLOCK);
	f->events = slice_from(all, (size_t)events);
	find_end(f, events);
	return 0;
}

int queue_file_read(const struct queue_root *root, enum queue_place place, struct slice id,
	bool with_content, struct queue_file *f)
{
	char path[QUEUE_PATH_MAX];
	uint64_t size = 0;
	int fd, err;

	*f = (struct queue_file){.bytes = BUF_INIT((size_t)PAYLOAD_MAX + EVENTS_MAX)};
	queue_file_path(place, id, false, path);
	fd = root->io->openat(root->io, root->fd, path, O_RDONLY, 0);
	if (fd == -1)
		return errno == ENOENT ? ERR_NOT_FOUND : ERR_SYS;
	err = read_all(root, fd, &f->bytes, &size);
	queue_close(root->io, &fd);
	if (err == 0)
		err = parse_file(f, id, with_content);
	if (err != 0)
		queue_file_clear(f);
	return err;
}

void queue_file_clear(struct queue_file *f)
{
	buf_clear(&f->bytes);
	*f = (struct queue_file){0};
}

bool queue_file_event_next(struct queue_file *f, uint32_t *last_no, struct queue_event *ev)
{
	while (f->events.len > 0) {
		/* find_end has checked them all: what fails is padding to the next block. */
		size_t offset = (size_t)(f->events.p - buf_str(&f->bytes)), used;

		if (queue_event_decode(f->events, f->generation, ev, &used) != 0)
			used = QUEUE_BLOCK - offset % QUEUE_BLOCK;
		f->events = slice_from(f->events, used);
		if (ev->type != QUEUE_EV_NONE && ev->no > *last_no) {
			*last_no = ev->no;
			return true;
		}
	}
	*ev = (struct queue_event){0};
	return false;
}

int queue_file_find(const struct queue_root *root, struct slice id, enum queue_place *place)
{
	static const enum queue_place places[] = {
		QUEUE_PLACE_DEFERRED, QUEUE_PLACE_HOLD, QUEUE_PLACE_CORRUPT};
	struct queue_stat st;
	char path[QUEUE_PATH_MAX];

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		*place = places[i];
		queue_file_path(places[i], id, false, path);
		if (root->io->statat(root->io, root->fd, path, &st) == 0)
			return 0;
		if (errno != ENOENT)
			return ERR_SYS;
	}
	return ERR_NOT_FOUND;
}

/* ---- Writing ---- */

static int open_made(const struct queue_root *root, const char *path, int flags)
{
	const struct queue_io *io = root->io;
	char dir[QUEUE_PATH_MAX];
	ptrdiff_t slash = slice_find_last(slice_str(path), '/');
	int fd = io->openat(io, root->fd, path, flags, 0660);

	if (fd != -1 || errno != ENOENT || !(flags & O_CREAT))
		return fd;
	snprintf(dir, sizeof(dir), "%.*s", (int)slash, path);
	if (io->mkdirat(io, root->fd, dir, 0770) == -1 && errno != EEXIST)
		return -1;
	/* The hash directory's own name: synced here, once in its life. */
	snprintf(dir, sizeof(dir), "%.*s", (int)slice_find(slice_str(path), '/'), path);
	if (queue_sync_dir(root, dir) != 0)
		return -1;
	return io->openat(io, root->fd, path, flags, 0660);
}

/* Events in the file's own generation, padded to a block. */
int queue_file_encode_events(struct slice plain, uint64_t generation, struct buf *out)
{
	struct queue_event ev;
	size_t used;
	int err = 0;

	while (plain.len > 0 && err == 0) {
		err = queue_event_decode(plain, 0, &ev, &used);
		if (err == 0)
			err = queue_event_encode(out, generation, &ev);
		plain = slice_from(plain, used);
	}
	return err;
}

static void put_head(char *head, struct slice id, struct slice envelope, struct slice content,
	uint64_t generation, struct slice table)
{
	wire_put_u32(head, MAGIC);
	wire_put_u16(head + 8, VERSION);
	wire_put_u32(head + 12, (uint32_t)envelope.len);
	wire_put_u32(head + 16, (uint32_t)content.len);
	wire_put_u64(head + 20, generation);
	head[28] = (char)id.len;
	memcpy(head + 29, id.p, id.len);
	memcpy(head + HEAD_LEN, table.p, table.len);
	wire_put_u32(head + 4, crc32c(0, head + 8, HEAD_LEN + table.len - 8));
}

/* CRC-32C of each QUEUE_CHUNK over envelope and content in a row. */
static void sum_payload(struct buf *table, struct slice envelope, struct slice content)
{
	uint64_t total = (uint64_t)envelope.len + content.len;

	for (uint64_t at = 0; at < total; at += QUEUE_CHUNK) {
		struct slice a = slice_first(slice_from(envelope, (size_t)at), QUEUE_CHUNK);
		size_t from = at > envelope.len ? (size_t)(at - envelope.len) : 0;
		struct slice b = slice_first(slice_from(content, from), QUEUE_CHUNK - a.len);

		wire_u32(table, crc32c(crc32c(0, a.p, a.len), b.p, b.len));
	}
}

int queue_file_write(const struct queue_root *root, enum queue_place place, struct slice id,
	struct slice envelope, struct slice content, struct slice events_plain, int64_t due,
	int *fd)
{
	static char zeros[QUEUE_BLOCK];
	uint64_t payload = (uint64_t)envelope.len + content.len, at = payload_at(payload);
	uint64_t events_at = queue_align(at + payload, QUEUE_BLOCK), generation;
	struct buf table = BUF_INIT(1u << 20), events = BUF_INIT(EVENTS_MAX);
	char *head = mem_alloc((size_t)at);
	char path[QUEUE_PATH_MAX];
	int err;

	*fd = -1;
	root->io->random(root->io, &generation, sizeof(generation));
	queue_file_path(place, id, false, path);
	sum_payload(&table, envelope, content);
	put_head(head, id, envelope, content, generation, buf_slice(&table));
	err = payload > PAYLOAD_MAX ? ERR_RANGE
				    : queue_file_encode_events(events_plain, generation, &events);
	if (err == 0) {
		*fd = open_made(root, path, O_RDWR | O_CREAT | O_TRUNC);
		if (*fd == -1)
			err = queue_errno();
	}
	if (err == 0) {
		struct iovec iov[] = {
			{head, (size_t)at},
			{(void *)(uintptr_t)envelope.p, envelope.len},
			{(void *)(uintptr_t)content.p, content.len},
			{zeros, (size_t)(events_at - at - payload)},
			{(void *)(uintptr_t)buf_str(&events), events.len},
		};

		err = queue_write_full(root->io, *fd, iov, 5, 0);
	}
	if (err == 0 && due > 0)
		root->io->set_mtime(root->io, *fd, due);
	if (err != 0)
		queue_close(root->io, fd);
	mem_free(head);
	buf_clear(&table);
	buf_clear(&events);
	return err;
}

int queue_file_append(const struct queue_root *root, enum queue_place place, struct slice id,
	struct slice events_plain, int64_t due, int *fd)
{
	const struct queue_io *io = root->io;
	struct buf events = BUF_INIT(EVENTS_MAX);
	struct queue_file f;
	char path[QUEUE_PATH_MAX];
	int err = queue_file_read(root, place, id, false, &f);

	*fd = -1;
	if (err != 0)
		return err;
	queue_file_path(place, id, false, path);
	*fd = io->openat(io, root->fd, path, O_RDWR, 0);
	if (*fd == -1)
		err = queue_errno();
	if (err == 0 && f.is_torn && io->ftruncate(io, *fd, f.end) == -1)
		err = queue_errno();
	if (err == 0)
		err = queue_file_encode_events(events_plain, f.generation, &events);
	if (err == 0 && events.len > 0) {
		struct iovec iov = {(void *)(uintptr_t)buf_str(&events), events.len};

		err = queue_write_full(io, *fd, &iov, 1, queue_align(f.end, QUEUE_BLOCK));
	}
	if (err == 0 && due > 0)
		io->set_mtime(io, *fd, due);
	if (err != 0)
		queue_close(io, fd);
	buf_clear(&events);
	queue_file_clear(&f);
	return err;
}

int queue_file_rename(const struct queue_root *root, enum queue_place from, enum queue_place to,
	struct slice id, bool is_body)
{
	const struct queue_io *io = root->io;
	char old[QUEUE_PATH_MAX], new[QUEUE_PATH_MAX], dir[QUEUE_PATH_MAX];
	int err;

	queue_file_path(from, id, is_body, old);
	queue_file_path(to, id, is_body, new);
	if (io->renameat(io, root->fd, old, root->fd, new) == 0)
		return 0;
	if (errno != ENOENT)
		return queue_errno();
	/* The hash directory may be missing, or the file is there already. */
	snprintf(dir, sizeof(dir), "%.*s", (int)slice_find_last(slice_str(new), '/'), new);
	if (io->mkdirat(io, root->fd, dir, 0770) == 0) {
		err = queue_sync_dir(root, queue_place_name(to));
		if (err != 0)
			return err;
	}
	if (io->renameat(io, root->fd, old, root->fd, new) == 0)
		return 0;
	return errno == ENOENT ? ERR_NOT_FOUND : queue_errno();
}
