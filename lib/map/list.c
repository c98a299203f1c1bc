/* SPDX-License-Identifier: ISC */
#include "map/driver.h"
#include "map/spec.h"
#include "util/err.h"
#include "util/mem.h"

enum { LIST_LIMIT = 1000 };

struct map_list {
	struct map **maps;
	size_t count;
};

static int add(struct map_list *l, struct slice token, struct buf *why)
{
	if (l->count == LIST_LIMIT) {
		buf_add_fmt(why, "too many tables in a list; expected at most %d", LIST_LIMIT);
		return ERR_SYNTAX;
	}
	char *spec = slice_dup(token);
	struct map *m = NULL;
	int r = map_open(spec, why, &m);
	mem_free(spec);
	if (r != 0)
		return r;
	l->maps = mem_resize(l->maps, l->count + 1, sizeof(struct map *));
	l->maps[l->count++] = m;
	return 0;
}

int map_list_open(const char *text, struct buf *why, struct map_list **list)
{
	*list = mem_alloc(sizeof(**list));
	struct slice rest = slice_str(text), token;
	int r = 0;
	while (r == 0 && spec_token(&rest, &token))
		r = add(*list, token, why);
	if (r != 0)
		map_list_close(list);
	return r;
}

void map_list_close(struct map_list **list)
{
	struct map_list *old = *list;
	*list = NULL;
	if (old == NULL)
		return;
	for (size_t i = 0; i < old->count; i++)
		map_close(&old->maps[i]);
	mem_free(old->maps);
	mem_free(old);
}

struct map *map_list_at(const struct map_list *list, size_t i)
{
	return i < list->count ? list->maps[i] : NULL;
}

bool map_list_is_empty(const struct map_list *list)
{
	return list == NULL || list->count == 0;
}

static int find(
	struct map_list *list, bool patterns, struct slice key, struct later *l, struct buf *value)
{
	buf_reset(value);
	for (size_t i = 0; list != NULL && i < list->count; i++) {
		struct map *m = list->maps[i];
		int r = patterns || !map_is_pattern(m) ? map_find(m, key, l, value) : ERR_NOT_FOUND;
		if (r != ERR_NOT_FOUND)
			return r;
	}
	return ERR_NOT_FOUND;
}

int map_list_find(struct map_list *list, struct slice key, struct later *l, struct buf *value)
{
	return find(list, true, key, l, value);
}

int map_list_find_part(struct map_list *list, struct slice key, struct later *l, struct buf *value)
{
	return find(list, false, key, l, value);
}

struct list_walk {
	map_visitor *visit;
	void *arg;
	bool ended;
};

static bool visit_one(struct slice key, struct slice value, void *arg)
{
	struct list_walk *w = arg;
	w->ended = !w->visit(key, value, w->arg);
	return !w->ended;
}

void map_list_walk(const struct map_list *list, map_visitor *visit, void *arg)
{
	struct list_walk w = {visit, arg, false};
	for (size_t i = 0; list != NULL && i < list->count && !w.ended; i++)
		(void)map_walk(list->maps[i], visit_one, &w);
}
