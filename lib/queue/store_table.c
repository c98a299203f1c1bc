/* SPDX-License-Identifier: ISC */
#include "queue/store_private.h"
#include "util/hash.h"
#include "util/mem.h"

/* Loaded messages by their ids: chains through the messages themselves, of which there are many. */
#define FIRST 64 /* a power of two, as are all sizes */

static struct queue_message **slot_of(const struct stable *t, struct slice id)
{
	return &t->slots[hash_bytes(id) & (t->size - 1)];
}

struct queue_message *store_find(const struct queue_store *s, struct slice id)
{
	struct queue_message *m = s->messages.size > 0 ? *slot_of(&s->messages, id) : NULL;

	while (m != NULL && !slice_eq_str(id, m->id))
		m = m->p->next;
	return m;
}

static void grow(struct stable *t)
{
	struct stable old = *t;
	struct queue_message *m, *next;

	t->size = old.size == 0 ? FIRST : old.size * 2;
	t->slots = mem_array(t->size, sizeof(*t->slots));
	for (size_t i = 0; i < old.size; i++) {
		for (m = old.slots[i]; m != NULL; m = next) {
			struct queue_message **slot = slot_of(t, slice_str(m->id));

			next = m->p->next;
			m->p->next = *slot;
			*slot = m;
		}
	}
	mem_free(old.slots);
}

void store_table_add(struct queue_store *s, struct queue_message *m)
{
	struct queue_message **slot;

	if (s->messages.count >= s->messages.size)
		grow(&s->messages);
	s->messages.count++;
	slot = slot_of(&s->messages, slice_str(m->id));
	m->p->next = *slot;
	*slot = m;
}

void store_table_remove(struct queue_store *s, struct queue_message *m)
{
	struct queue_message **at = slot_of(&s->messages, slice_str(m->id));

	while (*at != m)
		at = &(*at)->p->next;
	*at = m->p->next;
	s->messages.count--;
}

void store_table_walk(
	struct queue_store *s, bool (*visit)(struct queue_message *m, void *arg), void *arg)
{
	struct queue_message *m, *next;

	for (size_t i = 0; i < s->messages.size; i++) {
		for (m = s->messages.slots[i]; m != NULL; m = next) {
			next = m->p->next;
			if (!visit(m, arg))
				return;
		}
	}
}
