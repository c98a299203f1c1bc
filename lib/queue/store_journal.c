/* SPDX-License-Identifier: ISC */
#include "queue/store_private.h"
#include "util/err.h"
#include "util/hash.h"
#include "util/mem.h"

#define LOAD_MAX 40      /* percent of what the log takes between two syncs */
#define INGEST_STEP 1000 /* records that a start reads at a time */

struct sseg *store_segment(struct queue_store *s, uint32_t number)
{
	struct sseg *seg;

	TAILQ_FOREACH(seg, &s->segs, entry)
	{
		if (seg->seg.number == number)
			return seg;
	}
	seg = mem_alloc(sizeof(*seg));
	seg->seg = (struct queue_segment){.io = s->root.io, .fd = -1, .number = number};
	TAILQ_INSERT_TAIL(&s->segs, seg, entry);
	return seg;
}

void store_close_segment(struct sseg *seg)
{
	uint32_t number = seg->seg.number;
	const struct queue_io *io = seg->seg.io;

	queue_segment_close(&seg->seg);
	seg->seg = (struct queue_segment){.io = io, .fd = -1, .number = number};
	mem_free(seg->recs);
	seg->recs = NULL;
	seg->n = seg->cap = seg->open = 0;
	seg->state = SEG_CLOSED;
	seg->is_silent = seg->is_busy = seg->is_ending = seg->is_held = seg->has_cut = false;
	seg->has_pickup = seg->is_settling = false;
	seg->durable = seg->known = seg->pos = seg->pos_before = seg->floor = 0;
	seg->doubt_from = seg->doubt_to = 0;
}

static bool is_generation(const uint8_t *a, const uint8_t *b)
{
	return memcmp(a, b, QUEUE_GENERATION) == 0;
}

/* A segment that was closed: its generation must be another than the one that has ended. */
int store_open_segment(struct queue_store *s, struct sseg *seg)
{
	uint32_t number = seg->seg.number;
	int err = queue_segment_open(&s->root, number, &seg->seg);

	if (err == 0 && (seg->seg.state != QUEUE_SEGMENT_USED ||
				(seg->has_ended && is_generation(seg->ended, seg->seg.generation))))
		err = ERR_STATE;
	if (err != 0) {
		queue_segment_close(&seg->seg);
		seg->seg = (struct queue_segment){.io = s->root.io, .fd = -1, .number = number};
		return err;
	}
	seg->pos = seg->pos_before = queue_segment_begin(&seg->seg);
	/* What the log said of another generation does not concern this one (Q15). */
	if (!is_generation(seg->past_generation, seg->seg.generation)) {
		seg->floor = 0;
		dict_free(&seg->past_done);
	}
	if (seg->has_cut && !is_generation(seg->cut.generation, seg->seg.generation))
		seg->has_cut = false;
	seg->doubt_from = s->was_clean ? UINT64_MAX : seg->floor;
	return 0;
}

static void others_left(struct queue_store *s, uint64_t worker, uint32_t segment)
{
	struct sseg *seg;

	TAILQ_FOREACH(seg, &s->segs, entry)
	{
		if (seg->worker == worker && seg->seg.number != segment &&
			seg->state == SEG_LIVING && !seg->is_silent) {
			seg->state = SEG_LEFT;
			store_check_segment(s, seg);
		}
	}
}

int queue_store_worker_position(
	struct queue_store *s, uint64_t worker, uint32_t segment, uint64_t durable)
{
	struct sseg *seg = store_segment(s, segment);
	int err;

	if (seg->state == SEG_CLOSED && seg->is_ending)
		return ERR_STATE;
	if (seg->state == SEG_CLOSED) {
		err = store_open_segment(s, seg);
		if (err != 0)
			return err;
		seg->doubt_from = seg->doubt_to = 0;
		seg->state = SEG_LIVING;
		seg->worker = worker;
	}
	if (seg->is_silent) {
		seg->is_silent = false;
		seg->worker = worker;
		/* What it had committed before it knew of us may have been sent by our forerunner.
		 */
		seg->doubt_to = durable;
	}
	if (seg->state != SEG_LIVING || seg->worker != worker)
		return ERR_STATE;
	if (durable > queue_segment_end(&seg->seg) || durable < seg->durable)
		return ERR_RANGE;
	seg->durable = seg->known = durable;
	others_left(s, worker, segment);
	return 0;
}

int queue_store_worker_left(
	struct queue_store *s, uint64_t worker, uint32_t segment, uint64_t durable)
{
	struct sseg *seg = store_segment(s, segment);
	int err;

	/* One that was dealt with before the worker found time to say so. */
	if (seg->state == SEG_LEFT || seg->state == SEG_TAKEN || seg->state == SEG_LOST)
		return 0;
	err = queue_store_worker_position(s, worker, segment, durable);
	if (err != 0)
		return err;
	seg->state = SEG_LEFT;
	store_check_segment(s, seg);
	return 0;
}

int queue_store_worker_cut(
	struct queue_store *s, uint64_t worker, const struct queue_cut *cut, uint64_t *ticket)
{
	struct sseg *seg = store_segment(s, cut->segment);
	struct queue_event ev = {
		.type = QUEUE_EV_CUT, .segment = cut->segment, .offset = cut->offset};
	int err = 0;

	*ticket = 0;
	if (seg->state == SEG_CLOSED || seg->is_silent)
		err = queue_store_worker_position(s, worker, cut->segment, cut->offset);
	if (err == 0 && (!is_generation(seg->seg.generation, cut->generation) ||
				cut->offset < seg->durable || seg->state == SEG_TAKEN))
		err = ERR_STATE;
	if (err != 0)
		return err;
	memcpy(ev.generation, cut->generation, QUEUE_GENERATION);
	err = store_note(s, &ev, ticket);
	if (err != 0)
		return err;
	seg->cut = *cut;
	seg->has_cut = true;
	seg->durable = seg->known = cut->offset;
	seg->state = SEG_LEFT;
	queue_store_sync(s);
	store_check_segment(s, seg);
	return 0;
}

void queue_store_worker_lost(struct queue_store *s, uint64_t worker)
{
	struct slost *l = mem_alloc(sizeof(*l));
	struct sseg *seg;

	TAILQ_FOREACH(seg, &s->segs, entry)
	{
		if (seg->worker == worker && seg->state == SEG_LIVING && !seg->is_silent) {
			seg->state = SEG_LOST;
			seg->retry = 0;
		}
	}
	l->worker = worker;
	TAILQ_INSERT_TAIL(&s->lost, l, entry);
	/* It may have begun a segment that it had no time to tell of. */
	s->scan_retry = 0;
	s->is_scanning = false;
	store_order_scan(s);
	s->calls->order(s->arg);
}

bool queue_store_knows(const struct queue_store *s, struct slice id)
{
	uint64_t key = hash_bytes(id);
	const struct sseg *seg;

	if (store_find(s, id) != NULL)
		return true;
	TAILQ_FOREACH(seg, &s->segs, entry)
	{
		for (size_t i = 0; i < seg->n; i++) {
			if (seg->recs[i].key == key)
				return true;
		}
	}
	return false;
}

/* ---- Records ---- */

static size_t add_record(struct sseg *seg, const struct queue_record *rec)
{
	if (seg->n == seg->cap) {
		seg->cap = seg->cap == 0 ? 64 : seg->cap * 2;
		seg->recs = mem_resize(seg->recs, seg->cap, sizeof(*seg->recs));
	}
	seg->recs[seg->n] =
		(struct srec){.key = hash_bytes(slice_str(rec->id)), .seq = rec->ref.seq};
	seg->open++;
	return seg->n++;
}

void store_record_done(struct queue_store *s, struct sseg *seg, size_t rec)
{
	if (rec < seg->n && !seg->recs[rec].done) {
		seg->recs[rec].done = true;
		seg->open--;
	}
	store_check_segment(s, seg);
}

/* Q9: left or lost, read to its end, and nothing of it is needed any more; Q19: nor asked for. */
void store_check_segment(struct queue_store *s, struct sseg *seg)
{
	struct queue_event ev = {.type = QUEUE_EV_SEGMENT_END, .segment = seg->seg.number};
	uint64_t ticket;

	if ((seg->state != SEG_LEFT && seg->state != SEG_TAKEN) || seg->open > 0 ||
		seg->pos < seg->durable || seg->is_ending || s->is_stopping ||
		(seg->state == SEG_TAKEN && seg->has_pickup))
		return;
	memcpy(ev.generation, seg->seg.generation, QUEUE_GENERATION);
	if (store_note(s, &ev, &ticket) != 0)
		return; /* tick comes back to it */
	seg->is_ending = true;
	store_wait(s, ticket, WAIT_SEGMENT_END, NULL, seg, 0);
}

/* ---- Mail of maildrop (Q19) ---- */

bool queue_store_settle(struct queue_store *s)
{
	struct sseg *seg;
	bool any = false;

	TAILQ_FOREACH(seg, &s->segs, entry)
	{
		if (seg->state != SEG_TAKEN || !seg->has_pickup || seg->is_settling)
			continue;
		seg->is_settling = true;
		any = true;
	}
	return any;
}

void queue_store_settled(struct queue_store *s, bool is_done)
{
	struct sseg *seg;

	TAILQ_FOREACH(seg, &s->segs, entry)
	{
		if (!seg->is_settling)
			continue;
		seg->is_settling = false;
		if (!is_done)
			continue;
		seg->has_pickup = false;
		store_check_segment(s, seg);
	}
}

bool queue_store_has_read_lost(const struct queue_store *s)
{
	const struct sseg *seg;

	if (!s->is_ingested || !TAILQ_EMPTY(&s->lost))
		return false;
	TAILQ_FOREACH(seg, &s->segs, entry)
	{
		if (seg->is_silent || seg->state == SEG_LOST ||
			(seg->state == SEG_TAKEN && seg->pos < seg->durable))
			return false;
	}
	return true;
}

/* A record that is done with has no message that would tell. */
static bool is_pickup(struct slice encoded)
{
	struct queue_envelope env;

	return queue_envelope_decode(encoded, &env) == 0 && (env.flags & QUEUE_FLAG_PICKUP);
}

static void report_damage(
	struct queue_store *s, struct sseg *seg, uint64_t from, uint64_t to, const char *what)
{
	struct sorder *o = store_order_new(s, QUEUE_ORDER_ASIDE);

	o->seg = seg;
	o->what = what;
	o->from = from;
	o->to = to;
	wire_u32(&o->bytes, seg->seg.number);
	wire_u64(&o->bytes, from);
	wire_u64(&o->bytes, to - from);
	store_order_put(s, o, false);
}

static void order_warm(struct queue_store *s, struct sseg *seg, uint64_t offset)
{
	struct sorder *o;
	uint64_t left = queue_segment_end(&seg->seg) - offset;

	if (s->is_warming)
		return;
	s->is_warming = true;
	o = store_order_new(s, QUEUE_ORDER_WARM);
	o->seg = seg;
	wire_u32(&o->bytes, seg->seg.number);
	wire_u64(&o->bytes, offset);
	wire_u32(&o->bytes, (uint32_t)(left < (1u << 20) ? left : 1u << 20));
	store_order_put(s, o, false);
}

void store_give(struct queue_store *s, struct queue_message *m)
{
	if (m->p->is_given || m->p->is_backlog)
		return;
	TAILQ_INSERT_TAIL(&s->backlog, m->p, backlog);
	m->p->is_backlog = true;
}

/* Something that could hold a parent has not been read yet. */
bool store_has_pending_segments(const struct queue_store *s)
{
	const struct sseg *seg;

	TAILQ_FOREACH(seg, &s->segs, entry)
	{
		if (seg->is_silent || seg->state == SEG_LOST ||
			(seg->state != SEG_CLOSED && seg->pos < seg->durable))
			return true;
	}
	return false;
}

/* ---- Reading ---- */

/* A file with this id that a forerunner may have left by a move that it could not finish. */
static void look_for_file(struct queue_store *s, struct queue_message *m)
{
	enum queue_place place;

	m->p->maybe_file = queue_file_find(&s->root, slice_str(m->id), &place) != ERR_NOT_FOUND;
}

int store_hold_new(struct queue_message *m)
{
	uint64_t ticket;

	if (!(m->env.flags & QUEUE_FLAG_HOLD) || m->p->no > 0)
		return 0;
	return queue_store_hold(m, m->p->store->now, &ticket);
}

static int accept_message(struct queue_store *s, struct sseg *seg, size_t rec,
	struct queue_message *m, const struct queue_record *r)
{
	bool doubt = r->ref.offset >= seg->doubt_from && r->ref.offset < seg->doubt_to;
	bool is_past = r->ref.offset < seg->doubt_to || dict_get(s->past, slice_str(m->id)) != NULL;
	bool accepted = store_was_accepted(s, m);
	int err;

	m->p->seg = seg;
	m->p->rec = (uint32_t)rec;
	m->p->ref = r->ref;
	m->p->file_at = s->now + s->setup.file_delay;
	TAILQ_INSERT_TAIL(&s->aged, m->p, aged);
	m->p->is_aged = true;
	store_use_past(m, 0);
	/* Only its parent's event says so: to be carried on when the log forgets that. */
	if (m->env.parent.len > 0 && accepted && m->p->first_piece == 0)
		m->p->first_piece = 1;
	if (is_past) {
		m->is_recovered = true;
		look_for_file(s, m);
		err = store_note_doubt(m, doubt && (m->env.parent.len == 0 || accepted));
		if (err != 0)
			return err;
	}
	if (m->state == QUEUE_M_ENDED) {
		m->p->is_ending = true;
		store_wait(s, s->log.noted, WAIT_END, m, NULL, 0);
		return 0;
	}
	if (m->env.parent.len > 0 && !accepted) {
		store_note_orphan(s, m);
		return 0;
	}
	err = store_hold_new(m);
	if (err != 0)
		return err;
	store_settle(m);
	store_give(s, m);
	return 0;
}

/* Whether the log says that this record is done with: ended and forgotten, or moved to a file. */
static bool is_done(struct queue_store *s, struct sseg *seg, const struct queue_record *r)
{
	struct buf *b = dict_get(s->past, slice_str(r->id));
	struct slice plain;
	struct queue_event ev;
	size_t used;
	char key[4];

	wire_put_u32(key, r->ref.seq);
	if (seg->past_done != NULL && dict_get(seg->past_done, slice_of(key, 4)) != NULL)
		return true;
	if (b == NULL)
		return false;
	for (plain = buf_slice(b); queue_event_decode(plain, 0, &ev, &used) == 0;
		plain = slice_from(plain, used)) {
		if (ev.type == QUEUE_EV_MOVED)
			return true;
	}
	return false;
}

static int take_record(struct queue_store *s, struct sseg *seg, const struct queue_record *r)
{
	struct slice envelope;
	struct queue_message *m;
	size_t rec;
	int err = queue_record_payload(&seg->seg, r, r->ref.envelope_len, true, &envelope);

	if (err == ERR_CORRUPT) {
		if (r->end <= seg->known)
			report_damage(s, seg, r->ref.offset, r->end, "damaged record");
		return 0;
	}
	if (err != 0)
		return err;
	rec = add_record(seg, r);
	if (is_done(s, seg, r)) {
		seg->has_pickup = seg->has_pickup || is_pickup(envelope);
		store_record_done(s, seg, rec);
		return 0;
	}
	m = store_message_new(s, slice_str(r->id), envelope, QUEUE_PLACE_JOURNAL, &err);
	if (m == NULL) {
		report_damage(s, seg, r->ref.offset, r->end,
			err == ERR_EXISTS ? "second record of one id" : "bad envelope");
		store_record_done(s, seg, rec);
		return 0;
	}
	seg->has_pickup = seg->has_pickup || (m->env.flags & QUEUE_FLAG_PICKUP);
	err = accept_message(s, seg, rec, m, r);
	if (err == 0) {
		dict_remove(s->past, slice_str(r->id));
	} else {
		/* The log is full: this record again, later. Nothing of it was given out. */
		seg->n--;
		seg->open--;
		store_message_free(m);
	}
	return err;
}

/* Records of one segment; *n counts down. */
static int read_segment(struct queue_store *s, struct sseg *seg, uint32_t max, uint32_t *n)
{
	struct queue_record r;
	uint64_t gap, before;
	int err = 0;

	queue_segment_forget(&seg->seg);
	while (seg->pos < seg->durable && *n < max && err == 0) {
		before = seg->pos;
		err = queue_record_next(&seg->seg, &seg->pos, seg->durable, true, &r, &gap);
		if (err == ERR_AGAIN) {
			seg->pos = before;
			order_warm(s, seg, before);
			return err;
		}
		if (err == ERR_NOT_FOUND) {
			if (queue_align(before, QUEUE_BLOCK) < seg->known)
				report_damage(s, seg, before, seg->known, "no record");
			seg->pos = seg->durable;
			err = 0;
			break;
		}
		if (err != 0) {
			seg->pos = before;
			return err;
		}
		if (gap > 0 && queue_align(before, QUEUE_BLOCK) < seg->known)
			report_damage(s, seg, before, before + gap, "damaged record");
		err = take_record(s, seg, &r);
		if (err == ERR_AGAIN)
			order_warm(s, seg, r.ref.offset);
		if (err != 0)
			seg->pos = before;
		else
			(*n)++;
	}
	store_check_segment(s, seg);
	return err;
}

int store_ingest(struct queue_store *s, uint32_t max, uint32_t *n)
{
	struct sseg *seg, *next;
	int err = 0;

	for (seg = TAILQ_FIRST(&s->segs); seg != NULL && err == 0 && *n < max; seg = next) {
		next = TAILQ_NEXT(seg, entry);
		if (seg->state != SEG_CLOSED && !seg->is_ending)
			err = read_segment(s, seg, max, n);
	}
	return err;
}

/*
 * After a start everything is read, in steps, before a directory is walked or a file loaded; what
 * has been read is given out meanwhile.
 */
int store_ingest_start(struct queue_store *s)
{
	uint32_t n = 0;
	int err;

	if (s->is_ingested || !s->is_claimed || s->is_stopping)
		return 0;
	err = store_ingest(s, INGEST_STEP, &n);
	store_check_orphans(s);
	if (err == 0 && !store_has_pending_segments(s)) {
		s->is_ingested = true;
		TAILQ_CONCAT(&s->ready, &s->held, entry);
		store_walk_step(s);
	}
	return err;
}

int queue_store_read(struct queue_store *s, uint32_t max, int64_t now)
{
	struct queue_store_private *p;
	uint32_t given = 0, n = 0;
	int err = 0;

	store_set_now(s, now);
	if (!s->is_claimed || s->is_stopping)
		return 0;
	/* The disk does not keep up with notes: what room is left is for mail that is out already.
	 */
	if (queue_log_load(&s->log) > LOAD_MAX) {
		if (!s->sync_ordered && !s->sync_wanted)
			queue_store_sync(s);
		return ERR_AGAIN;
	}
	s->looks_again = false;
	if (!s->is_ingested)
		err = store_ingest_start(s);
	else if (TAILQ_EMPTY(&s->backlog))
		err = store_ingest(s, max, &n);
	store_check_orphans(s);
	while (given < max && (p = TAILQ_FIRST(&s->backlog)) != NULL) {
		TAILQ_REMOVE(&s->backlog, p, backlog);
		p->is_backlog = false;
		p->is_given = true;
		given++;
		s->calls->message(s->arg, p->m);
	}
	store_check_lost(s);
	if (err == ERR_FULL)
		err = ERR_AGAIN;
	return given > 0 ? (int)given : err;
}

bool queue_store_has_unread(const struct queue_store *s)
{
	const struct sseg *seg;

	if (!TAILQ_EMPTY(&s->backlog) || s->looks_again)
		return true;
	TAILQ_FOREACH(seg, &s->segs, entry)
	{
		if (seg->state != SEG_CLOSED && seg->pos < seg->durable)
			return true;
	}
	return s->is_claimed && !s->is_ingested && !store_has_pending_segments(s);
}

void store_check_lost(struct queue_store *s)
{
	struct slost *l, *next;
	struct sseg *seg;

	for (l = TAILQ_FIRST(&s->lost); l != NULL; l = next) {
		bool is_done = l->is_scanned && TAILQ_EMPTY(&s->orphans);

		next = TAILQ_NEXT(l, entry);
		TAILQ_FOREACH(seg, &s->segs, entry)
		{
			if (seg->state == SEG_LOST ||
				(seg->state == SEG_TAKEN && seg->pos < seg->durable))
				is_done = false;
		}
		if (!is_done)
			continue;
		TAILQ_REMOVE(&s->lost, l, entry);
		s->calls->worker_done(s->arg, l->worker);
		mem_free(l);
		next = TAILQ_FIRST(&s->lost);
	}
}
