/* SPDX-License-Identifier: ISC */
#include "vault/sni.h"

#include "map/map.h"
#include "net/loop.h"
#include "util/base64.h"
#include "util/dict.h"
#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"

enum { TABLES_MAX = 100, INDEX_MAX = 1000000, WHY = 8192 };

/* A key that is ready. */
struct ready {
	TAILQ_ENTRY(ready) next; /* the least lately used first */
	struct pem_pair *pair;
	int64_t until; /* of a table that was replaced since */
};

struct sni {
	LIST_ENTRY(sni) next;
	char *text;
	struct map *maps[TABLES_MAX];
	size_t maps_n;
	unsigned version; /* of all maps, when keys and index were made */
	TAILQ_HEAD(ready_list, ready) ready;
	size_t ready_n;
	struct dict *keys;  /* id → struct ready */
	struct dict *index; /* id → key of a table; NULL: not made */
};

static LIST_HEAD(, sni) all = LIST_HEAD_INITIALIZER(all);

static void open_map(struct slice spec, void *arg)
{
	struct sni *s = arg;
	struct buf why = BUF_INIT(WHY);
	char *text = slice_dup(spec);

	if (s->maps_n == TABLES_MAX || map_open(text, &why, &s->maps[s->maps_n]) != 0)
		log_fatal("tls_server_sni_maps: %s: %s", text, buf_str(&why));
	s->maps_n++;
	mem_free(text);
	buf_clear(&why);
}

struct sni *sni_open(struct slice maps)
{
	struct sni *s = NULL;

	LIST_FOREACH(s, &all, next)
	if (slice_eq_str(maps, s->text))
		return s;
	s = mem_alloc(sizeof(*s));
	s->text = slice_dup(maps);
	s->keys = dict_new(SNI_KEYS_MAX + 1, NULL);
	TAILQ_INIT(&s->ready);
	map_walk_specs(s->text, open_map, s);
	LIST_INSERT_HEAD(&all, s, next);
	return s;
}

/* ---- keys that are ready ---- */

static void drop(struct sni *s, struct ready *r)
{
	TAILQ_REMOVE(&s->ready, r, next);
	s->ready_n--;
	(void)dict_remove(s->keys, slice_of(r->pair->id, PEM_ID));
	pem_pair_free(&r->pair);
	mem_free(r);
}

/* Handshakes under way may still need what was replaced. */
static void look_at_version(struct sni *s)
{
	struct ready *r = NULL;
	unsigned version = 0;

	for (size_t i = 0; i < s->maps_n; i++)
		version += map_version(s->maps[i]);
	if (version == s->version)
		return;
	s->version = version;
	dict_free(&s->index);
	TAILQ_FOREACH(r, &s->ready, next)
	if (r->until == CLOCK_NEVER)
		r->until = loop_now() + SNI_OLD_SECONDS * CLOCK_SEC;
}

static struct ready *get_ready(struct sni *s, const uint8_t id[PEM_ID])
{
	struct ready *r = dict_get(s->keys, slice_of(id, PEM_ID));

	if (r != NULL && r->until < loop_now()) {
		drop(s, r);
		return NULL;
	}
	if (r != NULL) {
		TAILQ_REMOVE(&s->ready, r, next);
		TAILQ_INSERT_TAIL(&s->ready, r, next);
	}
	return r;
}

/* Takes p over. */
static struct ready *make_ready(struct sni *s, struct pem_pair *p)
{
	struct ready *r = get_ready(s, p->id);

	if (r != NULL)
		drop(s, r);
	while (s->ready_n >= SNI_KEYS_MAX)
		drop(s, TAILQ_FIRST(&s->ready));
	r = mem_alloc(sizeof(*r));
	*r = (struct ready){.pair = p, .until = CLOCK_NEVER};
	(void)dict_set(s->keys, slice_of(p->id, PEM_ID), r);
	TAILQ_INSERT_TAIL(&s->ready, r, next);
	s->ready_n++;
	return r;
}

/* ---- values ---- */

static int parse(struct slice key, struct slice value, struct pem_pairs *pairs)
{
	struct buf text = BUF_SECRET(MAP_VALUE_LIMIT);
	struct pem_reader r;
	char *name = mem_fmt("tls_server_sni_maps: %.*s", SLICE_FMT(key));
	int err = base64_decode(&text, value);

	pem_begin(&r);
	if (err != 0)
		log_error("%s: not in base64; expected a table that \"gatemap -F\" makes", name);
	else if ((err = pem_add(&r, name, buf_slice(&text))) != 0 || (err = pem_end(&r)) != 0)
		log_error("%s", buf_str(&r.why));
	else
		STAILQ_CONCAT(pairs, &r.pairs);
	pem_clear(&r);
	buf_clear(&text);
	mem_free(name);
	return err == 0 ? 0 : ERR_TEMP;
}

static int find_value(struct sni *s, struct slice key, struct later *l, struct buf *value)
{
	int r = ERR_NOT_FOUND;

	for (size_t i = 0; i < s->maps_n && r == ERR_NOT_FOUND; i++)
		r = map_find(s->maps[i], key, l, value);
	return r;
}

static bool is_host_name(struct slice name)
{
	if (name.len == 0 || name.len > SNI_NAME_MAX || name.p[0] == '.' ||
		slice_find_str(name, "..") >= 0)
		return false;
	for (size_t i = 0; i < name.len; i++) {
		char c = name.p[i];

		if ((c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' &&
			c != '.')
			return false;
	}
	return true;
}

static int find_name(
	struct sni *s, struct slice name, struct later *l, struct buf *value, struct slice *key)
{
	ptrdiff_t dot = 0;
	int r = ERR_NOT_FOUND;

	for (*key = name; dot >= 0 && (r = find_value(s, *key, l, value)) == ERR_NOT_FOUND;) {
		/* The next dot behind the first byte, which may be one. */
		dot = slice_find(slice_from(*key, 1), '.');
		if (dot >= 0)
			*key = slice_from(*key, (size_t)dot + 1);
	}
	return r;
}

int sni_find(struct sni *s, struct slice name, struct later *l, struct pem_pairs *pairs)
{
	struct buf lower = BUF_INIT(SNI_NAME_MAX), value = BUF_SECRET(MAP_VALUE_LIMIT);
	struct slice key = SLICE_NONE;
	int r = buf_add_lower(&lower, name);

	STAILQ_INIT(pairs);
	look_at_version(s);
	if (r != 0 || !is_host_name(buf_slice(&lower)))
		r = ERR_SYNTAX;
	else
		r = find_name(s, buf_slice(&lower), l, &value, &key);
	if (r == 0)
		r = parse(key, buf_slice(&value), pairs);
	buf_clear(&lower);
	buf_clear(&value);
	return r;
}

/* ---- by id ---- */

struct noting {
	struct sni *s;
	struct slice key;
};

static void note_id(const uint8_t id[PEM_ID], void *arg)
{
	const struct noting *n = arg;

	(void)dict_set(n->s->index, slice_of(id, PEM_ID), slice_dup(n->key));
}

static bool note_value(struct slice key, struct slice value, void *arg)
{
	struct buf text = BUF_SECRET(MAP_VALUE_LIMIT);
	struct noting n = {arg, key};

	if (base64_decode(&text, value) == 0)
		pem_walk_ids(buf_slice(&text), note_id, &n);
	buf_clear(&text);
	return true;
}

static void make_index(struct sni *s)
{
	s->index = dict_new(INDEX_MAX, mem_free);
	for (size_t i = 0; i < s->maps_n; i++)
		(void)map_walk(s->maps[i], note_value, s);
}

static void load(struct sni *s, const char *key)
{
	struct buf value = BUF_SECRET(MAP_VALUE_LIMIT);
	struct pem_pairs pairs = STAILQ_HEAD_INITIALIZER(pairs);
	struct pem_pair *p = NULL;

	if (find_value(s, slice_str(key), NULL, &value) == 0 &&
		parse(slice_str(key), buf_slice(&value), &pairs) == 0) {
		while ((p = STAILQ_FIRST(&pairs)) != NULL) {
			STAILQ_REMOVE_HEAD(&pairs, next);
			(void)make_ready(s, p);
		}
	}
	buf_clear(&value);
}

const struct pem_pair *sni_key(struct sni *s, const uint8_t id[PEM_ID])
{
	struct ready *r = NULL;
	const char *key = NULL;

	look_at_version(s);
	r = get_ready(s, id);
	if (r != NULL)
		return r->pair;
	if (s->index == NULL)
		make_index(s);
	key = dict_get(s->index, slice_of(id, PEM_ID));
	if (key != NULL)
		load(s, key);
	r = get_ready(s, id);
	return r != NULL ? r->pair : NULL;
}
