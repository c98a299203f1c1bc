/* SPDX-License-Identifier: ISC */
#include "queue/keeper_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "queue/id.h"
#include "util/err.h"
#include "util/mem.h"

/* Directories to sync once for many files. */
struct dirs {
	char names[QUEUE_ORDER_ITEMS * 4][QUEUE_PATH_MAX];
	int n;
};

static void add_dir(struct dirs *d, enum queue_place place, struct slice id)
{
	char path[QUEUE_PATH_MAX];
	ptrdiff_t slash;

	queue_file_path(place, id, false, path);
	slash = slice_find_last(slice_str(path), '/');
	path[slash] = '\0';
	for (int i = 0; i < d->n; i++) {
		if (strcmp(d->names[i], path) == 0)
			return;
	}
	memcpy(d->names[d->n++], path, (size_t)slash + 1);
}

static int sync_dirs(struct queue_keeper *k, const struct dirs *d)
{
	int err = 0;

	for (int i = 0; i < d->n; i++) {
		int one = queue_sync_dir(&k->root, d->names[i]);

		/* A hash directory that was never made holds no name. */
		if (one != 0 && !(one == ERR_SYS && errno == ENOENT))
			err = one;
	}
	return err;
}

/*
 * From this many files and directories on, one sync of the file system costs less than one each:
 * it shares the barrier, and with a journal the commit.
 */
#define SYNC_TOGETHER 8

/* Makes a batch durable: files (may be NULL), then names. Their own failures go to status. */
static int sync_batch(
	struct queue_keeper *k, const int *fds, int *status, uint32_t n, const struct dirs *d)
{
	uint32_t files = fds != NULL ? n : 0;

	if (files + (uint32_t)d->n >= SYNC_TOGETHER) {
		if (keeper_io(k)->syncfs(keeper_io(k), k->root.fd) == 0)
			return 0;
		if (errno != ENOSYS)
			return queue_errno();
	}
	for (uint32_t i = 0; i < files; i++) {
		if (fds[i] != -1 && keeper_io(k)->fsync(keeper_io(k), fds[i]) == -1)
			status[i] = queue_errno();
	}
	return sync_dirs(k, d);
}

static void put_status(struct buf *reply, const int *status, uint32_t n, int all)
{
	wire_u32(reply, n);
	for (uint32_t i = 0; i < n; i++)
		wire_u32(reply, (uint32_t)(status[i] != 0 ? status[i] : all));
}

static int move_one(struct queue_keeper *k, struct reader *r, struct dirs *dirs, int *fd)
{
	struct slice id = reader_counted(r, QUEUE_ID_MAX), payload, events;
	uint8_t place = reader_u8(r), body;
	int64_t due = (int64_t)reader_u64(r);
	struct queue_ref ref = queue_get_ref(r);
	int err;

	*fd = -1;
	body = reader_u8(r);
	events = reader_counted(r, QUEUE_EVENTS_PLAIN_MAX);
	if (r->err != 0 || !queue_id_is_valid(id) || place >= QUEUE_PLACES ||
		place == QUEUE_PLACE_JOURNAL)
		return ERR_CORRUPT;
	err = keeper_record(k, id, &ref, &payload);
	if (err != 0)
		return err;
	err = queue_file_write(&k->root, place, id, slice_first(payload, ref.envelope_len),
		slice_from(payload, ref.envelope_len), events, due, fd);
	if (err == 0)
		add_dir(dirs, place, id);
	if (err == 0 && body) {
		add_dir(dirs, QUEUE_PLACE_JOURNAL, id);
		err = queue_file_rename(&k->root, QUEUE_PLACE_JOURNAL, place, id, true);
		if (err == ERR_NOT_FOUND)
			err = 0; /* moved before, by one that died behind it */
	}
	return err;
}

int keeper_move(struct queue_keeper *k, struct reader *r, struct buf *reply)
{
	uint32_t n = reader_u32(r);
	int status[QUEUE_ORDER_ITEMS] = {0}, fds[QUEUE_ORDER_ITEMS];
	struct dirs *dirs;
	int all;

	if (n > QUEUE_ORDER_ITEMS)
		return ERR_CORRUPT;
	dirs = mem_alloc(sizeof(*dirs));
	for (uint32_t i = 0; i < n; i++)
		status[i] = move_one(k, r, dirs, &fds[i]);
	all = sync_batch(k, fds, status, n, dirs);
	for (uint32_t i = 0; i < n; i++)
		queue_close(keeper_io(k), &fds[i]);
	put_status(reply, status, n, all);
	mem_free(dirs);
	keeper_drop_unlocked(k);
	return r->err != 0 ? ERR_CORRUPT : 0;
}

static int rename_one(struct queue_keeper *k, struct reader *r, struct dirs *dirs)
{
	struct slice id = reader_counted(r, QUEUE_ID_MAX), events;
	uint8_t from = reader_u8(r), to = reader_u8(r), body = reader_u8(r);
	int64_t due = (int64_t)reader_u64(r);
	int fd = -1, err = 0;

	events = reader_counted(r, QUEUE_EVENTS_PLAIN_MAX);
	if (r->err != 0 || !queue_id_is_valid(id) || from >= QUEUE_PLACES || to >= QUEUE_PLACES)
		return ERR_CORRUPT;
	if (events.len > 0) {
		err = queue_file_append(&k->root, from, id, events, due, &fd);
		queue_close(keeper_io(k), &fd);
		if (err != 0 && err != ERR_NOT_FOUND && err != ERR_CORRUPT)
			return err;
	}
	add_dir(dirs, from, id);
	add_dir(dirs, to, id);
	if (body) {
		err = queue_file_rename(&k->root, from, to, id, true);
		if (err != 0 && err != ERR_NOT_FOUND)
			return err;
	}
	return queue_file_rename(&k->root, from, to, id, false);
}

/* Wherever an interrupted move may have left a copy. */
static int unlink_one(struct queue_keeper *k, struct reader *r, struct dirs *dirs)
{
	struct slice id = reader_counted(r, QUEUE_ID_MAX);
	uint8_t body = reader_u8(r);
	char path[QUEUE_PATH_MAX];

	if (r->err != 0 || !queue_id_is_valid(id))
		return ERR_CORRUPT;
	for (int place = 0; place < QUEUE_PLACES; place++) {
		for (int is_body = place == QUEUE_PLACE_JOURNAL; is_body <= (body != 0);
			is_body++) {
			queue_file_path((enum queue_place)place, id, is_body != 0, path);
			if (keeper_io(k)->unlinkat(keeper_io(k), k->root.fd, path) == -1 &&
				errno != ENOENT)
				return queue_errno();
		}
		if (place != QUEUE_PLACE_JOURNAL || body)
			add_dir(dirs, (enum queue_place)place, id);
	}
	return 0;
}

/* A batch of changes of names. */
static int change_names(struct queue_keeper *k, struct reader *r, struct buf *reply,
	int (*one)(struct queue_keeper *k, struct reader *r, struct dirs *dirs))
{
	uint32_t n = reader_u32(r);
	int status[QUEUE_ORDER_ITEMS] = {0};
	struct dirs *dirs;

	if (n > QUEUE_ORDER_ITEMS)
		return ERR_CORRUPT;
	dirs = mem_alloc(sizeof(*dirs));
	for (uint32_t i = 0; i < n; i++)
		status[i] = one(k, r, dirs);
	put_status(reply, status, n, sync_batch(k, NULL, status, n, dirs));
	mem_free(dirs);
	return r->err != 0 ? ERR_CORRUPT : 0;
}

int keeper_rename(struct queue_keeper *k, struct reader *r, struct buf *reply)
{
	return change_names(k, r, reply, rename_one);
}

int keeper_unlink(struct queue_keeper *k, struct reader *r, struct buf *reply)
{
	return change_names(k, r, reply, unlink_one);
}

int keeper_append(struct queue_keeper *k, struct reader *r, struct buf *reply)
{
	struct slice id = reader_counted(r, QUEUE_ID_MAX), events;
	uint8_t place = reader_u8(r);
	int64_t due = (int64_t)reader_u64(r);
	int fd = -1, err;

	events = reader_counted(r, QUEUE_EVENTS_PLAIN_MAX);
	if (r->err != 0 || !queue_id_is_valid(id) || place >= QUEUE_PLACES)
		return ERR_CORRUPT;
	err = queue_file_append(&k->root, place, id, events, due, &fd);
	queue_close(keeper_io(k), &fd);
	return err;
}

int keeper_read(struct queue_keeper *k, struct reader *r, struct buf *reply)
{
	struct slice id = reader_counted(r, QUEUE_ID_MAX);
	uint8_t at = reader_u8(r), with_content = reader_u8(r);
	struct buf plain = BUF_INIT(QUEUE_EVENTS_PLAIN_MAX);
	enum queue_place place = at;
	struct queue_event ev;
	struct queue_file f = {0};
	uint32_t last_no = 0;
	int err;

	if (r->err != 0 || !queue_id_is_valid(id) || at >= QUEUE_PLACES)
		return ERR_CORRUPT;
	err = queue_file_read(&k->root, place, id, with_content != 0, &f);
	if (err == ERR_NOT_FOUND) {
		err = queue_file_find(&k->root, id, &place);
		if (err == 0)
			err = queue_file_read(&k->root, place, id, with_content != 0, &f);
	}
	while (err == 0 && queue_file_event_next(&f, &last_no, &ev))
		queue_event_encode(&plain, 0, &ev);
	wire_u8(reply, (uint8_t)place);
	wire_counted(reply, f.envelope);
	wire_counted(reply, f.content);
	wire_counted(reply, buf_slice(&plain));
	buf_clear(&plain);
	queue_file_clear(&f);
	return err;
}

struct walk {
	struct queue_keeper *k;
	enum queue_place place;
	char hash[3]; /* "": the place itself */
	char dir[QUEUE_PATH_MAX];
	struct buf list;
	uint32_t n;
	struct buf odd; /* names that do not belong there */
};

static void walk_add(
	struct walk *w, struct slice name, const struct queue_stat *st, enum queue_walk_kind kind)
{
	wire_counted(&w->list, slice_first(name, QUEUE_ID_MAX));
	wire_u64(&w->list, (uint64_t)st->mtime);
	wire_u8(&w->list, (uint8_t)kind);
	w->n++;
}

static bool is_in_place(const struct walk *w, struct slice id)
{
	char hash[3];

	queue_id_hash(id, hash);
	return w->hash[0] != '\0' && memcmp(hash, w->hash, 2) == 0;
}

static bool walk_one(const char *text, void *arg)
{
	struct walk *w = arg;
	struct slice name = slice_str(text), id = name;
	struct queue_stat st;
	char path[QUEUE_PATH_MAX];

	if (name.len == 0 || text[0] == '.' ||
		snprintf(path, sizeof(path), "%s/%s", w->dir, text) >= (int)sizeof(path) ||
		keeper_io(w->k)->statat(keeper_io(w->k), w->k->root.fd, path, &st) == -1)
		return true;
	if (st.is_dir && name.len == 2)
		walk_add(w, name, &st, QUEUE_WALK_DIR);
	if (!st.is_regular)
		return true;
	if (slice_ends(name, ".body"))
		id = slice_first(name, name.len - 5);
	if (!queue_id_is_valid(id) || !is_in_place(w, id))
		wire_counted(&w->odd, name);
	else if (id.len == name.len)
		walk_add(w, name, &st, QUEUE_WALK_FILE);
	return true;
}

/* To the directory that its id says; what is no queue file to corrupt/. Never over another. */
static void put_right(struct walk *w, struct slice name)
{
	const struct queue_io *io = keeper_io(w->k);
	bool is_body = slice_ends(name, ".body");
	struct slice id = is_body ? slice_first(name, name.len - 5) : name;
	bool is_ours = queue_id_is_valid(id);
	char from[QUEUE_PATH_MAX], to[QUEUE_PATH_MAX], dir[QUEUE_PATH_MAX] = "corrupt";
	struct queue_stat st, other;

	if (snprintf(from, sizeof(from), "%s/%.*s", w->dir, SLICE_FMT(name)) >= (int)sizeof(from))
		return;
	if (io->statat(io, w->k->root.fd, from, &st) == -1)
		return;
	if (is_ours) {
		queue_file_path(w->place, id, is_body, to);
		to[slice_find_last(slice_str(to), '/')] = '\0';
		strlcpy(dir, to, sizeof(dir));
		queue_file_path(w->place, id, is_body, to);
		if (io->mkdirat(io, w->k->root.fd, dir, 0770) == 0)
			(void)queue_sync_dir(&w->k->root, queue_place_name(w->place));
	} else if (snprintf(to, sizeof(to), "corrupt/%.*s", SLICE_FMT(name)) >= (int)sizeof(to)) {
		return;
	}
	if (io->statat(io, w->k->root.fd, to, &other) == 0 ||
		io->renameat(io, w->k->root.fd, from, w->k->root.fd, to) == -1) {
		walk_add(w, name, &st, QUEUE_WALK_STUCK);
		return;
	}
	(void)queue_sync_dir(&w->k->root, dir);
	(void)queue_sync_dir(&w->k->root, w->dir);
	if (!is_body)
		walk_add(w, name, &st, is_ours ? QUEUE_WALK_MOVED : QUEUE_WALK_FOREIGN);
}

int keeper_walk(struct queue_keeper *k, struct reader *r, struct buf *reply)
{
	uint8_t place = reader_u8(r);
	struct slice dir = reader_counted(r, 2);
	struct walk w = {.k = k,
		.place = place,
		.list = BUF_INIT(QUEUE_REPLY_MAX / 2),
		.odd = BUF_INIT(1u << 20)};
	struct reader odd;
	int err = 0;

	if (r->err != 0 || place >= QUEUE_PLACES)
		return ERR_CORRUPT;
	snprintf(w.hash, sizeof(w.hash), "%.*s", SLICE_FMT(dir));
	snprintf(w.dir, sizeof(w.dir), "%s%s%.*s", queue_place_name(place), dir.len > 0 ? "/" : "",
		SLICE_FMT(dir));
	if (keeper_io(k)->list(keeper_io(k), k->root.fd, w.dir, walk_one, &w) == -1)
		err = ERR_SYS;
	odd = reader_of(buf_slice(&w.odd));
	while (odd.err == 0 && odd.in.len > 0)
		put_right(&w, reader_counted(&odd, QUEUE_PATH_MAX));
	wire_u32(reply, w.n);
	buf_add_slice(reply, buf_slice(&w.list));
	buf_clear(&w.list);
	buf_clear(&w.odd);
	return err;
}

struct sweep {
	struct queue_keeper *k;
	int64_t before;
	struct buf list;
	uint32_t n;
};

/* True when nobody has it open and locked, and it has not been touched for long. */
static bool is_abandoned(struct queue_keeper *k, const char *path, int64_t before)
{
	int fd = keeper_io(k)->openat(keeper_io(k), k->root.fd, path, O_RDWR, 0);
	struct queue_stat st;
	bool yes = fd != -1 && keeper_io(k)->fstat(keeper_io(k), fd, &st) == 0 &&
		   st.mtime < before && keeper_io(k)->lock(keeper_io(k), fd, false) == 0;

	queue_close(keeper_io(k), &fd);
	return yes;
}

static bool sweep_one(const char *name, void *arg)
{
	struct sweep *sw = arg;
	struct slice id = slice_str(name);
	enum queue_place place;
	char path[QUEUE_PATH_MAX];

	if (id.len > QUEUE_ID_MAX + 5 ||
		snprintf(path, sizeof(path), "incoming/%s", name) >= (int)sizeof(path))
		return true;
	if (slice_ends(id, ".new") && is_abandoned(sw->k, path, sw->before))
		keeper_io(sw->k)->unlinkat(keeper_io(sw->k), sw->k->root.fd, path);
	if (!slice_ends(id, ".body"))
		return true;
	id = slice_first(id, id.len - 5);
	if (queue_id_is_valid(id) && is_abandoned(sw->k, path, sw->before) &&
		queue_file_find(&sw->k->root, id, &place) == ERR_NOT_FOUND) {
		wire_counted(&sw->list, id);
		sw->n++;
	}
	return true;
}

/* What workers that died left half made; the store knows which bodies have a message. */
int keeper_sweep(struct queue_keeper *k, struct reader *r, struct buf *reply)
{
	struct sweep sw = {.k = k, .list = BUF_INIT(1u << 20)};
	int err = 0;

	sw.before = (int64_t)reader_u64(r);
	if (r->err != 0)
		return ERR_CORRUPT;
	if (keeper_io(k)->list(keeper_io(k), k->root.fd, "incoming", sweep_one, &sw) == -1)
		err = ERR_SYS;
	wire_u32(reply, sw.n);
	buf_add_slice(reply, buf_slice(&sw.list));
	buf_clear(&sw.list);
	return err;
}
