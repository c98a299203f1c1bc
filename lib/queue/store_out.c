/* SPDX-License-Identifier: ISC */
#include <stdio.h>

#include "queue/store_private.h"
#include "util/err.h"
#include "util/mem.h"

/* What qmgr notes of recipients: hand-outs, what came back, results, doubt. */

/*
 * Percent of what the log takes between two syncs: new mail is read below 40 (store_journal.c),
 * jobs leave below this, the rest is for their results and ends.
 */
#define HAND_OUT_LOAD 50

bool store_has_rcpts(const struct queue_message *m, const uint32_t *rcpts, uint32_t n)
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
	       m->p->ref.offset >= m->p->seg->floor;
}

bool queue_store_may_hand_out(const struct queue_store *s)
{
	return !s->has_no_room && queue_log_load(&s->log) <= HAND_OUT_LOAD;
}

int queue_store_handout(struct queue_message *m, const uint32_t *rcpts, uint32_t n,
	enum queue_road road, int64_t now, uint64_t *wait)
{
	struct queue_store *s = m->p->store;
	struct queue_event ev = {
		.type = QUEUE_EV_HANDOUT, .time = now, .flags = QUEUE_EVENT_BY_ROAD(road)};
	bool fresh = true;
	uint64_t ticket;
	int err;

	*wait = 0;
	if (!queue_store_may_hand_out(s)) {
		/* Once: who tries again before it has come must not be woken by that. */
		if (!s->sync_wanted)
			queue_store_sync(s);
		return ERR_FULL;
	}
	if (m->state != QUEUE_M_LIVE || m->p->is_unloading || !store_has_rcpts(m, rcpts, n))
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

void queue_store_set_road(struct queue_message *m, uint32_t index, enum queue_road road)
{
	if (index < m->env.recipients)
		m->r[index].road = road;
}

int queue_store_send(struct queue_message *m, const uint32_t *rcpts, uint32_t n)
{
	struct queue_store *s = m->p->store;
	int err;

	if (!store_has_rcpts(m, rcpts, n) || m->state != QUEUE_M_LIVE)
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

/*
 * What was in doubt still is: the line that says so may not have been written (Q16). What the last
 * result said stands.
 */
static int note_unsent(struct queue_message *m, uint32_t i, bool was_tried, int64_t now)
{
	struct queue_event ev = {.type = QUEUE_EV_DEFERRED,
		.time = now,
		.due = m->r[i].due != 0 ? m->r[i].due : now,
		.flags = was_tried ? QUEUE_EVENT_BY_ROAD(m->r[i].road) : QUEUE_EVENT_UNTRIED};
	struct queue_event before = {0};
	uint64_t ticket;
	char reason[256] = "no result before";

	if (m->r[i].was_doubt) {
		if (queue_store_last(m, i, &before) && before.type == QUEUE_EV_IN_DOUBT)
			snprintf(reason, sizeof(reason), "%.*s", (int)before.text.len,
				before.text.p);
		ev = (struct queue_event){.type = QUEUE_EV_IN_DOUBT,
			.time = now,
			.text = slice_str(reason),
			.flags = ev.flags};
	}
	return store_note_message(m, &ev, &i, 1, &ticket);
}

int queue_store_withdraw(struct queue_message *m, const uint32_t *rcpts, uint32_t n, int64_t now)
{
	int err = 0;

	if (!store_has_rcpts(m, rcpts, n))
		return ERR_STATE;
	for (uint32_t i = 0; i < n; i++) {
		if (!m->r[rcpts[i]].is_unsent)
			return ERR_STATE;
	}
	for (uint32_t i = 0; i < n && err == 0; i++) {
		if (m->state != QUEUE_M_ENDED)
			err = note_unsent(m, rcpts[i], false, now);
		if (err == 0)
			no_longer_out(m, rcpts[i]);
	}
	store_try_remove(m);
	return err;
}

int queue_store_give_back(struct queue_message *m, uint32_t index, bool was_tried, int64_t now)
{
	int err = 0;

	if (!store_has_rcpts(m, &index, 1) || !m->r[index].is_out)
		return ERR_STATE;
	if (m->state != QUEUE_M_ENDED)
		err = note_unsent(m, index, was_tried, now);
	if (err == 0)
		no_longer_out(m, index);
	store_try_remove(m);
	return err;
}

/* Q17: what is noted and not sent comes back before hold or delete is acknowledged. */
int store_withdraw_unsent(struct queue_message *m, int64_t now)
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
	struct queue_event ev = {.type = (uint8_t)result->type,
		.time = now,
		.due = result->due,
		.reason = result->type == QUEUE_EV_DELIVERED ? result->how : 0,
		.flags = (uint8_t)((result->is_untried ? QUEUE_EVENT_UNTRIED : 0) |
				   (result->by_relay ? QUEUE_EVENT_RELAY : 0))};
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

	if (!store_has_rcpts(m, &index, 1))
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
	if (!store_has_rcpts(m, rcpts, n))
		return ERR_STATE;
	if (m->state != QUEUE_M_ENDED)
		err = store_note_by_road(m, &ev, rcpts, n, ticket);
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
