/* SPDX-License-Identifier: ISC */
#include <stdlib.h>

#include "map/driver.h"
#include "map/spec.h"
#include "util/err.h"
#include "util/mem.h"

/*
 * Tables made of others: unionmap:{ T, … } gives what all of them give, joined by commas;
 * pipemap:{ T, … } looks up in each what the one before gave. And randmap:{ RESULT, … }, which
 * gives one of its results by chance.
 */
enum { RESULTS_LIMIT = 1000, NESTING_LIMIT = 8 };

static unsigned depth; /* of tables within tables that are being opened */

static int bad_list(const struct map_input *in, const char *type, const char *what)
{
	buf_add_fmt(in->why, "bad table \"%s\"; expected %s:{ %s, … }", in->spec, type, what);
	return ERR_SYNTAX;
}

static void combined_close(void *state)
{
	struct map_list *parts = state;
	map_list_close(&parts);
}

static int open_parts(const struct map_input *in, const char *type, struct map_list **parts)
{
	struct slice inside = in->name;
	if (spec_strip_braces(&inside) != 0 || inside.len == 0)
		return bad_list(in, type, "TYPE:NAME");
	char *text = slice_dup(inside);
	int r = map_list_open(text, in->why, parts);
	mem_free(text);
	return r;
}

static int combined_open(const struct map_input *in, const char *type, void **state)
{
	struct map_list *parts = NULL;
	if (depth == NESTING_LIMIT) {
		buf_add_fmt(
			in->why, "tables within tables; expected at most %d levels", NESTING_LIMIT);
		return ERR_SYNTAX;
	}
	depth++;
	int r = open_parts(in, type, &parts);
	depth--;
	*state = parts;
	return r;
}

bool combined_has_pattern(const void *state)
{
	struct map *m;
	for (size_t i = 0; (m = map_list_at(state, i)) != NULL; i++)
		if (map_is_pattern(m))
			return true;
	return false;
}

static int union_open(const struct map_input *in, void **state)
{
	return combined_open(in, "unionmap", state);
}

static int union_find(void *state, struct slice key, struct later *l, struct buf *value)
{
	struct buf one = BUF_INIT(MAP_VALUE_LIMIT);
	struct map *m;
	int r = ERR_NOT_FOUND;
	bool waits = false;
	/* All are asked before any is waited for. */
	for (size_t i = 0; (m = map_list_at(state, i)) != NULL; i++) {
		int found = map_find(m, key, l, &one);
		waits = waits || found == ERR_LATER;
		if (found == ERR_NOT_FOUND || found == ERR_LATER)
			continue;
		r = found;
		if (r != 0)
			break;
		if (value->len > 0)
			buf_add_char(value, ',');
		buf_add_slice(value, buf_slice(&one));
	}
	buf_clear(&one);
	return waits && (r == 0 || r == ERR_NOT_FOUND) ? ERR_LATER : r;
}

const struct map_driver map_union = {
	"unionmap", MAP_SOURCE_NONE, union_open, union_find, combined_close};

static int pipe_open(const struct map_input *in, void **state)
{
	return combined_open(in, "pipemap", state);
}

static int pipe_find(void *state, struct slice key, struct later *l, struct buf *value)
{
	struct buf next = BUF_INIT(MAP_VALUE_LIMIT);
	struct map *m;
	int r = buf_add_slice(value, key);
	for (size_t i = 0; r == 0 && (m = map_list_at(state, i)) != NULL; i++) {
		r = map_find(m, buf_slice(value), l, &next);
		buf_reset(value);
		buf_add_slice(value, buf_slice(&next));
	}
	buf_clear(&next);
	return r;
}

const struct map_driver map_pipe = {
	"pipemap", MAP_SOURCE_NONE, pipe_open, pipe_find, combined_close};

/* randmap */

struct results {
	char **texts; /* owned */
	size_t count;
};

static void random_close(void *state)
{
	struct results *s = state;
	for (size_t i = 0; i < s->count; i++)
		mem_free(s->texts[i]);
	mem_free(s->texts);
	mem_free(s);
}

static int random_open(const struct map_input *in, void **state)
{
	struct results *s = mem_alloc(sizeof(*s));
	struct slice rest = in->name, token;
	int r = spec_strip_braces(&rest);
	while (r == 0 && spec_token(&rest, &token) && s->count < RESULTS_LIMIT) {
		if (slice_starts(token, "{"))
			r = spec_strip_braces(&token);
		s->texts = mem_resize(s->texts, s->count + 1, sizeof(*s->texts));
		s->texts[s->count++] = slice_dup(token);
	}
	if (r != 0 || s->count == 0 || rest.len > 0) {
		random_close(s);
		return bad_list(in, "randmap", "RESULT");
	}
	*state = s;
	return 0;
}

static int random_find(void *state, struct slice key, struct later *l, struct buf *value)
{
	(void)key;
	(void)l;
	const struct results *s = state;
	return buf_add_str(value, s->texts[arc4random_uniform((uint32_t)s->count)]);
}

const struct map_driver map_random = {
	"randmap", MAP_SOURCE_NONE, random_open, random_find, random_close};
