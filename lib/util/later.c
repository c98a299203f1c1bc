/* SPDX-License-Identifier: ISC */
#include "util/later.h"

#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"

struct later_answer {
	struct later_answer *next;
	struct later *later;
	const void *source;
	void (*cancel)(void *arg);
	void *arg;
	bool done;
	int result;
	char *value; /* owned */
	size_t value_len;
	struct slice key; /* in bytes */
	char bytes[];
};

void later_init(struct later *l, size_t limit, void (*wake)(void *arg), void *arg)
{
	*l = (struct later){.limit = limit, .wake = wake, .arg = arg};
}

void later_clear(struct later *l)
{
	struct later_answer *a = l->first, *next = NULL;

	/* Emptied first: a cancel that looks here again finds nothing half freed. */
	l->first = NULL;
	l->count = l->open = 0;
	for (; a != NULL; a = next) {
		next = a->next;
		if (!a->done && a->cancel != NULL)
			a->cancel(a->arg);
		mem_free(a->value);
		mem_free(a);
	}
}

struct later_answer *later_find(struct later *l, const void *source, struct slice key)
{
	if (l == NULL)
		return NULL;
	for (struct later_answer *a = l->first; a != NULL; a = a->next)
		if (a->source == source && slice_eq(a->key, key))
			return a;
	return NULL;
}

struct later_answer *later_add(
	struct later *l, const void *source, struct slice key, void (*cancel)(void *arg), void *arg)
{
	struct later_answer *a = NULL;

	if (l == NULL || l->count >= l->limit)
		return NULL;
	a = mem_alloc(sizeof(*a) + key.len);
	if (key.len > 0)
		memcpy(a->bytes, key.p, key.len);
	a->key = slice_of(a->bytes, key.len);
	a->later = l;
	a->source = source;
	a->cancel = cancel;
	a->arg = arg;
	a->next = l->first;
	l->first = a;
	l->count++;
	l->open++;
	return a;
}

bool later_is_done(const struct later_answer *a)
{
	return a->done;
}

int later_result(const struct later_answer *a, struct slice *value)
{
	*value = slice_of(a->value, a->value_len);
	return a->done ? a->result : ERR_LATER;
}

void later_done(struct later_answer *a, int result, struct slice value)
{
	struct later *l = a->later;

	if (a->done)
		log_panic("later_done: answered twice");
	a->value = mem_dup(value.p, value.len);
	a->value_len = value.len;
	a->result = result;
	a->done = true;
	l->open--;
	/* The last thing: wake may clear l, and a with it, or free what holds l. */
	if (l->wake != NULL)
		l->wake(l->arg);
}
