/* SPDX-License-Identifier: ISC */
#include "queue/keeper_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "queue/kept.h"
#include "util/dict.h"
#include "util/err.h"
#include "util/hash.h"
#include "util/mem.h"

#define ASIDE_MAX (4u << 20)

struct queue_keeper *queue_keeper_new(const struct queue_root *root)
{
	struct queue_keeper *k = mem_alloc(sizeof(*k));

	k->root = *root;
	for (int i = 0; i < QUEUE_PIECE_SLOTS; i++)
		k->slots[i] = -1;
	return k;
}

void queue_keeper_free(struct queue_keeper **kp)
{
	struct queue_keeper *k = *kp;

	if (k == NULL)
		return;
	for (int i = 0; i < QUEUE_PIECE_SLOTS; i++)
		queue_close(k->root.io, &k->slots[i]);
	for (int i = 0; i < SEGMENTS; i++) {
		if (k->held[i].is_used)
			queue_segment_close(&k->held[i].seg);
	}
	mem_free(k);
	*kp = NULL;
}

/* ---- The log ---- */

static int sync_slot(struct queue_keeper *k, uint8_t slot)
{
	char path[32];
	int err;

	if (slot >= QUEUE_PIECE_SLOTS)
		return ERR_CORRUPT;
	if (k->slots[slot] == -1) {
		queue_piece_path(slot, path);
		k->slots[slot] = keeper_io(k)->openat(keeper_io(k), k->root.fd, path, O_RDWR, 0);
		if (k->slots[slot] == -1)
			return ERR_SYS;
	}
	if (keeper_io(k)->fdatasync(keeper_io(k), k->slots[slot]) == 0)
		return 0;
	err = queue_errno();
	queue_close(keeper_io(k), &k->slots[slot]);
	return err;
}

static int do_sync(struct queue_keeper *k, struct reader *r, struct buf *reply)
{
	uint32_t n = reader_u32(r);
	int err = 0;

	/* In this order, and no further than the first that fails (Q4). */
	for (uint32_t i = 0; i < n && err == 0 && r->err == 0; i++)
		err = sync_slot(k, reader_u8(r));
	return err;
}

static int do_piece(struct queue_keeper *k, struct reader *r, struct buf *reply)
{
	uint8_t slot = reader_u8(r);
	uint64_t size = reader_u64(r);

	if (r->err != 0 || slot >= QUEUE_PIECE_SLOTS || size > UINT64_C(1) << 30)
		return ERR_CORRUPT;
	queue_close(keeper_io(k), &k->slots[slot]);
	return queue_piece_make(&k->root, slot, size);
}

static void free_events(void *value)
{
	struct buf *b = value;

	buf_clear(b);
	mem_free(b);
}

/* The events of a piece by message, plain. */
static void gather(struct dict *by_id, const struct queue_log_piece *p, uint64_t end)
{
	uint64_t offset = QUEUE_BLOCK;
	struct queue_event ev;

	while (queue_piece_next(slice_of(p->bytes, (size_t)p->size), p->generation, end, &offset,
		       &ev) == 0) {
		struct buf *b;

		if (ev.id.len == 0 || ev.no == 0)
			continue;
		b = dict_get(by_id, ev.id);
		if (b == NULL) {
			b = mem_alloc(sizeof(*b));
			*b = BUF_INIT(QUEUE_EVENTS_PLAIN_MAX);
			if (dict_set(by_id, ev.id, b) != 0)
				free_events(b);
		}
		queue_event_encode(b, 0, &ev);
	}
}

/* Only what the file does not have yet, in order of numbers. */
static void filter(struct slice plain, uint32_t last_no, struct buf *out)
{
	struct queue_event ev;
	size_t used;

	while (queue_event_decode(plain, 0, &ev, &used) == 0) {
		if (ev.no > last_no) {
			last_no = ev.no;
			queue_event_encode(out, 0, &ev);
		}
		plain = slice_from(plain, used);
	}
}

/* What the log forgets, the message's file keeps; durable before the piece is used again. */
static int keep_events(struct queue_keeper *k, struct slice id, struct slice plain)
{
	struct buf missing = BUF_INIT(QUEUE_EVENTS_PLAIN_MAX);
	struct queue_event ev;
	struct queue_file f;
	enum queue_place place;
	uint32_t last_no = 0;
	int fd = -1, err = queue_file_find(&k->root, id, &place);

	if (err != 0)
		return err == ERR_NOT_FOUND ? 0 : err;
	err = queue_file_read(&k->root, place, id, false, &f);
	if (err != 0) /* damage is dealt with when the message is loaded */
		return err == ERR_SYS ? err : 0;
	while (queue_file_event_next(&f, &last_no, &ev))
		;
	queue_file_clear(&f);
	filter(plain, last_no, &missing);
	/* Also when nothing is missing: an unsynced append may have brought it. */
	err = queue_file_append(&k->root, place, id, buf_slice(&missing), 0, &fd);
	if (err == 0 && keeper_io(k)->fdatasync(keeper_io(k), fd) == -1)
		err = queue_errno();
	queue_close(keeper_io(k), &fd);
	buf_clear(&missing);
	return err;
}

struct drop {
	struct queue_keeper *k;
	int err;
};

static bool drop_one(struct slice id, void *value, void *arg)
{
	struct drop *d = arg;

	d->err = keep_events(d->k, id, buf_slice(value));
	return d->err == 0;
}

static int do_drop(struct queue_keeper *k, struct reader *r, struct buf *reply)
{
	uint8_t slot = reader_u8(r);
	uint64_t end = reader_u64(r);
	struct drop d = {.k = k};
	struct queue_log_piece piece;
	struct dict *by_id;

	if (r->err != 0 || slot >= QUEUE_PIECE_SLOTS)
		return ERR_CORRUPT;
	d.err = queue_piece_read(&k->root, slot, &piece);
	if (d.err != 0)
		return d.err;
	by_id = dict_new(SIZE_MAX, free_events);
	gather(by_id, &piece, end);
	dict_walk(by_id, drop_one, &d);
	dict_free(&by_id);
	mem_free(piece.bytes);
	return d.err;
}

/* ---- Segments ---- */

static struct held *find_held(struct queue_keeper *k, uint32_t number)
{
	for (int i = 0; i < SEGMENTS; i++) {
		if (k->held[i].is_used && k->held[i].seg.number == number)
			return &k->held[i];
	}
	return NULL;
}

static void drop_held(struct held *h)
{
	queue_segment_close(&h->seg);
	*h = (struct held){0};
}

/* Opens it, or looks at it afresh. ERR_CORRUPT: its head is bad. */
static int get_segment(struct queue_keeper *k, uint32_t number, struct held **out)
{
	struct held *h = find_held(k, number);
	int err;

	*out = NULL;
	if (h != NULL) {
		*out = h;
		return h->is_locked ? 0 : queue_segment_reload(&h->seg);
	}
	for (int i = 0; i < SEGMENTS && h == NULL; i++) {
		if (!k->held[i].is_used)
			h = &k->held[i];
	}
	if (h == NULL)
		return ERR_LIMIT;
	err = queue_segment_open(&k->root, number, &h->seg);
	if (err != 0 && err != ERR_CORRUPT) {
		*h = (struct held){0};
		return err;
	}
	h->is_used = true;
	*out = h;
	return err;
}

static int lock_segment(struct queue_keeper *k, struct held *h)
{
	if (h->is_locked)
		return 0;
	if (keeper_io(k)->lock(keeper_io(k), h->seg.fd, false) == -1)
		return errno == EWOULDBLOCK ? ERR_AGAIN : ERR_SYS;
	h->is_locked = true;
	return queue_segment_reload(&h->seg);
}

/*
 * Q2: what the lost worker wrote behind its last told sync is written again, with our own hands,
 * and synced: a sync of pages that it had marked clean by a failed one would say yes to nothing.
 */
static int write_again(
	struct queue_keeper *k, struct held *h, uint64_t from, uint64_t cut, uint64_t *end)
{
	struct queue_segment *s = &h->seg;
	uint64_t at = from, gap;
	struct queue_record rec;
	int err;

	*end = from;
	while ((err = queue_record_next(s, &at, cut, false, &rec, &gap)) == 0) {
		struct slice bytes;
		struct iovec iov;

		err = queue_record_payload(s, &rec, rec.ref.length, false, &bytes);
		if (err == ERR_CORRUPT)
			continue; /* torn: never acknowledged */
		if (err == 0)
			err = queue_segment_get(s, rec.ref.offset,
				(size_t)(rec.end - rec.ref.offset), false, &bytes);
		if (err != 0)
			return err;
		iov = (struct iovec){(void *)(uintptr_t)bytes.p, bytes.len};
		err = queue_write_full(keeper_io(k), s->fd, &iov, 1, rec.ref.offset);
		if (err != 0)
			return err;
		*end = rec.end;
	}
	return err == ERR_NOT_FOUND ? 0 : err;
}

/* The highest offset that a record says was durable when it was written; the end of the last one.
 */
static int claimed(struct held *h, uint64_t cut, uint64_t *durable, uint64_t *end)
{
	uint64_t at = queue_segment_begin(&h->seg), gap;
	struct queue_record rec;
	int err;

	*durable = *end = at;
	while ((err = queue_record_next(&h->seg, &at, cut, false, &rec, &gap)) == 0) {
		*end = rec.end;
		if (rec.durable > *durable && rec.durable <= rec.ref.offset)
			*durable = rec.durable;
	}
	return err == ERR_NOT_FOUND ? 0 : err;
}

static int do_takeover(struct queue_keeper *k, struct reader *r, struct buf *reply)
{
	uint32_t number = reader_u32(r);
	uint64_t from = reader_u64(r), cut = reader_u64(r), end = 0;
	struct held *h = NULL;
	int err;

	if (r->err != 0)
		return ERR_CORRUPT;
	err = get_segment(k, number, &h);
	if (h == NULL)
		return err;
	/* Q8: not without its lock in hand. */
	err = lock_segment(k, h);
	if (err == 0 && h->seg.state == QUEUE_SEGMENT_USED) {
		if (cut == 0 || cut > queue_segment_end(&h->seg))
			cut = queue_segment_end(&h->seg);
		/* The head too: "ended" is about to be said of its generation (Q15). */
		err = queue_segment_write_head(&h->seg);
		if (err == 0 && from < queue_segment_begin(&h->seg))
			err = claimed(h, cut, &from, &cut);
		if (err == 0)
			err = write_again(k, h, from, cut, &end);
		if (err == 0 && keeper_io(k)->fdatasync(keeper_io(k), h->seg.fd) == -1)
			err = queue_errno();
	} else if (err == 0) {
		err = ERR_STATE; /* free */
	}
	wire_counted(reply, slice_of(h->seg.generation, QUEUE_GENERATION));
	wire_u64(reply, from);
	wire_u64(reply, end);
	if (err == ERR_STATE || err == ERR_AGAIN)
		drop_held(h);
	return err;
}

static int do_free(struct queue_keeper *k, struct reader *r, struct buf *reply)
{
	uint32_t number = reader_u32(r);
	struct slice generation = reader_counted(r, QUEUE_GENERATION);
	struct held *h = NULL;
	int err;

	if (r->err != 0)
		return ERR_CORRUPT;
	err = get_segment(k, number, &h);
	if (h == NULL)
		return err;
	err = lock_segment(k, h);
	if (err == 0 && h->seg.state == QUEUE_SEGMENT_USED &&
		slice_eq(generation, slice_of(h->seg.generation, QUEUE_GENERATION))) {
		h->seg.state = QUEUE_SEGMENT_FREE;
		err = queue_segment_write_head(&h->seg);
	}
	drop_held(h);
	return err;
}

struct scan {
	struct queue_keeper *k;
	struct buf list, locked;
	uint32_t n, locked_n;
	int err;
};

static bool scan_one(const char *name, void *arg)
{
	struct scan *sc = arg;
	uint32_t number = queue_segment_number(name);
	struct queue_segment s;
	int err;

	if (number == 0 || find_held(sc->k, number) != NULL)
		return true;
	err = queue_segment_open(&sc->k->root, number, &s);
	if (err == ERR_SYS)
		sc->err = err;
	if (err == 0 && s.state == QUEUE_SEGMENT_USED) {
		bool is_free = keeper_io(sc->k)->lock(keeper_io(sc->k), s.fd, false) == 0;

		wire_u32(is_free ? &sc->list : &sc->locked, number);
		*(is_free ? &sc->n : &sc->locked_n) += 1;
	}
	queue_segment_close(&s);
	return true;
}

/*
 * Segments in use that nobody holds: left, or of a worker that died before it said a word; and
 * those that somebody holds, who may be dying.
 */
static int do_scan(struct queue_keeper *k, struct reader *r, struct buf *reply)
{
	struct scan sc = {.k = k, .list = BUF_INIT(1u << 20), .locked = BUF_INIT(1u << 20)};

	if (keeper_io(k)->list(keeper_io(k), k->root.fd, "incoming", scan_one, &sc) == -1)
		sc.err = ERR_SYS;
	wire_u32(reply, sc.n);
	buf_add_slice(reply, buf_slice(&sc.list));
	wire_u32(reply, sc.locked_n);
	buf_add_slice(reply, buf_slice(&sc.locked));
	buf_clear(&sc.list);
	buf_clear(&sc.locked);
	return sc.err;
}

static int do_warm(struct queue_keeper *k, struct reader *r, struct buf *reply)
{
	uint32_t number = reader_u32(r);
	uint64_t offset = reader_u64(r);
	uint32_t len = reader_u32(r);
	struct held *h = NULL;
	struct slice bytes;
	int err;

	if (r->err != 0)
		return ERR_CORRUPT;
	err = get_segment(k, number, &h);
	if (h == NULL)
		return err;
	queue_segment_forget(&h->seg);
	err = queue_segment_get(&h->seg, offset, len, false, &bytes);
	if (!h->is_locked)
		drop_held(h);
	return err;
}

/*
 * The name says which bytes these are, the generation by a hash, so that what a start finds again
 * is known (ERR_EXISTS). It gets its name when it is whole.
 */
static int write_aside(struct queue_keeper *k, const struct queue_segment *seg, uint64_t offset,
	struct slice bytes)
{
	const struct queue_io *io = keeper_io(k);
	struct iovec iov = {(void *)(uintptr_t)bytes.p, bytes.len};
	char path[QUEUE_PATH_MAX], part[QUEUE_PATH_MAX + 8];
	struct queue_stat st;
	int fd, err;

	snprintf(path, sizeof(path), "corrupt/%08X-%08X-%llX.journal", seg->number,
		(unsigned)crc32c(0, seg->generation, QUEUE_GENERATION), (unsigned long long)offset);
	if (io->statat(io, k->root.fd, path, &st) == 0)
		return ERR_EXISTS;
	snprintf(part, sizeof(part), "%s.new", path);
	fd = io->openat(io, k->root.fd, part, O_RDWR | O_CREAT | O_TRUNC, 0660);
	err = fd == -1 ? queue_errno() : queue_write_full(io, fd, &iov, 1, 0);
	if (err == 0 && io->fsync(io, fd) == -1)
		err = queue_errno();
	queue_close(io, &fd);
	if (err == 0 && io->renameat(io, k->root.fd, part, k->root.fd, path) == -1)
		err = queue_errno();
	return err != 0 ? err : queue_sync_dir(&k->root, "corrupt");
}

static int do_aside(struct queue_keeper *k, struct reader *r, struct buf *reply)
{
	uint32_t number = reader_u32(r);
	uint64_t offset = reader_u64(r), len = reader_u64(r);
	struct held *h = NULL;
	struct slice bytes;
	int err;

	if (r->err != 0)
		return ERR_CORRUPT;
	err = get_segment(k, number, &h);
	if (h == NULL)
		return err;
	err = queue_segment_get(
		&h->seg, offset, (size_t)(len < ASIDE_MAX ? len : ASIDE_MAX), false, &bytes);
	if (err == 0)
		err = write_aside(k, &h->seg, offset, bytes);
	if (!h->is_locked)
		drop_held(h);
	return err;
}

int keeper_record(
	struct queue_keeper *k, struct slice id, const struct queue_ref *ref, struct slice *payload)
{
	struct held *h = NULL;
	struct queue_record rec;
	int err = get_segment(k, ref->segment, &h);

	if (h == NULL || err != 0)
		return err;
	if (!h->is_locked)
		queue_segment_forget(&h->seg);
	err = queue_record_read(&h->seg, ref->offset, queue_segment_end(&h->seg), false, &rec);
	if (err == 0 && !slice_eq(slice_str(rec.id), id))
		err = ERR_CORRUPT;
	return err != 0 ? err : queue_record_payload(&h->seg, &rec, rec.ref.length, false, payload);
}

void keeper_drop_unlocked(struct queue_keeper *k)
{
	for (int i = 0; i < SEGMENTS; i++) {
		if (k->held[i].is_used && !k->held[i].is_locked)
			drop_held(&k->held[i]);
	}
}

static int do_keep(struct queue_keeper *k, struct reader *r, struct buf *reply)
{
	struct slice bytes = reader_counted(r, QUEUE_KEPT_MAX);

	return r->err != 0 ? ERR_CORRUPT : queue_kept_write(&k->root, bytes);
}

static int (*const handlers[QUEUE_ORDERS])(
	struct queue_keeper *k, struct reader *r, struct buf *reply) = {
	[QUEUE_ORDER_SYNC] = do_sync,
	[QUEUE_ORDER_PIECE] = do_piece,
	[QUEUE_ORDER_DROP] = do_drop,
	[QUEUE_ORDER_MOVE] = keeper_move,
	[QUEUE_ORDER_RENAME] = keeper_rename,
	[QUEUE_ORDER_UNLINK] = keeper_unlink,
	[QUEUE_ORDER_APPEND] = keeper_append,
	[QUEUE_ORDER_READ] = keeper_read,
	[QUEUE_ORDER_TAKEOVER] = do_takeover,
	[QUEUE_ORDER_FREE] = do_free,
	[QUEUE_ORDER_WALK] = keeper_walk,
	[QUEUE_ORDER_SCAN] = do_scan,
	[QUEUE_ORDER_WARM] = do_warm,
	[QUEUE_ORDER_ASIDE] = do_aside,
	[QUEUE_ORDER_SWEEP] = keeper_sweep,
	[QUEUE_ORDER_KEEP] = do_keep,
};

int queue_keeper_run(struct queue_keeper *k, struct slice order, struct buf *reply)
{
	struct reader r = reader_of(order);
	uint8_t type = reader_u8(&r);
	size_t at = reply->len;
	int status;

	if (r.err != 0 || type >= QUEUE_ORDERS || handlers[type] == NULL)
		return ERR_CORRUPT;
	wire_u8(reply, type);
	wire_u32(reply, 0);
	status = handlers[type](k, &r, reply);
	if (buf_failed(reply))
		return ERR_LIMIT;
	wire_put_u32(reply->data + reply->start + at + 1, (uint32_t)status);
	return r.err != 0 ? ERR_CORRUPT : 0;
}
