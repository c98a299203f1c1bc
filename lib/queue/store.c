/* SPDX-License-Identifier: ISC */
#include <stdio.h>

#include "queue/store_private.h"
#include "util/mem.h"

int queue_store_run(struct queue_store *s, struct queue_keeper *k, int64_t now)
{
	struct buf order = BUF_INIT(QUEUE_REPLY_MAX), reply = BUF_INIT(QUEUE_REPLY_MAX);
	int err = 0;

	while (s->unlink_at = 0, err == 0 && queue_store_order(s, &order)) {
		buf_reset(&reply);
		err = queue_keeper_run(k, buf_slice(&order), &reply);
		if (err == 0)
			err = queue_store_reply(s, buf_slice(&reply), now);
	}
	buf_clear(&order);
	buf_clear(&reply);
	return err;
}

void store_set_now(struct queue_store *s, int64_t now)
{
	struct queue_store_private *p;
	struct sseg *seg;
	bool is_back = now + QUEUE_RETRY < s->now;

	s->now = now;
	if (!is_back)
		return;
	/* Nothing waits for the time that has gone. */
	s->piece_retry = s->scan_retry = 0;
	TAILQ_FOREACH(seg, &s->segs, entry)
	seg->retry = 0;
	TAILQ_FOREACH(p, &s->aged, aged)
	{
		if (p->file_at > now + s->setup.file_delay)
			p->file_at = now + s->setup.file_delay;
	}
}

/* ---- Syncs ---- */

static void note_floor(struct queue_store *s, struct sseg *seg)
{
	struct queue_event ev = {.type = QUEUE_EV_FLOOR, .segment = seg->seg.number};
	/* One sync behind, so that mail that came just now needs no durable note to go out. */
	uint64_t floor = seg->pos_before;

	if (seg->state != SEG_CLOSED && floor > seg->floor) {
		memcpy(ev.generation, seg->seg.generation, QUEUE_GENERATION);
		ev.offset = floor;
		if (store_note(s, &ev, NULL) == 0)
			seg->floor = floor;
	}
	seg->pos_before = seg->pos;
}

int store_order_sync(struct queue_store *s)
{
	struct queue_event ev = {.type = QUEUE_EV_SYNCED,
		.segment = s->log.good.number,
		.offset = s->log.good.offset};
	uint8_t slots[QUEUE_PIECE_SLOTS];
	struct sorder *o;
	struct sseg *seg;
	int n, err;

	if (s->sync_ordered)
		return 0;
	err = queue_log_flush(&s->log);
	if (err != 0) {
		/* Again when there is a piece: nobody may go on before. */
		s->is_full = s->has_no_room = true;
		return err;
	}
	TAILQ_FOREACH(seg, &s->segs, entry)
	{
		if (!s->stop_noted)
			note_floor(s, seg);
	}
	if (!s->stop_noted && s->log.good.number != 0)
		store_note(s, &ev, NULL);
	err = queue_log_sync_begin(&s->log, slots, &n);
	if (err != 0)
		return err;
	o = store_order_new(s, QUEUE_ORDER_SYNC);
	wire_u32(&o->bytes, (uint32_t)n);
	for (int i = 0; i < n; i++)
		wire_u8(&o->bytes, slots[i]);
	s->sync_ordered = true;
	s->sync_wanted = false;
	s->last_sync = s->mono;
	store_order_put(s, o, true);
	return 0;
}

void queue_store_sync(struct queue_store *s)
{
	s->sync_wanted = true;
	s->calls->order(s->arg);
}

uint64_t queue_store_durable(const struct queue_store *s)
{
	return s->log.durable;
}

uint64_t queue_store_noted(const struct queue_store *s)
{
	return s->log.noted;
}

int queue_store_flush(struct queue_store *s)
{
	return queue_log_flush(&s->log);
}

bool queue_store_is_full(const struct queue_store *s)
{
	return s->is_full;
}

bool queue_store_was_clean(const struct queue_store *s)
{
	return s->was_clean;
}

/* ---- What waits for a ticket ---- */

void store_wait(struct queue_store *s, uint64_t ticket, enum swaiter_kind kind,
	struct queue_message *m, struct sseg *seg, size_t rec)
{
	struct swaiter *w = mem_alloc(sizeof(*w));

	*w = (struct swaiter){
		.ticket = ticket, .kind = (uint8_t)kind, .m = m, .seg = seg, .rec = rec};
	if (m != NULL)
		m->p->busy++;
	TAILQ_INSERT_TAIL(&s->waiters, w, entry);
}

static void order_free(struct queue_store *s, struct sseg *seg)
{
	struct sorder *o = store_order_new(s, QUEUE_ORDER_FREE);

	wire_u32(&o->bytes, seg->seg.number);
	wire_counted(&o->bytes, slice_of(seg->seg.generation, QUEUE_GENERATION));
	o->seg = seg;
	store_order_put(s, o, false);
}

static void order_drop(struct queue_store *s)
{
	struct sorder *o = store_order_new(s, QUEUE_ORDER_DROP);

	o->slot = s->drop_slot;
	wire_u8(&o->bytes, (uint8_t)s->drop_slot);
	wire_u64(&o->bytes, s->drop_end);
	store_order_put(s, o, false);
}

static void waiter_done(struct queue_store *s, const struct swaiter *w)
{
	if (w->m != NULL)
		w->m->p->busy--;
	switch (w->kind) {
	case WAIT_END:
		w->m->p->is_ended_durable = true;
		store_try_remove(w->m);
		break;
	case WAIT_MOVED:
		store_record_done(s, w->seg, w->rec);
		if (w->m->p->is_given)
			s->calls->moved(s->arg, w->m);
		if (w->m->p->is_ended_durable)
			store_try_remove(w->m);
		else
			store_unload_backlog(s, w->m);
		break;
	case WAIT_SEGMENT_END:
		w->seg->has_ended = true;
		memcpy(w->seg->ended, w->seg->seg.generation, QUEUE_GENERATION);
		order_free(s, w->seg);
		break;
	case WAIT_DROP: order_drop(s); break;
	default: break;
	}
}

void store_durable(struct queue_store *s)
{
	struct swaiter *w;

	while ((w = TAILQ_FIRST(&s->waiters)) != NULL && w->ticket <= s->log.durable) {
		TAILQ_REMOVE(&s->waiters, w, entry);
		waiter_done(s, w);
		mem_free(w);
	}
	s->calls->durable(s->arg, s->log.durable);
}

/* ---- Compaction ---- */

static bool carry_message(struct queue_message *m, void *arg)
{
	struct queue_store *s = arg;

	if (m->p->first_piece == 0 || m->p->first_piece > s->drop_number)
		return true;
	if (queue_log_load(&s->log) > 40) {
		s->sync_wanted = true;
		s->drop_slot = -1; /* on with it after the next sync */
		return false;
	}
	if (m->place != QUEUE_PLACE_JOURNAL) {
		m->p->first_piece = 0; /* its file keeps them */
		return true;
	}
	if (store_note_state(m) != 0) {
		s->drop_slot = -1;
		return false;
	}
	return true;
}

static int carry_done(struct queue_store *s, struct sseg *seg)
{
	struct queue_event ev = {.type = QUEUE_EV_DONE, .segment = seg->seg.number};
	struct buf data = BUF_INIT(QUEUE_EVENT_MAX);
	int err = 0;

	memcpy(ev.generation, seg->seg.generation, QUEUE_GENERATION);
	for (size_t i = 0; i < seg->n && err == 0; i++) {
		if (seg->recs[i].done)
			wire_u32(&data, seg->recs[i].seq);
		if (data.len > 0 && (data.len > QUEUE_EVENT_MAX - 1000 || i + 1 == seg->n)) {
			ev.data = buf_slice(&data);
			err = store_note(s, &ev, NULL);
			buf_reset(&data);
		}
	}
	buf_clear(&data);
	return err;
}

static int carry_segment(struct queue_store *s, struct sseg *seg, uint64_t *ticket)
{
	struct queue_event ev = {.type = QUEUE_EV_SEGMENT_END, .segment = seg->seg.number};
	int err = 0;

	if (seg->has_ended) {
		memcpy(ev.generation, seg->ended, QUEUE_GENERATION);
		err = store_note(s, &ev, ticket);
	}
	if (seg->state == SEG_CLOSED)
		return err;
	if (err == 0 && seg->has_cut) {
		ev.type = QUEUE_EV_CUT;
		ev.offset = seg->cut.offset;
		memcpy(ev.generation, seg->cut.generation, QUEUE_GENERATION);
		err = store_note(s, &ev, ticket);
	}
	if (err == 0 && seg->floor > 0) {
		ev.type = QUEUE_EV_FLOOR;
		ev.offset = seg->floor;
		memcpy(ev.generation, seg->seg.generation, QUEUE_GENERATION);
		err = store_note(s, &ev, ticket);
	}
	return err == 0 ? carry_done(s, seg) : err;
}

/* Records that events from before the start could be about have not all been read. */
static bool has_past_segments(const struct queue_store *s)
{
	const struct sseg *seg;

	TAILQ_FOREACH(seg, &s->segs, entry)
	{
		if (seg->is_silent || seg->state == SEG_LOST ||
			(seg->state != SEG_CLOSED && seg->pos < seg->durable &&
				seg->pos < seg->doubt_to))
			return true;
	}
	return false;
}

/*
 * The oldest piece: what the journal's messages have in it is carried on as one event each, what
 * segments have too; files get theirs by the keeper's DROP, once all that is durable (Q3).
 */
static void compact(struct queue_store *s)
{
	struct queue_event ev = {.type = QUEUE_EV_SYNCED};
	struct sseg *seg;
	uint64_t ticket;

	if (s->drop_ordered || !s->is_ingested || has_past_segments(s) ||
		(queue_log_used(&s->log) <= QUEUE_PIECES_KEPT && queue_log_spares(&s->log) > 0))
		return;
	s->drop_slot = queue_log_oldest(&s->log);
	if (s->drop_slot == -1)
		return;
	s->drop_number = s->log.slots[s->drop_slot].number;
	s->drop_end = s->log.slots[s->drop_slot].end;
	store_table_walk(s, carry_message, s);
	if (s->drop_slot == -1)
		return;
	TAILQ_FOREACH(seg, &s->segs, entry)
	{
		if (carry_segment(s, seg, &ticket) != 0)
			return;
	}
	ev.segment = s->log.good.number;
	ev.offset = s->log.good.offset;
	if (store_note(s, &ev, &ticket) != 0)
		return;
	s->drop_ordered = true;
	s->sync_wanted = true;
	store_wait(s, ticket, WAIT_DROP, NULL, NULL, 0);
}

/* ---- Time ---- */

void store_order_scan(struct queue_store *s)
{
	struct slost *l;

	if (s->is_scanning || s->now < s->scan_retry)
		return;
	s->is_scanning = true;
	s->scans_again = false;
	s->scans_sent++;
	TAILQ_FOREACH(l, &s->lost, entry)
	if (!l->is_scanned && l->scans == 0)
		l->scans = s->scans_sent;
	s->scan_retry = s->now + 10 * QUEUE_RETRY;
	store_order_put(s, store_order_new(s, QUEUE_ORDER_SCAN), false);
}

static void order_pieces(struct queue_store *s)
{
	struct sorder *o;
	int slot = queue_log_absent(&s->log);

	if (s->piece_ordered || queue_log_spares(&s->log) >= 2 || slot == -1 ||
		s->now < s->piece_retry)
		return;
	o = store_order_new(s, QUEUE_ORDER_PIECE);
	o->slot = slot;
	wire_u8(&o->bytes, (uint8_t)slot);
	wire_u64(&o->bytes, s->log.piece_size);
	s->piece_ordered = true;
	store_order_put(s, o, true);
}

/* The journal is filling up: files are written without waiting for their time. */
static bool is_crowded(const struct queue_store *s)
{
	const struct sseg *seg;
	uint64_t used = 0;

	TAILQ_FOREACH(seg, &s->segs, entry)
	{
		if (seg->state != SEG_CLOSED)
			used += s->setup.segment_size;
	}
	return used > s->setup.journal_limit / 4 * 3;
}

static void move_aged(struct queue_store *s)
{
	struct queue_store_private *p, *next;
	bool crowded = is_crowded(s);
	int under_way = 0;

	for (p = TAILQ_FIRST(&s->aged); p != NULL && under_way < 4 * QUEUE_ORDER_ITEMS; p = next) {
		next = TAILQ_NEXT(p, aged);
		if (p->is_moving) {
			under_way++;
			continue;
		}
		/* First: thousands that have ended wait here for a sync. */
		if (p->file_at > s->now && !crowded)
			break;
		if (p->is_orphan || p->m->state == QUEUE_M_ENDED)
			continue;
		if (p->file_at > s->now && crowded && p->seg != NULL && p->seg->state != SEG_LIVING)
			p->file_at = s->now;
		if (p->file_at > s->now)
			break;
		store_settle(p->m);
		under_way++;
	}
}

static void retry_segments(struct queue_store *s)
{
	struct sseg *seg;

	if (s->scans_again)
		store_order_scan(s);
	TAILQ_FOREACH(seg, &s->segs, entry)
	{
		if (seg->is_silent)
			store_order_scan(s);
		if (seg->is_held && s->now >= seg->retry) {
			seg->is_held = false;
			order_free(s, seg);
		}
		store_check_segment(s, seg);
		if (seg->state == SEG_LOST && !seg->is_busy && s->now >= seg->retry) {
			struct sorder *o = store_order_new(s, QUEUE_ORDER_TAKEOVER);

			wire_u32(&o->bytes, seg->seg.number);
			wire_u64(&o->bytes, seg->durable);
			wire_u64(&o->bytes, seg->has_cut ? seg->cut.offset : 0);
			o->seg = seg;
			seg->is_busy = true;
			store_order_put(s, o, false);
		}
	}
}

void queue_store_tick(struct queue_store *s, int64_t now, int64_t mono, int64_t *next)
{
	const struct swaiter *w;
	bool dirty, is_time;

	store_set_now(s, now);
	s->mono = mono;
	if (!s->is_stopping) {
		store_ingest_start(s);
		order_pieces(s);
		retry_segments(s);
		move_aged(s);
		compact(s);
	}
	/* What needed no sync of its own, for all its notes were durable already. */
	w = TAILQ_FIRST(&s->waiters);
	if (w != NULL && w->ticket <= s->log.durable)
		store_durable(s);
	dirty = queue_log_is_dirty(&s->log);
	is_time = mono - s->last_sync >= s->setup.sync_interval;
	if (!s->sync_ordered && dirty &&
		(s->sync_wanted || is_time || queue_log_load(&s->log) > 25))
		store_order_sync(s);
	/* A note found no room, and none has found any since: whether there is some now. */
	else if (!s->sync_ordered && s->has_no_room && is_time)
		store_order_sync(s);
	queue_log_flush(&s->log);
	*next = mono + s->setup.sync_interval;
	if (s->last_sync + s->setup.sync_interval > mono)
		*next = s->last_sync + s->setup.sync_interval;
	if (s->to_unlink_n > 0 && s->mono < s->unlink_at && s->unlink_at < *next)
		*next = s->unlink_at;
	else if (s->to_unlink_n > 0 && s->sent_n == 0)
		s->calls->order(s->arg);
	if (s->scans_again && mono + QUEUE_RETRY / 10 < *next)
		*next = mono + QUEUE_RETRY / 10;
	if (s->is_claimed && !s->is_ingested && !s->is_warming && !s->is_full &&
		queue_store_has_unread(s))
		*next = mono + QUEUE_RETRY / 1000;
}

/* ---- Life ---- */

void queue_store_claim(struct queue_store *s, struct slice id, uint32_t index)
{
	char key[64];
	int len = snprintf(key, sizeof(key), "%.*s %u", SLICE_FMT(id), (unsigned)index);

	if (queue_id_is_valid(id))
		dict_set(s->claims, slice_of(key, (size_t)len), s);
}

int queue_store_claims_done(struct queue_store *s, int64_t now)
{
	store_set_now(s, now);
	s->is_claimed = true;
	s->scan_retry = 0;
	store_order_scan(s);
	return 0;
}

void store_walk_step(struct queue_store *s)
{
	struct sdir *d;
	struct sorder *o;

	if (!s->is_walking) {
		static const uint8_t places[] = {QUEUE_PLACE_DEFERRED, QUEUE_PLACE_HOLD};

		s->is_walking = true;
		for (size_t i = 0; i < sizeof(places); i++) {
			d = mem_alloc(sizeof(*d));
			d->place = places[i];
			TAILQ_INSERT_TAIL(&s->walk, d, entry);
		}
	}
	d = TAILQ_FIRST(&s->walk);
	if (d == NULL) {
		if (s->is_walked)
			return;
		s->is_walked = true;
		o = store_order_new(s, QUEUE_ORDER_SWEEP);
		wire_u64(&o->bytes, (uint64_t)(s->now - QUEUE_SWEEP_AGE));
		store_order_put(s, o, false);
		s->calls->walk_done(s->arg);
		return;
	}
	o = store_order_new(s, QUEUE_ORDER_WALK);
	wire_u8(&o->bytes, d->place);
	wire_counted(&o->bytes, slice_str(d->dir));
	store_order_put(s, o, false);
}

int queue_store_stop(struct queue_store *s, int64_t now)
{
	store_set_now(s, now);
	s->is_stopping = true;
	s->sync_wanted = true;
	if (TAILQ_EMPTY(&s->urgent) && TAILQ_EMPTY(&s->ready) && TAILQ_EMPTY(&s->sent))
		return store_order_sync(s);
	return 0;
}

/* Q11: the mark is the last event; it is noted when nothing else is under way. */
bool queue_store_is_stopped(const struct queue_store *s)
{
	return s->is_stopped;
}

static bool free_message(struct queue_message *m, void *arg)
{
	store_message_free(m);
	return true;
}

void queue_store_free(struct queue_store **sp)
{
	struct queue_store *s = *sp;
	struct sorder *o;
	struct sseg *seg;
	struct swaiter *w;
	struct slost *l;
	struct sdir *d;

	if (s == NULL)
		return;
	store_table_walk(s, free_message, s);
	mem_free(s->messages.slots);
	dict_free(&s->past);
	dict_free(&s->claims);
	TAILQ_CONCAT(&s->ready, &s->urgent, entry);
	TAILQ_CONCAT(&s->ready, &s->sent, entry);
	TAILQ_CONCAT(&s->ready, &s->held, entry);
	while ((o = TAILQ_FIRST(&s->ready)) != NULL) {
		TAILQ_REMOVE(&s->ready, o, entry);
		store_order_free(o);
	}
	while ((seg = TAILQ_FIRST(&s->segs)) != NULL) {
		TAILQ_REMOVE(&s->segs, seg, entry);
		store_close_segment(seg);
		dict_free(&seg->past_done);
		mem_free(seg);
	}
	while ((w = TAILQ_FIRST(&s->waiters)) != NULL) {
		TAILQ_REMOVE(&s->waiters, w, entry);
		mem_free(w);
	}
	while ((l = TAILQ_FIRST(&s->lost)) != NULL) {
		TAILQ_REMOVE(&s->lost, l, entry);
		mem_free(l);
	}
	while ((d = TAILQ_FIRST(&s->walk)) != NULL) {
		TAILQ_REMOVE(&s->walk, d, entry);
		mem_free(d);
	}
	queue_log_clear(&s->log);
	mem_free(s);
	*sp = NULL;
}
