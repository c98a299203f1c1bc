/* SPDX-License-Identifier: ISC */
#include "map/driver.h"
#include "util/err.h"
#include "util/mem.h"

map_asker *map_ask;
void (*map_defer)(void (*run)(void *arg), void *arg);

void map_set_asker(map_asker *ask)
{
	map_ask = ask;
}

void map_set_deferrer(void (*defer)(void (*run)(void *arg), void *arg))
{
	map_defer = defer;
}

/* unix:passwd.byname, unix:group.byname: asked of whom map_set_asker named. */

static int unix_open(const struct map_input *in, void **state)
{
	if (!slice_eq_str(in->name, "passwd.byname") && !slice_eq_str(in->name, "group.byname")) {
		buf_add_fmt(in->why,
			"unknown table \"%s\"; expected unix:passwd.byname or unix:group.byname",
			in->spec);
		return ERR_SYNTAX;
	}
	*state = mem_str(in->spec);
	return 0;
}

static int unix_find(void *state, struct slice key, struct later *l, struct buf *value)
{
	char room[MAP_KEY_LIMIT];
	struct slice folded;
	int r = map_fold_key(key, room, &folded);
	if (r != 0)
		return r;
	return map_ask != NULL ? map_ask(state, folded, l, value) : ERR_TEMP;
}

static void unix_close(void *state)
{
	mem_free(state);
}

const struct map_driver map_unix = {"unix", MAP_SOURCE_NONE, unix_open, unix_find, unix_close};

/*
 * later:TYPE:NAME: what TYPE:NAME answers, one turn of the event loop later. The first lookup of a
 * key in an evaluation registers a question; once that is done the inner table is asked.
 */

/* One question under way; whoever comes last of run and cancel frees it. */
struct turn {
	struct later_answer *answer; /* NULL: withdrawn */
};

static void turn_run(void *arg)
{
	struct turn *turn = arg;
	if (turn->answer != NULL)
		later_done(turn->answer, 0, SLICE_NONE);
	mem_free(turn);
}

static void turn_cancel(void *arg)
{
	struct turn *turn = arg;
	turn->answer = NULL;
}

static int later_open(const struct map_input *in, void **state)
{
	char *inner = slice_dup(in->name);
	struct map *m = NULL;
	int r = map_open(inner, in->why, &m);
	mem_free(inner);
	*state = m;
	return r;
}

static int later_lookup(void *state, struct slice key, struct later *l, struct buf *value)
{
	struct map *inner = state;
	if (l == NULL || map_defer == NULL)
		return ERR_TEMP;
	/* The source is the field, not the inner table: that may register questions of its own. */
	struct later_answer *a = later_find(l, map_spec(inner), key);
	if (a == NULL) {
		struct turn *turn = mem_alloc(sizeof(*turn));
		a = turn->answer = later_add(l, map_spec(inner), key, turn_cancel, turn);
		if (a == NULL) {
			mem_free(turn);
			return ERR_TEMP;
		}
		map_defer(turn_run, turn);
	}
	return later_is_done(a) ? map_find(inner, key, l, value) : ERR_LATER;
}

static void later_close(void *state)
{
	struct map *inner = state;
	map_close(&inner);
}

static int later_walk(void *state, map_visitor *visit, void *arg)
{
	return map_walk(state, visit, arg);
}

const struct map_driver map_later = {
	"later", MAP_SOURCE_NONE, later_open, later_lookup, later_close, later_walk};
