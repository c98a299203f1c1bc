/* SPDX-License-Identifier: ISC */
#include "queue/store_private.h"
#include "util/mem.h"

/*
 * Orders for the keeper: an order is owned by the list that it stands in (urgent, ready, held),
 * then by the list of those that were sent, until store_reply.c has its answer.
 */

struct sorder *store_order_new(struct queue_store *s, enum queue_order type)
{
	struct sorder *o = mem_alloc(sizeof(*o));

	o->type = (uint8_t)type;
	o->bytes = BUF_INIT(QUEUE_REPLY_MAX);
	o->slot = -1;
	wire_u8(&o->bytes, o->type);
	return o;
}

void store_order_put(struct queue_store *s, struct sorder *o, bool is_urgent)
{
	if (is_urgent && o->type == QUEUE_ORDER_SYNC)
		TAILQ_INSERT_HEAD(&s->urgent, o, entry);
	else if (is_urgent)
		TAILQ_INSERT_TAIL(&s->urgent, o, entry);
	else
		TAILQ_INSERT_TAIL(&s->ready, o, entry);
	s->calls->order(s->arg);
}

void store_order_free(struct sorder *o)
{
	buf_clear(&o->bytes);
	mem_free(o);
}

static void put_id(struct buf *b, const struct queue_message *m)
{
	wire_counted(b, slice_str(m->id));
}

static bool has_body(const struct queue_message *m)
{
	return m->env.flags & QUEUE_FLAG_BODY_FILE;
}

static int64_t due_of(const struct queue_message *m)
{
	int64_t due = 0;

	if (m->p->due != 0)
		return m->p->due;
	for (uint32_t i = 0; i < m->env.recipients; i++) {
		if (m->r[i].state == QUEUE_R_WAIT && (due == 0 || m->r[i].due < due))
			due = m->r[i].due;
	}
	return due > 0 ? due : m->p->store->now;
}

static void put_events(struct buf *b, struct queue_message *m)
{
	if (m->p->history != NULL)
		m->p->history->sent = m->p->history->events.len;
	wire_counted(b, store_history(m));
}

static uint8_t target_of(const struct queue_message *m)
{
	if (m->p->is_corrupt)
		return QUEUE_PLACE_CORRUPT;
	return m->state == QUEUE_M_HELD ? QUEUE_PLACE_HOLD : QUEUE_PLACE_DEFERRED;
}

/* Orders about messages are written when they leave, so that they carry all that is noted. */
static void build(struct sorder *o)
{
	struct buf *b = &o->bytes;

	if (o->is_written)
		return;
	if (o->type == QUEUE_ORDER_MOVE || o->type == QUEUE_ORDER_RENAME ||
		o->type == QUEUE_ORDER_UNLINK)
		wire_u32(b, o->n);
	for (uint32_t i = 0; i < o->n; i++) {
		struct queue_message *m = o->m[i];

		switch (o->type) {
		case QUEUE_ORDER_MOVE:
			m->p->target = target_of(m);
			put_id(b, m);
			wire_u8(b, m->p->target);
			wire_u64(b, (uint64_t)due_of(m));
			queue_put_ref(b, &m->p->ref);
			wire_u8(b, has_body(m));
			put_events(b, m);
			break;
		case QUEUE_ORDER_RENAME:
			m->p->target = target_of(m);
			put_id(b, m);
			wire_u8(b, m->place);
			wire_u8(b, m->p->target);
			wire_u8(b, has_body(m));
			wire_u64(b, (uint64_t)due_of(m));
			put_events(b, m);
			break;
		case QUEUE_ORDER_UNLINK:
			put_id(b, m);
			wire_u8(b, has_body(m));
			break;
		case QUEUE_ORDER_APPEND:
			put_id(b, m);
			wire_u8(b, m->place);
			wire_u64(b, (uint64_t)due_of(m));
			put_events(b, m);
			break;
		case QUEUE_ORDER_WARM:
			if (o->for_content) {
				wire_u32(b, m->p->ref.segment);
				wire_u64(b, m->p->ref.offset);
				wire_u32(b, m->p->ref.length + QUEUE_BLOCK);
			}
			break;
		default: break;
		}
	}
	if (o->type == QUEUE_ORDER_READ) {
		wire_counted(b, slice_str(o->id));
		wire_u8(b, o->place);
		wire_u8(b, o->for_content);
	}
}

/*
 * Files of what has ended go when no retry is under way, or when there are too many of them: a
 * removal takes the disk longer than all else that a retry needs. A stop leaves them to the next
 * start, which finds their ends in the log (Q3).
 */
static struct sorder *order_unlink(struct queue_store *s)
{
	bool many = s->to_unlink_n >= QUEUE_ENDED_LIMIT;
	struct queue_store_private *p;
	struct sorder *o;

	if (s->to_unlink_n == 0 || s->is_stopping ||
		(!many && (s->sent_n > 0 || s->mono < s->unlink_at)))
		return NULL;
	o = store_order_new(s, QUEUE_ORDER_UNLINK);
	while (o->n < QUEUE_ORDER_ITEMS && (p = TAILQ_FIRST(&s->to_unlink)) != NULL) {
		TAILQ_REMOVE(&s->to_unlink, p, to_unlink);
		p->is_to_unlink = false;
		s->to_unlink_n--;
		o->m[o->n++] = p->m;
	}
	return o;
}

static struct sorder *next_order(struct queue_store *s)
{
	struct sorder *o = TAILQ_FIRST(&s->urgent);

	if (o != NULL) {
		TAILQ_REMOVE(&s->urgent, o, entry);
		return o;
	}
	o = TAILQ_FIRST(&s->ready);
	if (o == NULL || s->to_unlink_n >= QUEUE_ENDED_LIMIT) {
		struct sorder *unlink = order_unlink(s);

		if (unlink != NULL)
			return unlink;
	}
	if (o != NULL)
		TAILQ_REMOVE(&s->ready, o, entry);
	return o;
}

bool queue_store_keep(struct queue_store *s, struct slice bytes, bool must)
{
	struct sorder *o;

	if (s->is_keeping && !must)
		return false;
	o = store_order_new(s, QUEUE_ORDER_KEEP);
	wire_counted(&o->bytes, bytes);
	o->is_written = s->is_keeping = true;
	store_order_put(s, o, false);
	return true;
}

bool queue_store_order(struct queue_store *s, struct buf *out)
{
	struct sorder *o;

	buf_reset(out);
	o = s->sent_n < QUEUE_ORDERS_SENT ? next_order(s) : NULL;
	if (o == NULL)
		return false;
	/* What an order may tell of is in the page cache before it. */
	queue_log_flush(&s->log);
	build(o);
	TAILQ_INSERT_TAIL(&s->sent, o, entry);
	s->sent_n++;
	buf_add_slice(out, buf_slice(&o->bytes));
	buf_clear(&o->bytes);
	return true;
}
