/* SPDX-License-Identifier: ISC */
#include <stdio.h>

#include "queue/store_private.h"
#include "util/err.h"
#include "util/mem.h"

/*
 * Percent of what the log takes between two syncs: new mail is read below 40 (store_journal.c),
 * jobs leave below this, the rest is for their results and ends.
 */
#define HAND_OUT_LOAD 50

void store_unlist(struct queue_message *m)
{
	struct queue_store *s = m->p->store;

	if (m->p->is_aged)
		TAILQ_REMOVE(&s->aged, m->p, aged);
	if (m->p->is_backlog)
		TAILQ_REMOVE(&s->backlog, m->p, backlog);
	if (m->p->is_orphan)
		TAILQ_REMOVE(&s->orphans, m->p, orphan);
	if (m->p->is_to_unlink) {
		TAILQ_REMOVE(&s->to_unlink, m->p, to_unlink);
		s->to_unlink_n--;
	}
	m->p->is_aged = m->p->is_backlog = m->p->is_orphan = m->p->is_to_unlink = false;
}

struct queue_message *store_message_new(struct queue_store *s, struct slice id,
	struct slice envelope, enum queue_place place, int *err)
{
	struct queue_message *m = mem_alloc(sizeof(*m));
	struct queue_recipient r;
	uint32_t offset = 0, index = 0, where = 0;

	m->p = mem_alloc(sizeof(*m->p));
	m->p->store = s;
	m->p->m = m;
	m->p->envelope = BUF_INIT(QUEUE_ENVELOPE_MAX);
	m->p->history = BUF_INIT(QUEUE_EVENTS_PLAIN_MAX);
	m->place = (uint8_t)place;
	memcpy(m->id, id.p, id.len);
	buf_add_slice(&m->p->envelope, envelope);
	*err = queue_envelope_decode(buf_slice(&m->p->envelope), &m->env);
	if (*err == 0 && !slice_eq(m->env.id, id))
		*err = ERR_CORRUPT;
	if (*err == 0 && dict_get(s->messages, id) != NULL)
		*err = ERR_EXISTS;
	if (*err != 0) {
		store_message_free(m);
		return NULL;
	}
	m->r = mem_array(m->env.recipients, sizeof(*m->r));
	while (queue_recipient_next(&m->env, &offset, &index, &r)) {
		m->r[r.index].where = where;
		where = offset;
		if (r.flags & QUEUE_RCPT_DROPPED)
			m->r[r.index].state = QUEUE_R_DELETED;
	}
	dict_set(s->messages, id, m);
	return m;
}

/* It is in no order and no waiter. */
void store_message_free(struct queue_message *m)
{
	struct queue_store *s = m->p->store;

	store_unlist(m);
	if (dict_get(s->messages, slice_str(m->id)) == m)
		dict_take(s->messages, slice_str(m->id));
	for (uint32_t i = 0; m->p->last != NULL && i < m->env.recipients; i++)
		mem_free(m->p->last[i]);
	mem_free(m->p->last);
	buf_clear(&m->p->envelope);
	buf_clear(&m->p->history);
	mem_free(m->r);
	mem_free(m->p);
	mem_free(m);
}

/* Events from the log that was found at start, above those that its file had. */
void store_use_past(struct queue_message *m, uint32_t last_no)
{
	struct buf *b = dict_get(m->p->store->past, slice_str(m->id));
	struct slice plain;
	struct queue_event ev;
	size_t used;

	if (last_no > m->p->no)
		m->p->no = last_no;
	if (b == NULL)
		return;
	for (plain = buf_slice(b); queue_event_decode(plain, 0, &ev, &used) == 0;
		plain = slice_from(plain, used)) {
		if (ev.no <= m->p->no)
			continue;
		m->p->no = ev.no;
		store_apply(m, &ev);
		queue_event_encode(&m->p->history, 0, &ev);
		if (m->p->first_piece == 0)
			m->p->first_piece = 1;
	}
}

struct queue_message *queue_store_get(const struct queue_store *s, struct slice id)
{
	struct queue_message *m = dict_get(s->messages, id);

	return m == NULL || m->p->is_unloading ? NULL : m;
}

void queue_store_history(const struct queue_message *m,
	void (*visit)(const struct queue_event *ev, void *arg), void *arg)
{
	struct slice plain = buf_slice(&m->p->history);
	struct queue_event ev;
	size_t used;

	for (; queue_event_decode(plain, 0, &ev, &used) == 0; plain = slice_from(plain, used))
		visit(&ev, arg);
}

/* ---- Hand-out ---- */

static bool rcpts_exist(const struct queue_message *m, const uint32_t *rcpts, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		if (rcpts[i] >= m->env.recipients)
			return false;
	}
	return n > 0;
}

/*
 * Q1: never handed out before and above every floor that the log ever held, so that after a power
 * cut it counts as in doubt with or without a note.
 */
static bool is_fresh(const struct queue_message *m, uint32_t i)
{
	const struct queue_rstatus *r = &m->r[i];

	return m->place == QUEUE_PLACE_JOURNAL && m->p->seg != NULL && !m->p->was_touched &&
	       !m->is_recovered && r->state == QUEUE_R_WAIT && r->attempts == 0 && r->due == 0 &&
	       m->p->offset >= m->p->seg->floor;
}

bool queue_store_may_hand_out(const struct queue_store *s)
{
	return !s->has_no_room && queue_log_load(&s->log) <= HAND_OUT_LOAD;
}

int queue_store_handout(
	struct queue_message *m, const uint32_t *rcpts, uint32_t n, int64_t now, uint64_t *wait)
{
	struct queue_store *s = m->p->store;
	struct queue_event ev = {.type = QUEUE_EV_HANDOUT, .time = now};
	bool fresh = true;
	uint64_t ticket;
	int err;

	*wait = 0;
	if (!queue_store_may_hand_out(s)) {
		queue_store_sync(s);
		return ERR_FULL;
	}
	if (m->state != QUEUE_M_LIVE || m->p->is_unloading || !rcpts_exist(m, rcpts, n))
		return ERR_STATE;
	for (uint32_t i = 0; i < n; i++) {
		const struct queue_rstatus *r = &m->r[rcpts[i]];

		if (r->is_asked || r->is_out || queue_rstate_next(r->state, QUEUE_EV_HANDOUT) == -1)
			return ERR_STATE;
		fresh = fresh && is_fresh(m, rcpts[i]);
	}
	err = store_note_message(m, &ev, rcpts, n, &ticket);
	if (err != 0)
		return err;
	if (!fresh)
		m->p->wait = ticket;
	if (m->p->wait > s->log.durable)
		*wait = m->p->wait;
	for (uint32_t i = 0; i < n; i++) {
		m->r[rcpts[i]].is_out = m->r[rcpts[i]].is_unsent = true;
		m->r[rcpts[i]].is_waiting = *wait != 0;
		m->p->out++;
	}
	if (*wait != 0) {
		/* One sync serves all that wait; nobody should wait for the next interval. */
		s->sync_wanted = true;
		s->unlink_at = s->mono + QUEUE_CALM;
		s->calls->order(s->arg);
	}
	return 0;
}

int queue_store_send(struct queue_message *m, const uint32_t *rcpts, uint32_t n)
{
	struct queue_store *s = m->p->store;
	int err;

	if (!rcpts_exist(m, rcpts, n) || m->state != QUEUE_M_LIVE)
		return ERR_STATE;
	for (uint32_t i = 0; i < n; i++) {
		if (!m->r[rcpts[i]].is_unsent || m->r[rcpts[i]].state != QUEUE_R_OUT)
			return ERR_STATE;
		if (m->r[rcpts[i]].is_waiting && m->p->wait > s->log.durable)
			return ERR_AGAIN;
	}
	/* The note outlives this process before the job leaves it (Q5). */
	err = queue_log_flush(&s->log);
	if (err != 0)
		return err;
	for (uint32_t i = 0; i < n; i++)
		m->r[rcpts[i]].is_unsent = m->r[rcpts[i]].is_waiting = false;
	return 0;
}

static void no_longer_out(struct queue_message *m, uint32_t i)
{
	if (m->r[i].is_out)
		m->p->out--;
	m->r[i].is_out = m->r[i].is_unsent = m->r[i].is_waiting = false;
}

/* What was in doubt still is: the line that says so may not have been written (Q16). */
static int note_unsent(struct queue_message *m, uint32_t i, int64_t now)
{
	struct queue_event ev = {
		.type = QUEUE_EV_DEFERRED, .time = now, .due = now, .text = SLICE_LIT("not sent")};
	struct queue_event before = {0};
	uint64_t ticket;
	char reason[256] = "no result before";

	if (m->r[i].was_doubt) {
		if (queue_store_last(m, i, &before) && before.type == QUEUE_EV_IN_DOUBT)
			snprintf(reason, sizeof(reason), "%.*s", (int)before.text.len,
				before.text.p);
		ev = (struct queue_event){
			.type = QUEUE_EV_IN_DOUBT, .time = now, .text = slice_str(reason)};
	}
	return store_note_message(m, &ev, &i, 1, &ticket);
}

int queue_store_withdraw(struct queue_message *m, const uint32_t *rcpts, uint32_t n, int64_t now)
{
	int err = 0;

	if (!rcpts_exist(m, rcpts, n))
		return ERR_STATE;
	for (uint32_t i = 0; i < n; i++) {
		if (!m->r[rcpts[i]].is_unsent)
			return ERR_STATE;
	}
	for (uint32_t i = 0; i < n && err == 0; i++) {
		if (m->state != QUEUE_M_ENDED)
			err = note_unsent(m, rcpts[i], now);
		if (err == 0)
			no_longer_out(m, rcpts[i]);
	}
	store_try_remove(m);
	return err;
}

int queue_store_give_back(struct queue_message *m, uint32_t index, int64_t now)
{
	int err = 0;

	if (!rcpts_exist(m, &index, 1) || !m->r[index].is_out)
		return ERR_STATE;
	if (m->state != QUEUE_M_ENDED)
		err = note_unsent(m, index, now);
	if (err == 0)
		no_longer_out(m, index);
	store_try_remove(m);
	return err;
}

/* Q17: what is noted and not sent comes back before hold or delete is acknowledged. */
static int withdraw_unsent(struct queue_message *m, int64_t now)
{
	uint32_t *list = mem_array(m->env.recipients + 1, sizeof(*list)), n = 0;
	int err = 0;

	for (uint32_t i = 0; i < m->env.recipients; i++) {
		if (m->r[i].is_unsent)
			list[n++] = i;
	}
	if (n > 0)
		err = queue_store_withdraw(m, list, n, now);
	mem_free(list);
	return err;
}

static struct slice clean(struct slice in, size_t max, struct buf *out)
{
	size_t from = out->len;

	for (size_t i = 0; i < in.len && i < max; i++) {
		unsigned char c = (unsigned char)in.p[i];

		buf_add_char(out, c < 32 || c == 127 ? '?' : (char)c);
	}
	return slice_from(buf_slice(out), from);
}

int queue_store_result(struct queue_message *m, uint32_t index, const struct queue_result *result,
	int64_t now, uint64_t *ticket)
{
	struct queue_event ev = {.type = (uint8_t)result->type, .time = now, .due = result->due};
	struct buf dsn = BUF_INIT(64), host = BUF_INIT(QUEUE_EVENT_TEXT_MAX),
		   text = BUF_INIT(QUEUE_EVENT_TEXT_MAX);
	int err = 0;

	*ticket = m->p->store->log.noted;
	if (index >= m->env.recipients)
		return ERR_RANGE;
	if (result->type < QUEUE_EV_DELIVERED || result->type > QUEUE_EV_EXPIRED)
		return ERR_STATE;
	if (m->state != QUEUE_M_ENDED && queue_rstate_next(m->r[index].state, ev.type) != -1) {
		ev.dsn = clean(result->dsn, 32, &dsn);
		ev.host = clean(result->host, QUEUE_EVENT_TEXT_MAX, &host);
		ev.text = clean(result->text, QUEUE_EVENT_TEXT_MAX, &text);
		err = store_note_message(m, &ev, &index, 1, ticket);
	}
	if (err == 0)
		no_longer_out(m, index);
	buf_clear(&dsn);
	buf_clear(&host);
	buf_clear(&text);
	store_try_remove(m);
	return err;
}

int queue_store_passed(struct queue_message *m, uint32_t index)
{
	struct queue_rstatus *r;

	if (!rcpts_exist(m, &index, 1))
		return ERR_RANGE;
	r = &m->r[index];
	no_longer_out(m, index);
	/* Until the child is read neither the log nor the queue may forget the parent (Q3). */
	if (m->state != QUEUE_M_ENDED && !r->is_asked &&
		queue_rstate_next(r->state, QUEUE_EV_PASSED) != -1) {
		r->is_asked = true;
		m->p->asked++;
	}
	store_try_remove(m);
	return 0;
}

int queue_store_in_doubt(struct queue_message *m, const uint32_t *rcpts, uint32_t n,
	const char *reason, int64_t now, uint64_t *ticket)
{
	struct queue_event ev = {.type = QUEUE_EV_IN_DOUBT, .time = now, .text = slice_str(reason)};
	int err = 0;

	*ticket = 0;
	if (!rcpts_exist(m, rcpts, n))
		return ERR_STATE;
	if (m->state != QUEUE_M_ENDED)
		err = store_note_message(m, &ev, rcpts, n, ticket);
	for (uint32_t i = 0; i < n && err == 0; i++)
		no_longer_out(m, rcpts[i]);
	store_try_remove(m);
	return err;
}

bool queue_store_last(const struct queue_message *m, uint32_t index, struct queue_event *ev)
{
	size_t used;

	*ev = (struct queue_event){0};
	if (index >= m->env.recipients || m->p->last == NULL || m->p->last[index] == NULL)
		return false;
	return queue_event_decode(slice_of(m->p->last[index], wire_get_u32(m->p->last[index])), 0,
		       ev, &used) == 0;
}

/* ---- Children ---- */

int queue_store_ask(
	struct queue_message *m, const uint32_t *rcpts, uint32_t n, enum queue_reason reason)
{
	if (!rcpts_exist(m, rcpts, n) || m->state == QUEUE_M_ENDED || m->p->is_unloading)
		return ERR_STATE;
	for (uint32_t i = 0; i < n; i++) {
		const struct queue_rstatus *r = &m->r[rcpts[i]];

		if (r->is_asked || (r->is_out && reason >= QUEUE_REASON_REQUEUE))
			return ERR_STATE;
	}
	for (uint32_t i = 0; i < n; i++)
		m->r[rcpts[i]].is_asked = true;
	m->p->asked += n;
	return 0;
}

int queue_store_ask_failed(struct queue_message *m, const uint32_t *rcpts, uint32_t n)
{
	if (!rcpts_exist(m, rcpts, n))
		return ERR_STATE;
	for (uint32_t i = 0; i < n; i++) {
		if (m->r[rcpts[i]].is_asked)
			m->p->asked--;
		m->r[rcpts[i]].is_asked = false;
	}
	store_try_remove(m);
	return 0;
}

/* ---- Ends ---- */

static int note_end(
	struct queue_message *m, enum queue_event_type type, int64_t now, uint64_t *ticket)
{
	struct queue_event ev = {.type = (uint8_t)type, .time = now};
	int err = store_note_message(m, &ev, NULL, 0, ticket);

	if (err != 0)
		return err;
	m->p->end_ticket = *ticket;
	store_wait(m->p->store, *ticket, WAIT_END, m, NULL, 0);
	return 0;
}

int queue_store_end(struct queue_message *m, int64_t now, uint64_t *ticket)
{
	*ticket = 0;
	if (m->state == QUEUE_M_ENDED || m->p->asked > 0 || m->p->out > 0 || m->p->is_unloading)
		return ERR_STATE;
	for (uint32_t i = 0; i < m->env.recipients; i++) {
		if (!queue_rstate_is_final(m->r[i].state) && m->r[i].state != QUEUE_R_FAILED)
			return ERR_STATE;
	}
	return note_end(m, QUEUE_EV_ENDED, now, ticket);
}

int queue_store_delete(struct queue_message *m, int64_t now, uint64_t *ticket)
{
	struct queue_store *s = m->p->store;
	int err;

	*ticket = 0;
	if (m->state == QUEUE_M_ENDED)
		return ERR_STATE;
	err = withdraw_unsent(m, now);
	if (err == 0)
		err = note_end(m, QUEUE_EV_DELETED, now, ticket);
	queue_store_sync(s);
	return err;
}

/*
 * Q3: gone only when the end is durable, no job is out, no child can turn up, no move of it is
 * under way and its files are unlinked.
 */
void store_try_remove(struct queue_message *m)
{
	struct queue_store *s = m->p->store;

	if (!m->p->is_ended_durable || m->p->out > 0 || m->p->asked > 0 || m->p->busy > 0)
		return;
	if (!m->p->is_removed && (m->place != QUEUE_PLACE_JOURNAL || m->p->maybe_file ||
					 (m->env.flags & QUEUE_FLAG_BODY_FILE))) {
		TAILQ_INSERT_TAIL(&s->to_unlink, m->p, to_unlink);
		m->p->is_to_unlink = true;
		s->to_unlink_n++;
		m->p->busy++;
		s->calls->order(s->arg);
		return;
	}
	if (m->p->seg != NULL)
		store_record_done(s, m->p->seg, m->p->rec);
	store_unlist(m);
	if (m->p->is_given)
		s->calls->ended(s->arg, m);
	store_message_free(m);
}

/* ---- Operators ---- */

static int note_plain(struct queue_message *m, struct queue_event *ev, uint64_t *ticket)
{
	int err = store_note_message(m, ev, NULL, 0, ticket);

	m->p->was_touched = true;
	queue_store_sync(m->p->store);
	if (err == 0)
		store_settle(m);
	return err;
}

int queue_store_hold(struct queue_message *m, int64_t now, uint64_t *ticket)
{
	struct queue_event ev = {.type = QUEUE_EV_HELD, .time = now};
	int err;

	*ticket = m->p->store->log.noted;
	if (m->state == QUEUE_M_HELD)
		return 0;
	if (m->state != QUEUE_M_LIVE || m->p->is_unloading)
		return ERR_STATE;
	err = withdraw_unsent(m, now);
	return err != 0 ? err : note_plain(m, &ev, ticket);
}

int queue_store_release(struct queue_message *m, int64_t now, uint64_t *ticket)
{
	struct queue_event ev = {.type = QUEUE_EV_RELEASED, .time = now};

	*ticket = m->p->store->log.noted;
	if (m->state == QUEUE_M_LIVE)
		return 0;
	if (m->state != QUEUE_M_HELD || m->p->is_unloading)
		return ERR_STATE;
	return note_plain(m, &ev, ticket);
}

int queue_store_expire(struct queue_message *m, int64_t now, uint64_t *ticket)
{
	struct queue_event ev = {.type = QUEUE_EV_EXPIRE_NOW, .time = now};

	*ticket = 0;
	if (m->state == QUEUE_M_ENDED || m->p->is_unloading)
		return ERR_STATE;
	return note_plain(m, &ev, ticket);
}

int queue_store_corrupt(struct queue_message *m, const char *reason, int64_t now, uint64_t *ticket)
{
	struct queue_event ev = {.type = QUEUE_EV_HELD,
		.time = now,
		.place = QUEUE_PLACE_CORRUPT,
		.text = slice_first(slice_str(reason), QUEUE_EVENT_TEXT_MAX)};
	int err;

	*ticket = 0;
	if (m->state == QUEUE_M_ENDED || m->p->is_unloading)
		return ERR_STATE;
	err = withdraw_unsent(m, now);
	if (err != 0)
		return err;
	/* The event does not change a held one's state; the place is what matters. */
	m->p->is_corrupt = true;
	return note_plain(m, &ev, ticket);
}

/* ---- Where it lives ---- */

static uint8_t wanted_place(const struct queue_message *m)
{
	if (m->p->is_corrupt)
		return QUEUE_PLACE_CORRUPT;
	return m->state == QUEUE_M_HELD ? QUEUE_PLACE_HOLD : QUEUE_PLACE_DEFERRED;
}

/* Events that one order carries, in bytes; more of one message go by themselves. */
#define ORDER_WEIGHT (1u << 20)

static void order_move(struct queue_message *m, enum queue_order type)
{
	struct queue_store *s = m->p->store;
	struct sorder *o = TAILQ_LAST(&s->ready, sorder_list);

	if (o == NULL || o->type != type || o->n == QUEUE_ORDER_ITEMS || o->is_written ||
		o->weight + m->p->history.len > ORDER_WEIGHT) {
		o = store_order_new(s, type);
		store_order_put(s, o, false);
	}
	o->m[o->n++] = m;
	o->weight += m->p->history.len;
	m->p->busy++;
	m->p->is_moving = true;
}

/*
 * One move at a time; when it has ended the state may want another. What lives in the journal is
 * written to a file when its time has come, at once when it is held.
 */
void store_settle(struct queue_message *m)
{
	uint8_t want = wanted_place(m);

	if (m->p->is_moving || m->state == QUEUE_M_ENDED || m->place == want || m->p->is_unloading)
		return;
	if (m->place != QUEUE_PLACE_JOURNAL)
		order_move(m, QUEUE_ORDER_RENAME);
	else if (want != QUEUE_PLACE_DEFERRED || m->p->file_at <= m->p->store->now)
		order_move(m, QUEUE_ORDER_MOVE);
}

int queue_store_load(struct queue_store *s, struct slice id, enum queue_place place)
{
	struct queue_message *m = dict_get(s->messages, id);
	struct sorder *o;

	if (!queue_id_is_valid(id))
		return ERR_RANGE;
	if (m != NULL)
		m->p->is_wanted = true;
	if (m != NULL && m->p->is_unloading)
		return 0;
	o = store_order_new(s, QUEUE_ORDER_READ);
	memcpy(o->id, id.p, id.len);
	o->id[id.len] = '\0';
	o->place = (uint8_t)(place == QUEUE_PLACE_JOURNAL ? QUEUE_PLACE_DEFERRED : place);
	/* A file may be the copy that an interrupted move left: the journal is read first. */
	if (s->is_ingested)
		store_order_put(s, o, false);
	else
		TAILQ_INSERT_TAIL(&s->held, o, entry);
	return 0;
}

int queue_store_unload(struct queue_message *m, int64_t due)
{
	struct queue_store *s = m->p->store;
	struct sorder *o;

	if (m->place == QUEUE_PLACE_JOURNAL || m->p->busy > 0 || m->p->out > 0 || m->p->asked > 0 ||
		m->state == QUEUE_M_ENDED || m->place != wanted_place(m) ||
		m->p->unload_at > s->now)
		return ERR_STATE;
	o = store_order_new(s, QUEUE_ORDER_APPEND);
	o->m[o->n++] = m;
	m->p->busy++;
	m->p->is_unloading = true;
	m->p->is_wanted = false;
	m->p->is_given = false;
	m->p->due = due;
	m->user = NULL;
	store_order_put(s, o, false);
	return 0;
}

int queue_store_content(struct queue_message *m, struct buf *out)
{
	struct queue_store *s = m->p->store;
	struct queue_record rec;
	struct sorder *o;
	struct slice payload;
	int err;

	if (m->place == QUEUE_PLACE_JOURNAL && m->p->seg != NULL) {
		struct queue_segment *seg = &m->p->seg->seg;

		err = queue_record_read(seg, m->p->offset, queue_segment_end(seg), true, &rec);
		if (err == 0)
			err = queue_record_payload(seg, &rec, rec.ref.length, true, &payload);
		if (err == 0 && !slice_eq_str(slice_str(rec.id), m->id))
			err = ERR_CORRUPT;
		if (err == 0)
			return buf_add_slice(out, slice_from(payload, rec.ref.envelope_len));
		if (err != ERR_AGAIN)
			return err;
		o = store_order_new(s, QUEUE_ORDER_WARM);
		o->seg = m->p->seg;
	} else {
		o = store_order_new(s, QUEUE_ORDER_READ);
		memcpy(o->id, m->id, sizeof(o->id));
		o->place = m->place;
	}
	o->for_content = true;
	o->m[o->n++] = m;
	m->p->busy++;
	/* Somebody waits for it; thousands of loads may stand in line. */
	store_order_put(s, o, true);
	return ERR_LATER;
}

int queue_store_body(struct queue_message *m, int *fd)
{
	return queue_body_open(
		&m->p->store->root, (enum queue_place)m->place, slice_str(m->id), fd);
}
