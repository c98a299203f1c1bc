/* SPDX-License-Identifier: ISC */
#include "net/loop.h"
#include "tls/tls_private.h"
#include "util/dict.h"
#include "util/mem.h"

enum { PER_KEY = 4 };

/* The sessions of one key, the oldest first. */
struct kept {
	TAILQ_ENTRY(kept) link; /* the one that is used the least first */
	char *key;
	size_t key_len, n;
	struct {
		SSL_SESSION *session;
		unsigned flags;
		int64_t until;
	} s[PER_KEY];
};

struct tls_cache {
	struct dict *keys;
	TAILQ_HEAD(, kept) order;
	int64_t lifetime;
	unsigned limit;
};

struct tls_cache *tls_cache_new(unsigned limit, int64_t lifetime)
{
	struct tls_cache *c = mem_alloc(sizeof(*c));

	c->keys = dict_new(limit, NULL);
	c->limit = limit;
	c->lifetime = lifetime > 0 ? lifetime : CLOCK_SEC * 3600;
	TAILQ_INIT(&c->order);
	return c;
}

/* Takes the i-th out; who calls owns it. */
static SSL_SESSION *take(struct kept *k, size_t i)
{
	SSL_SESSION *session = k->s[i].session;

	k->n--;
	memmove(&k->s[i], &k->s[i + 1], (k->n - i) * sizeof(k->s[0]));
	return session;
}

static void drop(struct tls_cache *c, struct kept *k)
{
	while (k->n > 0)
		SSL_SESSION_free(take(k, 0));
	TAILQ_REMOVE(&c->order, k, link);
	dict_remove(c->keys, slice_of(k->key, k->key_len));
	mem_free(k->key);
	mem_free(k);
}

void tls_cache_free(struct tls_cache **cp)
{
	struct tls_cache *c = *cp;
	struct kept *k;

	*cp = NULL;
	if (c == NULL)
		return;
	while ((k = TAILQ_FIRST(&c->order)) != NULL)
		drop(c, k);
	dict_free(&c->keys);
	mem_free(c);
}

static struct kept *get_or_add(struct tls_cache *c, struct slice key)
{
	struct kept *k = dict_get(c->keys, key);

	if (k != NULL) {
		TAILQ_REMOVE(&c->order, k, link);
	} else {
		if (dict_count(c->keys) >= c->limit)
			drop(c, TAILQ_FIRST(&c->order));
		k = mem_alloc(sizeof(*k));
		k->key = mem_dup(key.p, key.len);
		k->key_len = key.len;
		dict_set(c->keys, key, k);
	}
	TAILQ_INSERT_TAIL(&c->order, k, link);
	return k;
}

void tls_cache_add(struct tls_cache *c, struct slice key, SSL_SESSION *session, unsigned flags)
{
	int64_t hint = (int64_t)SSL_SESSION_get_ticket_lifetime_hint(session) * CLOCK_SEC;
	struct kept *k;

	if (!SSL_SESSION_is_resumable(session)) {
		SSL_SESSION_free(session);
		return;
	}
	k = get_or_add(c, key);
	/* One of TLS 1.2 can be used again and again: a single one is enough. */
	if (SSL_SESSION_get_protocol_version(session) < TLS1_3_VERSION || k->n == PER_KEY)
		while (k->n > 0 && (k->n == PER_KEY || SSL_SESSION_get_protocol_version(session) <
							       TLS1_3_VERSION))
			SSL_SESSION_free(take(k, 0));
	k->s[k->n].session = session;
	k->s[k->n].flags = flags;
	k->s[k->n].until = loop_now() + (hint > 0 && hint < c->lifetime ? hint : c->lifetime);
	k->n++;
}

SSL_SESSION *tls_cache_get(struct tls_cache *c, struct slice key, unsigned *flags)
{
	struct kept *k = dict_get(c->keys, key);
	SSL_SESSION *session;

	*flags = 0;
	if (k == NULL)
		return NULL;
	while (k->n > 0 && (k->s[k->n - 1].until <= loop_now() ||
				   !SSL_SESSION_is_resumable(k->s[k->n - 1].session)))
		SSL_SESSION_free(take(k, k->n - 1));
	if (k->n == 0) {
		drop(c, k);
		return NULL;
	}
	*flags = k->s[k->n - 1].flags;
	if (SSL_SESSION_get_protocol_version(k->s[k->n - 1].session) >= TLS1_3_VERSION) {
		session = take(k, k->n - 1);
		if (k->n == 0)
			drop(c, k);
		return session;
	}
	session = k->s[k->n - 1].session;
	SSL_SESSION_up_ref(session);
	TAILQ_REMOVE(&c->order, k, link);
	TAILQ_INSERT_TAIL(&c->order, k, link);
	return session;
}

size_t tls_cache_count(const struct tls_cache *c)
{
	return dict_count(c->keys);
}
