/* SPDX-License-Identifier: ISC */
#include <stdarg.h>
#include <stdio.h>

#include "queue/store_private.h"
#include "util/err.h"
#include "util/mem.h"

/* STATE data: message state u8, flags u8, then a recipient: state u8 (bit 7: told of a delay, bit
 * 6: traced, bits 5 and 4: the postmaster has a copy of the bounce, of the notice of delay),
 * attempts u16, due u64, and with the flag LONG relayed u16, doubts u8 (the two highest bits: enum
 * queue_road). The event's offset is the first recipient's index. */
#define STATE_HEAD 2
#define STATE_RCPT 11
#define STATE_RCPT_LONG 14
#define STATE_CHUNK 4000
#define STATE_EXPIRE 1u
#define STATE_CORRUPT 2u
#define STATE_TOLD 0x80u
#define STATE_TRACED 0x40u
#define STATE_COPIED 0x20u
#define STATE_DELAY_COPIED 0x10u
#define STATE_BITS 0xF0u
#define STATE_ROAD 6 /* bits below it */
#define STATE_DOUBTS ((1u << STATE_ROAD) - 1)
#define STATE_LONG 4u

void store_problem(struct queue_store *s, bool is_error, const char *fmt, ...)
{
	char line[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	s->calls->problem(s->arg, is_error, line);
}

int store_note(struct queue_store *s, struct queue_event *ev, uint64_t *ticket)
{
	int err;

	if (ev->time == 0)
		ev->time = s->now;
	err = queue_log_note(&s->log, ev, ticket);
	if (err == ERR_FULL) {
		bool is_new = !s->is_full || (!s->sync_wanted && !s->sync_ordered);

		s->is_full = s->sync_wanted = s->has_no_room = true;
		/* Once: who tries again before the sync has come must not be woken by that. */
		if (is_new)
			s->calls->order(s->arg);
	}
	return err;
}

static void set_last(struct queue_message *m, uint32_t i, const struct queue_event *ev)
{
	struct queue_event one = *ev;
	struct buf b = BUF_INIT(QUEUE_EVENT_MAX);

	if (m->p->last == NULL)
		m->p->last = mem_array(m->env.recipients, sizeof(*m->p->last));
	one.rcpts = SLICE_NONE;
	queue_event_encode(&b, 0, &one);
	mem_free(m->p->last[i]);
	m->p->last[i] = mem_dup(buf_str(&b), b.len);
	buf_clear(&b);
}

bool store_names_child(enum queue_event_type type)
{
	return type == QUEUE_EV_NOTIFIED || type == QUEUE_EV_PASSED ||
	       type == QUEUE_EV_DELAY_TOLD || type == QUEUE_EV_TRACED || type == QUEUE_EV_COPIED;
}

/* Somebody may want to know what became of it. */
static bool is_worth_telling(const struct queue_message *m, uint32_t i)
{
	struct queue_recipient to;

	if (m->r[i].is_told || (m->env.flags & (QUEUE_FLAG_TRACE | QUEUE_FLAGS_BY)))
		return true;
	queue_store_recipient(m, i, &to);
	return (to.notify & QUEUE_NOTIFY_SUCCESS) != 0;
}

static void count_relayed(struct queue_rstatus *r, unsigned n)
{
	r->relayed = r->relayed > UINT16_MAX - n ? UINT16_MAX : (uint16_t)(r->relayed + n);
}

/* An attempt in doubt counts as one, whether or not its hand-out is known. */
static void count_attempt(struct queue_rstatus *r, const struct queue_event *ev)
{
	bool is_untried = (ev->flags & QUEUE_EVENT_UNTRIED) != 0;

	if (is_untried && r->state == QUEUE_R_OUT && r->attempts > 0)
		r->attempts--;
	if (is_untried)
		return;
	if ((ev->type == QUEUE_EV_HANDOUT ||
		    (ev->type == QUEUE_EV_IN_DOUBT && r->state == QUEUE_R_WAIT)) &&
		r->attempts < UINT16_MAX)
		r->attempts++;
	if (ev->type == QUEUE_EV_IN_DOUBT && QUEUE_EVENT_ROAD(ev->flags) == QUEUE_ROAD_UNKNOWN)
		r->doubts += r->doubts < STATE_DOUBTS;
	else if (ev->type == QUEUE_EV_IN_DOUBT && ev->flags & QUEUE_EVENT_RELAY)
		count_relayed(r, 1);
	if (ev->type != QUEUE_EV_DEFERRED)
		return;
	/* What this attempt went through, those of an unknown road before it did too. */
	if (ev->flags & QUEUE_EVENT_RELAY)
		count_relayed(r, r->doubts + 1u);
	r->doubts = 0;
}

static void apply_one(struct queue_message *m, uint32_t i, const struct queue_event *ev)
{
	struct queue_rstatus *r = &m->r[i];
	int next = queue_rstate_next(r->state, ev->type);

	if (r->is_asked && store_names_child(ev->type)) {
		r->is_asked = false;
		m->p->asked--;
	}
	r->is_told |= ev->type == QUEUE_EV_DELAY_TOLD;
	r->is_traced |= ev->type == QUEUE_EV_TRACED;
	r->is_copied |= ev->type == QUEUE_EV_COPIED && ev->reason == QUEUE_REASON_BOUNCE_COPY;
	r->is_delay_copied |= ev->type == QUEUE_EV_COPIED && ev->reason == QUEUE_REASON_DELAY_COPY;
	/* A result that survived without its hand-out counts all the same. */
	if (next == -1)
		return;
	count_attempt(r, ev);
	r->was_doubt = ev->type == QUEUE_EV_HANDOUT && r->state == QUEUE_R_DOUBT;
	r->road = ev->type == QUEUE_EV_HANDOUT ? QUEUE_EVENT_ROAD(ev->flags) : QUEUE_ROAD_UNKNOWN;
	r->state = (uint8_t)next;
	if (ev->type == QUEUE_EV_DELIVERED && ev->reason == QUEUE_HOW_TAKEN)
		r->state = QUEUE_R_RETURNED;
	if (ev->type == QUEUE_EV_DEFERRED)
		r->due = ev->due;
	if ((ev->type == QUEUE_EV_DEFERRED && ev->text.len > 0) || ev->type == QUEUE_EV_FAILED ||
		ev->type == QUEUE_EV_EXPIRED || ev->type == QUEUE_EV_IN_DOUBT ||
		(ev->type == QUEUE_EV_DELIVERED && is_worth_telling(m, i)))
		set_last(m, i, ev);
}

static void apply_state(struct queue_message *m, const struct queue_event *ev)
{
	struct reader r = reader_of(ev->data);
	uint8_t state = reader_u8(&r), flags = reader_u8(&r);

	if (r.err == 0 && state < QUEUE_M_STATES)
		m->state = state;
	m->expire_now = flags & STATE_EXPIRE;
	m->p->is_corrupt = flags & STATE_CORRUPT;
	for (uint64_t i = ev->offset;
		r.in.len >= (flags & STATE_LONG ? STATE_RCPT_LONG : STATE_RCPT) &&
		i < m->env.recipients;
		i++) {
		uint8_t one = reader_u8(&r);

		m->r[i].is_told = one & STATE_TOLD;
		m->r[i].is_traced = one & STATE_TRACED;
		m->r[i].is_copied = one & STATE_COPIED;
		m->r[i].is_delay_copied = one & STATE_DELAY_COPIED;
		one &= (uint8_t)~STATE_BITS;
		if (one < QUEUE_R_STATES)
			m->r[i].state = one;
		m->r[i].attempts = reader_u16(&r);
		m->r[i].due = (int64_t)reader_u64(&r);
		m->r[i].relayed = flags & STATE_LONG ? reader_u16(&r) : 0;
		one = flags & STATE_LONG ? reader_u8(&r) : 0;
		m->r[i].doubts = one & STATE_DOUBTS;
		m->r[i].road = one >> STATE_ROAD;
	}
}

static void apply_all(struct queue_message *m, const struct queue_event *ev)
{
	for (uint32_t i = 0; i < m->env.recipients; i++)
		apply_one(m, i, ev);
}

void store_apply(struct queue_message *m, const struct queue_event *ev)
{
	int next = queue_mstate_next(m->state, ev->type);

	if (next != -1)
		m->state = (uint8_t)next;
	switch (ev->type) {
	case QUEUE_EV_DROPPED: m->state = QUEUE_M_ENDED; break;
	case QUEUE_EV_EXPIRE_NOW: m->expire_now = true; break;
	case QUEUE_EV_STATE: apply_state(m, ev); break;
	case QUEUE_EV_HELD: m->p->is_corrupt = ev->place == QUEUE_PLACE_CORRUPT; break;
	case QUEUE_EV_RELEASED: m->p->is_corrupt = false; break;
	case QUEUE_EV_DELETED: apply_all(m, ev); break;
	default:
		if (queue_event_rcpt_count(ev) == 0 && ev->type == QUEUE_EV_IN_DOUBT)
			apply_all(m, ev);
		for (uint32_t i = 0; i < queue_event_rcpt_count(ev); i++) {
			if (queue_event_rcpt(ev, i) < m->env.recipients)
				apply_one(m, queue_event_rcpt(ev, i), ev);
		}
	}
}

static int note_chunk(struct queue_message *m, struct queue_event *ev, uint64_t *ticket)
{
	struct queue_store *s = m->p->store;
	int err;

	ev->id = slice_str(m->id);
	ev->no = m->p->no + 1;
	err = store_note(s, ev, ticket);
	if (err != 0)
		return err;
	m->p->no++;
	if (m->p->first_piece == 0)
		m->p->first_piece = s->log.slots[s->log.current].number;
	store_history_add(m, ev);
	store_apply(m, ev);
	return 0;
}

int store_note_message(struct queue_message *m, struct queue_event *ev, const uint32_t *rcpts,
	uint32_t n, uint64_t *ticket)
{
	char *list;
	int err = 0;

	*ticket = 0;
	if (n == 0)
		return note_chunk(m, ev, ticket);
	list = mem_array(n, 4);
	for (uint32_t i = 0; i < n; i++)
		wire_put_u32(list + (size_t)i * 4, rcpts[i]);
	for (uint32_t at = 0; at < n && err == 0; at += QUEUE_EVENT_RCPTS) {
		uint32_t part = n - at < QUEUE_EVENT_RCPTS ? n - at : QUEUE_EVENT_RCPTS;

		ev->rcpts = slice_of(list + (size_t)at * 4, (size_t)part * 4);
		err = note_chunk(m, ev, ticket);
	}
	mem_free(list);
	return err;
}

int store_note_by_road(struct queue_message *m, struct queue_event *ev, const uint32_t *rcpts,
	uint32_t n, uint64_t *ticket)
{
	uint32_t *list = mem_array(n, sizeof(*list));
	int err = 0;

	/* Unknown first: what was noted is out no longer, and of no road. */
	for (unsigned road = QUEUE_ROAD_UNKNOWN; err == 0 && road <= QUEUE_ROAD_BOTH; road++) {
		uint32_t same = 0;

		for (uint32_t i = 0; i < n; i++)
			if (m->r[rcpts[i]].road == road)
				list[same++] = rcpts[i];
		ev->flags = QUEUE_EVENT_BY_ROAD(road);
		if (same > 0)
			err = store_note_message(m, ev, list, same, ticket);
	}
	mem_free(list);
	return err;
}

static uint8_t state_of(const struct queue_rstatus *r)
{
	return (uint8_t)(r->state | (r->is_told ? STATE_TOLD : 0) |
			 (r->is_traced ? STATE_TRACED : 0) | (r->is_copied ? STATE_COPIED : 0) |
			 (r->is_delay_copied ? STATE_DELAY_COPIED : 0));
}

static int note_state(struct queue_message *m)
{
	int err = 0;

	for (uint32_t at = 0; err == 0 && (at == 0 || at < m->env.recipients); at += STATE_CHUNK) {
		struct buf data = BUF_INIT(QUEUE_EVENT_MAX);
		struct queue_event ev = {.type = QUEUE_EV_STATE, .offset = at};
		uint64_t ticket;

		wire_u8(&data, m->state);
		wire_u8(&data, (uint8_t)((m->expire_now ? STATE_EXPIRE : 0) |
					 (m->p->is_corrupt ? STATE_CORRUPT : 0) | STATE_LONG));
		for (uint32_t i = at; i < m->env.recipients && i < at + STATE_CHUNK; i++) {
			wire_u8(&data, state_of(&m->r[i]));
			wire_u16(&data, m->r[i].attempts);
			wire_u64(&data, (uint64_t)m->r[i].due);
			wire_u16(&data, m->r[i].relayed);
			wire_u8(&data, (uint8_t)(m->r[i].doubts | m->r[i].road << STATE_ROAD));
		}
		ev.data = buf_slice(&data);
		err = note_chunk(m, &ev, &ticket);
		buf_clear(&data);
	}
	return err;
}

int store_note_state(struct queue_message *m)
{
	m->p->first_piece = 0;
	return note_state(m);
}

void queue_store_shift(struct queue_message *m, int64_t change)
{
	bool waits = false;

	for (uint32_t i = 0; i < m->env.recipients; i++) {
		struct queue_rstatus *r = &m->r[i];

		/* One that is out may come back untried. */
		if (r->due == 0 || (r->state != QUEUE_R_WAIT && r->state != QUEUE_R_OUT &&
					   r->state != QUEUE_R_DOUBT))
			continue;
		r->due = r->due + change > 0 ? r->due + change : 1;
		waits = true;
	}
	/* Its file has the old times; without room in the log one of them may be wrong later. */
	if (waits && m->state != QUEUE_M_ENDED && !m->p->is_unloading)
		(void)note_state(m);
}

static bool is_claimed(const struct queue_message *m, uint32_t i)
{
	char key[64];
	int len = snprintf(key, sizeof(key), "%s %u", m->id, (unsigned)i);

	return dict_get(m->p->store->claims, slice_of(key, (size_t)len)) != NULL;
}

int store_note_doubt(struct queue_message *m, bool above_floor)
{
	struct queue_event ev = {
		.type = QUEUE_EV_IN_DOUBT, .text = SLICE_LIT("no result before the last stop")};
	uint32_t *list, n = 0;
	uint64_t ticket;
	int err = 0;

	if (m->state == QUEUE_M_ENDED)
		return 0;
	list = mem_array(m->env.recipients + 1, sizeof(*list));
	for (uint32_t i = 0; i < m->env.recipients; i++) {
		struct queue_rstatus *r = &m->r[i];
		bool open = r->state == QUEUE_R_OUT || (above_floor && r->state == QUEUE_R_WAIT &&
							       r->attempts == 0 && r->due == 0);

		if (open && is_claimed(m, i)) {
			/* The worker that has it will report (Q5). */
			r->state = QUEUE_R_OUT;
			r->is_out = true;
			m->p->out++;
		} else if (open) {
			list[n++] = i;
		}
	}
	if (n > 0)
		err = store_note_by_road(m, &ev, list, n, &ticket);
	mem_free(list);
	return err;
}
