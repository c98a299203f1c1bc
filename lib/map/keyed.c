/* SPDX-License-Identifier: ISC */
#include "map/driver.h"
#include "map/keyed.h"
#include "map/spec.h"
#include "map/text.h"
#include "util/dict.h"
#include "util/err.h"
#include "util/mem.h"

/* Tables that are kept in memory: texthash reads its source whole, inline is one. */

enum { ENTRY_LIMIT = 10000000 };

static int add_entry(struct dict *d, struct slice key, struct slice value, const char **mistake)
{
	char room[MAP_KEY_LIMIT];
	struct slice folded;
	*mistake = "key too long or empty";
	if (map_fold_key(key, room, &folded) != 0)
		return ERR_SYNTAX;
	*mistake = "value too long";
	if (value.len > MAP_VALUE_LIMIT)
		return ERR_SYNTAX;
	const char *before = dict_get(d, folded);
	*mistake = "key was given before, with another value";
	if (before != NULL)
		return slice_eq_str(value, before) ? 0 : ERR_SYNTAX;
	*mistake = "too many entries";
	return dict_set(d, folded, slice_dup(value)) == 0 ? 0 : ERR_SYNTAX;
}

static int keyed_find(void *state, struct slice key, struct later *l, struct buf *value)
{
	(void)l;
	char room[MAP_KEY_LIMIT];
	struct slice folded;
	int r = map_fold_key(key, room, &folded);
	const char *found = r == 0 ? dict_get(state, folded) : NULL;
	return found != NULL ? buf_add_str(value, found) : ERR_NOT_FOUND;
}

static void keyed_close(void *state)
{
	struct dict *d = state;
	dict_free(&d);
}

struct visit {
	map_visitor *call;
	void *arg;
};

static bool visit_entry(struct slice key, void *value, void *arg)
{
	struct visit *v = arg;
	return v->call(key, slice_str(value), v->arg);
}

static int keyed_walk(void *state, map_visitor *call, void *arg)
{
	struct visit v = {call, arg};
	dict_walk(state, visit_entry, &v);
	return 0;
}

/* texthash */

bool keyed_split(struct slice logical, struct slice *key, struct slice *value)
{
	bool quoted = false;
	size_t n = 0;
	for (; n < logical.len && (quoted || (logical.p[n] != ' ' && logical.p[n] != '\t')); n++) {
		if (logical.p[n] == '\\' && n + 1 < logical.len)
			n++;
		else if (logical.p[n] == '"')
			quoted = !quoted;
	}
	*key = slice_first(logical, n);
	*value = slice_trim(slice_from(logical, n));
	return key->len > 0 && value->len > 0;
}

static void read_line(struct dict *d, struct slice logical, struct text *t, unsigned line)
{
	struct slice key, value;
	const char *mistake = NULL;
	if (!keyed_split(logical, &key, &value))
		text_mistake(t, line, "no value for \"%.*s\"; expected \"KEY VALUE\"",
			SLICE_FMT(slice_first(key, 60)));
	else if (key.p[key.len - 1] == ':')
		text_mistake(t, line, "\"%.*s\" has the form of an alias; expected \"KEY VALUE\"",
			SLICE_FMT(slice_first(key, 60)));
	else if (add_entry(d, key, value, &mistake) != 0)
		text_mistake(t, line, "\"%.*s\": %s", SLICE_FMT(slice_first(key, 60)), mistake);
}

static int texthash_open(const struct map_input *in, void **state)
{
	struct dict *d = dict_new(ENTRY_LIMIT, mem_free);
	struct text t;
	struct slice logical;
	unsigned line;
	text_init(&t, in->file, in->text, in->why);
	while (text_next(&t, &logical, &line))
		read_line(d, logical, &t, line);
	int r = text_result(&t);
	text_clear(&t);
	if (r == 0)
		*state = d;
	else
		dict_free(&d);
	return r;
}

const struct map_driver map_texthash = {
	"texthash", MAP_SOURCE_TEXT, texthash_open, keyed_find, keyed_close, keyed_walk};

/* inline:{ KEY=VALUE, { KEY = VALUE with blanks or commas } } */

static int add_inline(struct dict *d, struct slice item, const struct map_input *in)
{
	const char *mistake = "no \"=\" behind a key";
	if (slice_starts(item, "{") && spec_strip_braces(&item) != 0)
		mistake = "braces do not match";
	ptrdiff_t equals = slice_find(item, '=');
	if (equals >= 0) {
		struct slice key = slice_trim(slice_first(item, (size_t)equals));
		struct slice value = slice_trim(slice_from(item, (size_t)equals + 1));
		if (add_entry(d, key, value, &mistake) == 0)
			return 0;
	}
	buf_add_fmt(in->why, "inline table, \"%.*s\": %s; expected KEY=VALUE or { KEY = VALUE }",
		SLICE_FMT(slice_first(item, 60)), mistake);
	return ERR_SYNTAX;
}

static int inline_open(const struct map_input *in, void **state)
{
	struct slice rest = in->name, item;
	if (spec_strip_braces(&rest) != 0) {
		buf_add_str(in->why, "bad inline table; expected inline:{ KEY=VALUE, … }");
		return ERR_SYNTAX;
	}
	struct dict *d = dict_new(ENTRY_LIMIT, mem_free);
	int r = 0;
	while (r == 0 && spec_token(&rest, &item))
		r = add_inline(d, item, in);
	if (r == 0 && dict_count(d) == 0) {
		buf_add_str(in->why, "empty inline table; expected inline:{ KEY=VALUE, … }");
		r = ERR_SYNTAX;
	}
	if (r == 0)
		*state = d;
	else
		dict_free(&d);
	return r;
}

const struct map_driver map_inline = {
	"inline", MAP_SOURCE_NONE, inline_open, keyed_find, keyed_close, keyed_walk};
