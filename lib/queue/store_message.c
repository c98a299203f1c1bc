/* SPDX-License-Identifier: ISC */
#include "queue/store_private.h"
#include "util/err.h"
#include "util/mem.h"

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

/* Recipients, then the bytes of the envelope, stand behind it. */
struct block {
	struct queue_message m;
	struct queue_store_private p;
	struct queue_rstatus r[];
};

static char *envelope_of(const struct queue_message *m)
{
	return (char *)(m->r + m->env.recipients);
}

void queue_store_envelope(const struct queue_message *m, struct queue_envelope *env)
{
	queue_envelope_again(slice_of(envelope_of(m), m->p->envelope_len), env);
}

void queue_store_recipient(
	const struct queue_message *m, uint32_t index, struct queue_recipient *to)
{
	struct slice all = slice_of(envelope_of(m), m->p->envelope_len);

	queue_recipient_in(slice_from(all, m->p->rcpts_at), m->r[index].where, index, to);
}

static struct queue_brief brief_of(const struct queue_envelope *env)
{
	return (struct queue_brief){
		.sender = env->sender,
		.parent = env->parent,
		.arrival = env->arrival,
		.deadline = env->deadline,
		.delay_warning = env->delay_warning,
		.size = env->size,
		.body_len = env->body_len,
		.header_len = env->header_len,
		.flags = env->flags,
		.recipients = env->recipients,
		.ret = env->ret,
		.reason = env->reason,
		.has_verp = env->verp.len > 0,
	};
}

/* With a copy of bytes, which env was decoded from. */
static struct queue_message *make(
	struct queue_store *s, struct slice bytes, const struct queue_envelope *env)
{
	struct block *b =
		mem_alloc(sizeof(*b) + env->recipients * sizeof(struct queue_rstatus) + bytes.len);
	struct queue_message *m = &b->m;
	struct queue_envelope own;

	m->p = &b->p;
	m->p->store = s;
	m->p->m = m;
	m->p->envelope_len = (uint32_t)bytes.len;
	m->p->rcpts_at = (uint32_t)(bytes.len - env->rcpt_bytes.len);
	m->r = b->r;
	m->env.recipients = env->recipients;
	memcpy(envelope_of(m), bytes.p, bytes.len);
	memcpy(m->id, env->id.p, env->id.len);
	queue_store_envelope(m, &own);
	own.recipients = env->recipients;
	m->env = brief_of(&own);
	return m;
}

struct queue_message *store_message_new(struct queue_store *s, struct slice id,
	struct slice envelope, enum queue_place place, int *err)
{
	struct queue_message *m;
	struct queue_envelope env;
	struct queue_recipient r;
	uint32_t offset = 0, index = 0, where = 0;

	*err = queue_envelope_decode(envelope, &env);
	if (*err == 0 && !slice_eq(env.id, id))
		*err = ERR_CORRUPT;
	if (*err == 0 && store_find(s, id) != NULL)
		*err = ERR_EXISTS;
	if (*err != 0)
		return NULL;
	m = make(s, envelope, &env);
	m->place = (uint8_t)place;
	while (queue_recipient_next(&env, &offset, &index, &r)) {
		m->r[r.index].where = where;
		where = offset;
		if (r.flags & QUEUE_RCPT_DROPPED)
			m->r[r.index].state = QUEUE_R_DELETED;
	}
	store_table_add(s, m);
	return m;
}

static void history_free(struct queue_message *m)
{
	if (m->p->history != NULL)
		buf_clear(&m->p->history->events);
	mem_free(m->p->history);
	m->p->history = NULL;
}

void store_history_add(struct queue_message *m, const struct queue_event *ev)
{
	if (m->p->history == NULL) {
		m->p->history = mem_alloc(sizeof(*m->p->history));
		m->p->history->events = BUF_INIT(QUEUE_EVENTS_PLAIN_MAX);
	}
	queue_event_encode(&m->p->history->events, 0, ev);
}

struct slice store_history(const struct queue_message *m)
{
	return m->p->history != NULL ? buf_slice(&m->p->history->events) : SLICE_NONE;
}

void store_history_kept(struct queue_message *m)
{
	if (m->p->history == NULL)
		return;
	buf_consume(&m->p->history->events, m->p->history->sent);
	m->p->history->sent = 0;
	if (m->p->history->events.len == 0)
		history_free(m);
}

/* It is in no order and no waiter. */
void store_message_free(struct queue_message *m)
{
	struct queue_store *s = m->p->store;

	store_unlist(m);
	store_table_remove(s, m);
	for (uint32_t i = 0; m->p->last != NULL && i < m->env.recipients; i++)
		mem_free(m->p->last[i]);
	mem_free(m->p->last);
	history_free(m);
	mem_free(m); /* the whole block: it is the first in it */
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
		store_history_add(m, &ev);
		if (m->p->first_piece == 0)
			m->p->first_piece = 1;
	}
}

struct queue_message *queue_store_get(const struct queue_store *s, struct slice id)
{
	struct queue_message *m = store_find(s, id);

	return m == NULL || m->p->is_unloading ? NULL : m;
}

void queue_store_history(const struct queue_message *m,
	void (*visit)(const struct queue_event *ev, void *arg), void *arg)
{
	struct slice plain = store_history(m);
	struct queue_event ev;
	size_t used;

	for (; queue_event_decode(plain, 0, &ev, &used) == 0; plain = slice_from(plain, used))
		visit(&ev, arg);
}

/* ---- Ends ---- */

static int note_end(
	struct queue_message *m, enum queue_event_type type, int64_t now, uint64_t *ticket)
{
	struct queue_event ev = {.type = (uint8_t)type, .time = now};
	int err = store_note_message(m, &ev, NULL, 0, ticket);

	if (err != 0)
		return err;
	m->p->is_ending = true;
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
	err = store_withdraw_unsent(m, now);
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
	err = store_withdraw_unsent(m, now);
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
	err = store_withdraw_unsent(m, now);
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
		o->weight + store_history(m).len > ORDER_WEIGHT) {
		o = store_order_new(s, type);
		store_order_put(s, o, false);
	}
	o->m[o->n++] = m;
	o->weight += store_history(m).len;
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
	struct queue_message *m = store_find(s, id);
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

		err = queue_record_read(seg, m->p->ref.offset, queue_segment_end(seg), true, &rec);
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
