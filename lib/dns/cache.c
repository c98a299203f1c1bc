/* SPDX-License-Identifier: ISC */
#include "dns/cache.h"

#include <sys/queue.h>

#include "util/clock.h"
#include "util/dict.h"
#include "util/err.h"
#include "util/mem.h"
#include "util/wire.h"

struct entry {
	TAILQ_ENTRY(entry) link; /* least recently used first */
	struct slice key;        /* owned */
	struct slice answer;     /* owned */
	int64_t until;
};

TAILQ_HEAD(entry_list, entry);

struct dns_cache {
	struct dict *by_key;
	struct entry_list order;
	size_t limit, bytes;
};

enum { KEY_MAX = DNS_NAME_MAX + 2 };

static struct slice key_of(const struct dns_question *q, char key[static KEY_MAX])
{
	size_t len = strlen(q->name);
	wire_put_u16(key, (uint16_t)q->type);
	memcpy(key + 2, q->name, len);
	return slice_of(key, len + 2);
}

static void entry_free(void *value)
{
	struct entry *e = value;
	mem_free((void *)(uintptr_t)e->key.p);
	mem_free((void *)(uintptr_t)e->answer.p);
	mem_free(e);
}

static size_t entry_size(const struct entry *e)
{
	return sizeof(*e) + e->key.len + e->answer.len;
}

static void entry_remove(struct dns_cache *c, struct entry *e)
{
	TAILQ_REMOVE(&c->order, e, link);
	(void)dict_take(c->by_key, e->key);
	c->bytes -= entry_size(e);
	entry_free(e);
}

struct dns_cache *dns_cache_new(size_t entries)
{
	struct dns_cache *c = mem_alloc(sizeof(*c));
	c->by_key = dict_new(entries, entry_free);
	c->limit = entries;
	TAILQ_INIT(&c->order);
	return c;
}

void dns_cache_free(struct dns_cache **c)
{
	if (*c != NULL) {
		dict_free(&(*c)->by_key);
		mem_free(*c);
		*c = NULL;
	}
}

int dns_cache_get(struct dns_cache *c, const struct dns_question *q, int64_t now, struct buf *out)
{
	char key[KEY_MAX];
	buf_reset(out);
	struct entry *e = dict_get(c->by_key, key_of(q, key));
	if (e == NULL) {
		return ERR_NOT_FOUND;
	}
	if (e->until <= now) {
		entry_remove(c, e);
		return ERR_NOT_FOUND;
	}
	TAILQ_REMOVE(&c->order, e, link);
	TAILQ_INSERT_TAIL(&c->order, e, link);
	int r = buf_add_slice(out, e->answer);
	/* Rounded up, so that what is still kept never says 0. */
	dns_answer_set_ttl(out, (uint32_t)((e->until - now + CLOCK_SEC - 1) / CLOCK_SEC));
	return r;
}

/* False: it is too large to be kept at all. */
static bool make_room(struct dns_cache *c, size_t size)
{
	size_t most = c->limit * DNS_CACHE_ENTRY_BYTES;
	while (!TAILQ_EMPTY(&c->order) &&
		(dict_count(c->by_key) >= c->limit || c->bytes + size > most)) {
		entry_remove(c, TAILQ_FIRST(&c->order));
	}
	return c->limit > 0 && size <= most;
}

void dns_cache_add(
	struct dns_cache *c, const struct dns_question *q, struct slice answer, int64_t now)
{
	char bytes[KEY_MAX];
	struct slice key = key_of(q, bytes);
	struct dns_answer a;
	struct entry *old = dict_get(c->by_key, key);
	if (old != NULL) {
		entry_remove(c, old);
	}
	if (dns_answer_parse(answer, &a) != 0 || a.status == DNS_TEMP || a.ttl == 0 ||
		!make_room(c, sizeof(struct entry) + key.len + answer.len)) {
		return;
	}
	uint32_t ttl = a.ttl < DNS_TTL_MAX ? a.ttl : DNS_TTL_MAX;
	struct entry *e = mem_alloc(sizeof(*e));
	e->key = slice_of(mem_dup(key.p, key.len), key.len);
	e->answer = slice_of(mem_dup(answer.p, answer.len), answer.len);
	e->until = now + ttl * CLOCK_SEC;
	if (dict_set(c->by_key, key, e) != 0) {
		entry_free(e);
		return;
	}
	TAILQ_INSERT_TAIL(&c->order, e, link);
	c->bytes += entry_size(e);
}

void dns_cache_empty(struct dns_cache *c)
{
	while (!TAILQ_EMPTY(&c->order)) {
		entry_remove(c, TAILQ_FIRST(&c->order));
	}
}

size_t dns_cache_count(const struct dns_cache *c)
{
	return dict_count(c->by_key);
}

size_t dns_cache_bytes(const struct dns_cache *c)
{
	return c->bytes;
}
