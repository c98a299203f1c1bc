/* SPDX-License-Identifier: ISC */
#include "qmgr/content.h"

#include "qmgr/qmgr.h"

struct kept {
	char id[QUEUE_ID_MAX + 1]; /* empty: none */
	struct buf content;
	uint64_t used;
};

static struct kept all[CONTENT_KEPT];
static size_t bytes;
static uint64_t uses;

static void forget(struct kept *k)
{
	bytes -= buf_slice(&k->content).len;
	buf_clear(&k->content);
	k->id[0] = '\0';
	k->used = 0;
}

/* An empty place, else the one that was used longest ago. */
static struct kept *oldest(void)
{
	struct kept *old = &all[0];

	for (size_t i = 1; i < CONTENT_KEPT; i++)
		if (all[i].used < old->used)
			old = &all[i];
	return old;
}

/* The newest stays, however large it is. */
static void make_room(const struct kept *newest)
{
	while (bytes > CONTENT_BYTES) {
		struct kept *old = NULL;

		for (size_t i = 0; i < CONTENT_KEPT; i++)
			if (&all[i] != newest && all[i].id[0] != '\0' &&
				(old == NULL || all[i].used < old->used))
				old = &all[i];
		if (old == NULL)
			return;
		forget(old);
	}
}

static struct kept *find(const char *id)
{
	for (size_t i = 0; i < CONTENT_KEPT; i++)
		if (strcmp(all[i].id, id) == 0)
			return &all[i];
	return NULL;
}

int content_read(struct queue_message *m, struct slice *content)
{
	struct kept *k = find(m->id);
	int err = 0;

	*content = SLICE_NONE;
	if (k == NULL) {
		k = oldest();
		forget(k);
		buf_init(&k->content, QUEUE_RECORD_MAX);
		err = queue_store_content(m, &k->content);
		bytes += buf_slice(&k->content).len;
		if (err != 0) {
			forget(k);
			return err;
		}
		strlcpy(k->id, m->id, sizeof(k->id));
		make_room(k);
	}
	k->used = ++uses;
	*content = buf_slice(&k->content);
	return 0;
}
