/* SPDX-License-Identifier: ISC */
#include "queue/store_private.h"
#include "util/err.h"
#include "util/mem.h"

static int reply_sync(struct queue_store *s, int status)
{
	int err;

	s->sync_ordered = false;
	/* A write has failed meanwhile, and all is in another piece: that is to be synced. */
	if (!s->log.is_syncing) {
		s->sync_wanted = true;
		return 0;
	}
	if (status == 0) {
		s->sync_failures = 0;
		s->has_no_room = false;
		if (s->is_full && queue_log_load(&s->log) < 25 && queue_log_spares(&s->log) > 1)
			s->is_full = false;
		err = queue_log_sync_end(&s->log, true);
		if (err == 0)
			store_durable(s);
		return err;
	}
	store_problem(s, true, "log of the queue: sync failed; written again in a new piece");
	if (++s->sync_failures >= QUEUE_SYNC_FAILURES)
		return ERR_SYS;
	err = queue_log_sync_end(&s->log, false);
	if (err == 0)
		err = store_order_sync(s);
	if (err != ERR_FULL)
		return err;
	/* No piece to write it to: store.c tries again with each tick. */
	s->is_full = s->has_no_room = true;
	return 0;
}

static void reply_piece(struct queue_store *s, const struct sorder *o, int status)
{
	s->piece_ordered = false;
	if (status == 0) {
		s->log.slots[o->slot].state = QUEUE_SLOT_SPARE;
		s->log.slots[o->slot].size = s->log.piece_size;
		return;
	}
	s->piece_retry = s->now + QUEUE_RETRY;
	/* Before the last one is needed: it is for what is under way. */
	if (queue_log_spares(&s->log) <= 1)
		s->is_full = true;
}

static void reply_drop(struct queue_store *s, const struct sorder *o, int status)
{
	s->drop_ordered = false;
	s->drop_slot = -1;
	if (status == 0)
		queue_log_drop(&s->log, o->slot);
	else
		store_problem(s, true, "log of the queue: a piece cannot be dropped: %s",
			err_str(status));
}

/* ---- Moves ---- */

/* The record cannot be read any more: its raw bytes are all there is. */
static void lost_record(struct queue_store *s, struct queue_message *m)
{
	struct sorder *o = store_order_new(s, QUEUE_ORDER_ASIDE);
	struct queue_event ev = {.type = QUEUE_EV_DELETED, .text = SLICE_LIT("damaged record")};
	uint64_t ticket;

	store_problem(s, true, "%s: damaged in the journal; set aside in corrupt", m->id);
	wire_u32(&o->bytes, m->p->ref.segment);
	wire_u64(&o->bytes, m->p->ref.offset);
	wire_u64(&o->bytes, m->p->ref.length + QUEUE_BLOCK);
	store_order_put(s, o, false);
	if (store_note_message(m, &ev, NULL, 0, &ticket) != 0)
		return;
	m->p->maybe_file = true;
	store_wait(s, ticket, WAIT_END, m, NULL, 0);
}

static void is_in_file(struct queue_store *s, struct queue_message *m)
{
	struct queue_event ev = {.type = QUEUE_EV_MOVED, .place = m->p->target};
	bool was_journal = m->place == QUEUE_PLACE_JOURNAL;
	uint64_t ticket;

	m->place = m->p->target;
	store_history_kept(m);
	if (!was_journal)
		return;
	if (m->p->is_aged)
		TAILQ_REMOVE(&s->aged, m->p, aged);
	m->p->is_aged = false;
	if (store_note_message(m, &ev, NULL, 0, &ticket) != 0) {
		/* Full log: the record stays the home; the move is made once more. */
		m->place = QUEUE_PLACE_JOURNAL;
		m->p->maybe_file = true;
		m->p->file_at = s->now + QUEUE_RETRY;
		TAILQ_INSERT_TAIL(&s->aged, m->p, aged);
		m->p->is_aged = true;
		return;
	}
	if (m->p->seg != NULL)
		store_wait(s, ticket, WAIT_MOVED, m, m->p->seg, m->p->rec);
	m->p->seg = NULL;
}

void store_unload_backlog(struct queue_store *s, struct queue_message *m)
{
	if (!m->p->is_backlog || m->place != QUEUE_PLACE_DEFERRED || m->state != QUEUE_M_LIVE)
		return;
	TAILQ_REMOVE(&s->backlog, m->p, backlog);
	m->p->is_backlog = false;
	s->calls->waiting(s->arg, m->id, QUEUE_PLACE_DEFERRED, s->now);
	m->p->is_wanted = false;
	if (queue_store_unload(m, s->now) != 0)
		store_give(s, m);
}

static void moved(struct queue_store *s, struct queue_message *m, int status)
{
	bool was_file = m->place != QUEUE_PLACE_JOURNAL;

	m->p->busy--;
	m->p->is_moving = false;
	if (status == 0) {
		is_in_file(s, m);
		if (was_file && m->p->is_given)
			s->calls->moved(s->arg, m);
	} else if (status == ERR_CORRUPT && m->place == QUEUE_PLACE_JOURNAL) {
		lost_record(s, m);
	} else {
		m->p->maybe_file = true;
		m->p->file_at = s->now + QUEUE_RETRY;
		store_problem(s, true, "%s: cannot be moved to %s: %s", m->id,
			queue_place_name((enum queue_place)m->p->target), err_str(status));
	}
	if (status == 0)
		store_settle(m);
	store_try_remove(m);
}

static void unlinked(struct queue_store *s, struct queue_message *m, int status)
{
	m->p->busy--;
	m->p->is_removed = status == 0;
	if (status != 0)
		store_problem(s, true, "%s: cannot be removed: %s", m->id, err_str(status));
	store_try_remove(m);
}

static void reply_list(struct queue_store *s, const struct sorder *o, struct reader *r, int status)
{
	uint32_t n = reader_u32(r);

	for (uint32_t i = 0; i < o->n; i++) {
		int one = status != 0 ? status : ERR_SYS;

		if (i < n)
			one = (int)reader_u32(r);
		if (o->type == QUEUE_ORDER_UNLINK)
			unlinked(s, o->m[i], one);
		else
			moved(s, o->m[i], one);
	}
}

/* ---- Loading ---- */

static void to_corrupt(struct queue_store *s, const char *id, enum queue_place place)
{
	struct sorder *o;

	store_problem(s, true, "%s: damaged in %s; moved to corrupt", id, queue_place_name(place));
	if (place == QUEUE_PLACE_CORRUPT)
		return;
	o = store_order_new(s, QUEUE_ORDER_RENAME);
	wire_u32(&o->bytes, 1);
	wire_counted(&o->bytes, slice_str(id));
	wire_u8(&o->bytes, (uint8_t)place);
	wire_u8(&o->bytes, QUEUE_PLACE_CORRUPT);
	wire_u8(&o->bytes, 1);
	wire_u64(&o->bytes, 0);
	wire_counted(&o->bytes, SLICE_NONE);
	o->is_written = true;
	store_order_put(s, o, false);
}

static struct queue_message *build_loaded(struct queue_store *s, const char *id,
	enum queue_place place, struct slice envelope, struct slice events, int *err)
{
	struct queue_message *m = store_message_new(s, slice_str(id), envelope, place, err);
	struct queue_event ev;
	uint32_t last_no = 0;
	size_t used;

	if (m == NULL)
		return NULL;
	m->is_recovered = true;
	for (; queue_event_decode(events, 0, &ev, &used) == 0; events = slice_from(events, used)) {
		store_apply(m, &ev);
		last_no = ev.no;
	}
	store_use_past(m, last_no);
	*err = store_note_doubt(m, false);
	if (*err != 0) {
		store_message_free(m);
		return NULL;
	}
	dict_remove(s->past, slice_str(id));
	/* In hold/ without a word in the log: somebody moved it there by hand. */
	if (place == QUEUE_PLACE_HOLD && m->state == QUEUE_M_LIVE && m->p->no == 0)
		m->state = QUEUE_M_HELD;
	if (place == QUEUE_PLACE_CORRUPT && m->state == QUEUE_M_LIVE)
		m->state = QUEUE_M_HELD;
	m->p->is_corrupt = m->p->is_corrupt || place == QUEUE_PLACE_CORRUPT;
	return m;
}

static void reply_read(struct queue_store *s, const struct sorder *o, struct reader *r, int status)
{
	enum queue_place place = reader_u8(r);
	struct slice envelope = reader_counted(r, QUEUE_REPLY_MAX);
	struct slice content = reader_counted(r, QUEUE_REPLY_MAX);
	struct slice events = reader_counted(r, QUEUE_REPLY_MAX);
	struct queue_message *m = store_find(s, slice_str(o->id));

	if (o->for_content) {
		m = o->m[0];
		m->p->busy--;
		s->calls->content(s->arg, m, status, content);
		store_try_remove(m);
		return;
	}
	if (m != NULL && m->p->is_unloading && o->n == 0) {
		/* Read for somebody else as well, who has let it go: told of when that is done. */
		m->p->is_wanted = true;
		return;
	}
	if (m == NULL && status == 0)
		m = build_loaded(s, o->id, place, envelope, events, &status);
	if (m != NULL && m->state == QUEUE_M_ENDED && !m->p->is_given) {
		if (!m->p->is_ending) {
			/* Its end survived, its file too: unlinked now. */
			m->p->is_ending = true;
			store_wait(s, s->log.noted, WAIT_END, m, NULL, 0);
			s->sync_wanted = true;
		}
		status = ERR_NOT_FOUND;
	} else if (m != NULL) {
		status = 0;
	}
	if (status == ERR_CORRUPT || status == ERR_RANGE || status == ERR_SHORT) {
		to_corrupt(s, o->id, place);
		status = ERR_CORRUPT;
	}
	if (o->n > 0) { /* a child looks for its parent */
		o->m[0]->p->busy--;
		o->m[0]->p->is_damaged = m == NULL && status != ERR_SYS;
		store_check_orphans(s);
		/* One that is on its way out is read once more: see store_check_orphans. */
		if (m != NULL && !m->p->is_given && !m->p->is_unloading)
			store_give(s, m);
		return;
	}
	if (status == 0) {
		if (m->p->is_backlog)
			TAILQ_REMOVE(&s->backlog, m->p, backlog);
		m->p->is_backlog = false;
		m->p->is_given = true;
		store_settle(m);
	}
	s->calls->loaded(s->arg, o->id, status, status == 0 ? m : NULL);
}

static void reply_append(struct queue_store *s, const struct sorder *o, int status)
{
	struct queue_message *m = o->m[0];

	m->p->busy--;
	m->p->is_unloading = false;
	if (status == 0) {
		store_history_kept(m);
		m->p->due = 0;
	}
	if (m->p->is_wanted) {
		m->p->is_given = true;
		s->calls->loaded(s->arg, m->id, 0, m);
		return;
	}
	if (status == ERR_FULL || status == ERR_SYS) {
		/* Kept in memory, so that nothing is lost. */
		m->p->unload_at = s->now + QUEUE_RETRY;
		store_problem(s, true, "%s: cannot be written to: %s", m->id, err_str(status));
		m->p->is_given = true;
		s->calls->loaded(s->arg, m->id, 0, m);
		return;
	}
	if (status != 0)
		to_corrupt(s, m->id, (enum queue_place)m->place);
	if (m->p->busy == 0)
		store_message_free(m);
	else
		m->p->is_unloading = true;
}

/* ---- Segments ---- */

static void reply_takeover(
	struct queue_store *s, const struct sorder *o, struct reader *r, int status)
{
	struct sseg *seg = o->seg;
	struct slice generation = reader_counted(r, QUEUE_GENERATION);
	uint64_t known = reader_u64(r), end = reader_u64(r);

	seg->is_busy = false;
	if (status == ERR_STATE || status == ERR_NOT_FOUND) {
		store_close_segment(seg); /* free, or gone */
		return;
	}
	if (status == 0 && seg->seg.fd == -1 && store_open_segment(s, seg) != 0)
		status = ERR_SYS;
	if (status == 0 && !slice_eq(generation, slice_of(seg->seg.generation, QUEUE_GENERATION)))
		status = ERR_AGAIN; /* another worker was faster; it will speak */
	if (status != 0) {
		seg->retry = s->now + QUEUE_RETRY / 10;
		if (status != ERR_AGAIN)
			store_problem(s, true, "journal segment %08X: cannot be taken over: %s",
				seg->seg.number, err_str(status));
		return;
	}
	queue_segment_forget(&seg->seg);
	seg->state = SEG_TAKEN;
	if (known > seg->known)
		seg->known = known;
	if (end > seg->durable)
		seg->durable = end;
	store_check_segment(s, seg);
}

static void reply_free(struct queue_store *s, const struct sorder *o, int status)
{
	if (o->seg == NULL)
		return;
	if (status == ERR_AGAIN) {
		/* Its worker has not let go yet. */
		o->seg->is_held = true;
		o->seg->retry = s->now + QUEUE_RETRY / 10;
		return;
	}
	store_close_segment(o->seg);
}

/* Nobody holds it: it is to be taken over. ERR_SYS: it cannot be looked at. */
static int found_free(struct queue_store *s, struct sseg *seg)
{
	int err;

	if (seg->state != SEG_CLOSED && !seg->is_silent)
		return 0;
	if (seg->is_silent) {
		seg->is_silent = false;
		seg->doubt_to = UINT64_MAX;
	} else {
		err = seg->is_ending ? ERR_STATE : store_open_segment(s, seg);
		if (err != 0)
			return err;
	}
	seg->state = SEG_LOST;
	seg->retry = 0;
	return 0;
}

static void reply_scan(struct queue_store *s, struct reader *r, int status)
{
	uint32_t n = reader_u32(r);
	struct slost *l;
	bool is_unsure;

	s->is_scanning = false;
	for (uint32_t i = 0; i < n && r->err == 0; i++) {
		int err = found_free(s, store_segment(s, reader_u32(r)));

		if (err == ERR_SYS)
			status = err;
	}
	/* What could not be looked at may be what is looked for. */
	is_unsure = status != 0;
	if (is_unsure && !s->scan_failed)
		store_problem(s, true, "journal segments cannot be looked at: %s", err_str(status));
	s->scan_failed = is_unsure;
	s->scans_again |= is_unsure;
	/*
	 * Held by somebody, and nobody has told of it: its worker is about to, or is dying, and its
	 * connection ended before its locks did. Looked at again until it is one or the other.
	 */
	n = reader_u32(r);
	for (uint32_t i = 0; i < n && r->err == 0; i++) {
		const struct sseg *seg = store_segment(s, reader_u32(r));

		is_unsure |= seg->state == SEG_CLOSED && !seg->is_ending;
	}
	/* One that was lost while this look went on may have held its segments still. */
	s->scans_sent--;
	TAILQ_FOREACH(l, &s->lost, entry)
	{
		if (l->scans == 0 || --l->scans > 0)
			continue;
		l->is_scanned = !is_unsure;
		s->scans_again |= is_unsure;
	}
	if (s->scans_again)
		s->scan_retry = s->now + (s->scan_failed ? QUEUE_RETRY : QUEUE_RETRY / 10);
}

static void tell_odd(struct queue_store *s, const struct sdir *d, const char *name, uint8_t kind)
{
	const char *top = queue_place_name((enum queue_place)d->place);
	const char *slash = d->dir[0] != '\0' ? "/" : "";

	if (kind == QUEUE_WALK_MOVED)
		store_problem(s, false, "%s: found in %s%s%s; moved to its place", name, top, slash,
			d->dir);
	else if (kind == QUEUE_WALK_FOREIGN)
		store_problem(s, false, "%s%s%s/%s: no queue file; moved to corrupt", top, slash,
			d->dir, name);
	else if (kind == QUEUE_WALK_STUCK)
		store_problem(s, false, "%s%s%s/%s: does not belong there; left alone", top, slash,
			d->dir, name);
}

static void reply_walk(struct queue_store *s, struct reader *r)
{
	struct sdir *d = TAILQ_FIRST(&s->walk), *sub;
	uint32_t n = reader_u32(r);

	TAILQ_REMOVE(&s->walk, d, entry);
	for (uint32_t i = 0; i < n && r->err == 0; i++) {
		struct slice name = reader_counted(r, QUEUE_ID_MAX);
		int64_t mtime = (int64_t)reader_u64(r);
		uint8_t kind = reader_u8(r);
		bool is_dir = kind == QUEUE_WALK_DIR;
		char id[QUEUE_ID_MAX + 1] = {0};

		if (r->err != 0)
			break;
		memcpy(id, name.p, name.len);
		tell_odd(s, d, id, kind);
		if (kind == QUEUE_WALK_FOREIGN || kind == QUEUE_WALK_STUCK)
			continue;
		if (is_dir && d->dir[0] == '\0' && name.len == 2) {
			sub = mem_alloc(sizeof(*sub));
			sub->place = d->place;
			memcpy(sub->dir, id, 3);
			TAILQ_INSERT_TAIL(&s->walk, sub, entry);
		} else if (!is_dir && store_find(s, name) == NULL) {
			s->calls->waiting(s->arg, id, (enum queue_place)d->place, mtime);
		}
	}
	mem_free(d);
	store_walk_step(s);
}

/* A body that no message names, when everything that could has been read. */
static void reply_sweep(struct queue_store *s, struct reader *r)
{
	uint32_t n = reader_u32(r);

	for (uint32_t i = 0;
		i < n && r->err == 0 && !s->scan_failed && !store_has_pending_segments(s); i++) {
		struct slice id = reader_counted(r, QUEUE_ID_MAX);
		struct sorder *o;

		if (!queue_id_is_valid(id) || queue_store_knows(s, id) ||
			dict_get(s->past, id) != NULL)
			continue;
		store_problem(s, false, "%.*s: body without a message: removed", SLICE_FMT(id));
		o = store_order_new(s, QUEUE_ORDER_UNLINK);
		wire_u32(&o->bytes, 1);
		wire_counted(&o->bytes, id);
		wire_u8(&o->bytes, 1);
		o->is_written = true;
		store_order_put(s, o, false);
	}
}

static void reply_warm(struct queue_store *s, const struct sorder *o, int status)
{
	struct buf out = BUF_INIT(QUEUE_REPLY_MAX);
	struct queue_message *m;
	int err;

	if (!o->for_content) {
		s->is_warming = false;
		return;
	}
	m = o->m[0];
	m->p->busy--;
	err = status != 0 && m->place == QUEUE_PLACE_JOURNAL ? status
							     : queue_store_content(m, &out);
	/* Later once more: another order is under way and will come here. */
	if (err != ERR_LATER)
		s->calls->content(s->arg, m, err, buf_slice(&out));
	buf_clear(&out);
	store_try_remove(m);
}

/* Told of when it is set aside; a start that finds it again has nothing to say. */
static void reply_aside(struct queue_store *s, const struct sorder *o, int status)
{
	if (o->what == NULL || status == ERR_EXISTS)
		return;
	store_problem(s, true, "journal segment %08X: %s at %llu, %llu bytes; %s%s",
		o->seg->seg.number, o->what, (unsigned long long)o->from,
		(unsigned long long)(o->to - o->from),
		status == 0 ? "set aside in corrupt" : "cannot be set aside: ",
		status == 0 ? "" : err_str(status));
}

static void reply_keep(struct queue_store *s, int status)
{
	s->is_keeping = false;
	if (status != 0)
		store_problem(s, false, "log/kept cannot be written: %s", err_str(status));
}

static int dispatch(struct queue_store *s, struct sorder *o, struct reader *r, int status)
{
	switch (o->type) {
	case QUEUE_ORDER_SYNC: return reply_sync(s, status);
	case QUEUE_ORDER_PIECE: reply_piece(s, o, status); break;
	case QUEUE_ORDER_DROP: reply_drop(s, o, status); break;
	case QUEUE_ORDER_MOVE:
	case QUEUE_ORDER_RENAME:
	case QUEUE_ORDER_UNLINK: reply_list(s, o, r, status); break;
	case QUEUE_ORDER_APPEND: reply_append(s, o, status); break;
	case QUEUE_ORDER_READ: reply_read(s, o, r, status); break;
	case QUEUE_ORDER_TAKEOVER: reply_takeover(s, o, r, status); break;
	case QUEUE_ORDER_FREE: reply_free(s, o, status); break;
	case QUEUE_ORDER_SCAN: reply_scan(s, r, status); break;
	case QUEUE_ORDER_WALK: reply_walk(s, r); break;
	case QUEUE_ORDER_SWEEP: reply_sweep(s, r); break;
	case QUEUE_ORDER_WARM: reply_warm(s, o, status); break;
	case QUEUE_ORDER_ASIDE: reply_aside(s, o, status); break;
	case QUEUE_ORDER_KEEP: reply_keep(s, status); break;
	default: break;
	}
	return 0;
}

/* Q11: when all is durable and nothing under way, the mark; then it stays the last. */
static int go_on_stopping(struct queue_store *s)
{
	struct queue_event ev = {.type = QUEUE_EV_STOP};
	int err;

	if (!s->is_stopping || s->sync_ordered || !TAILQ_EMPTY(&s->urgent) ||
		!TAILQ_EMPTY(&s->ready) || !TAILQ_EMPTY(&s->sent))
		return 0;
	if (s->stop_noted && !queue_log_is_dirty(&s->log)) {
		s->is_stopped = true;
		return 0;
	}
	if (queue_log_is_dirty(&s->log))
		return store_order_sync(s);
	err = store_note(s, &ev, NULL);
	/* Without room for the mark it is no clean stop. */
	if (err != 0)
		return err == ERR_FULL ? 0 : err;
	s->stop_noted = true;
	return store_order_sync(s);
}

int queue_store_reply(struct queue_store *s, struct slice reply, int64_t now)
{
	struct sorder *o = TAILQ_FIRST(&s->sent);
	struct reader r = reader_of(reply);
	uint8_t type = reader_u8(&r);
	int status = (int)reader_u32(&r);
	int err;

	store_set_now(s, now);
	if (o == NULL || r.err != 0 || type != o->type)
		return ERR_CORRUPT;
	TAILQ_REMOVE(&s->sent, o, entry);
	s->sent_n--;
	err = dispatch(s, o, &r, status);
	store_order_free(o);
	if (!TAILQ_EMPTY(&s->lost) || !TAILQ_EMPTY(&s->orphans))
		s->looks_again = true;
	if (err == 0)
		err = go_on_stopping(s);
	return err;
}
