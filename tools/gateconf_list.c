/* SPDX-License-Identifier: ISC */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/gateconf.h"
#include "util/mem.h"

/* Which parameters are shown: all of them, or those that are named. */
enum { NAMES_LIMIT = 20000, VALUE_LIMIT = 1 << 20 };

static void warn(const char *fmt, const char *a, const char *b, const char *c)
{
	fprintf(stderr, "%s: warning: ", gateconf_name);
	fputs(a, stderr);
	fputs(fmt, stderr);
	fputs(b, stderr);
	fputs(c, stderr);
	fputc('\n', stderr);
}

static void print_row(const struct gateconf *g, const struct conf *c, enum param p)
{
	const char *text = g->expand ? set_str(c, p) : set_raw(c, p);

	gateconf_print(g, conf_name(p), slice_str(text));
}

static void print_setting(
	const struct gateconf *g, const struct conf *c, struct slice name, const struct setting *s)
{
	struct buf text = BUF_INIT(VALUE_LIMIT), why = BUF_INIT(VALUE_LIMIT);
	char *copy = slice_dup(name);

	if (g->expand)
		set_expand(c, slice_str(s->value), &why, &text);
	gateconf_print(g, copy, g->expand ? buf_slice(&text) : slice_str(s->value));
	mem_free(copy);
	buf_clear(&text);
	buf_clear(&why);
}

/* A row, or a name that a file sets and something uses. */
struct listing {
	const struct gateconf *g;
	const struct conf *c;
	struct dict *used;
	struct slice *name; /* owned array */
	size_t count;
	char **made; /* owned; names of transports' settings */
	size_t made_count;
	bool is_listed; /* else names are looked at for use alone */
};

static void add_name(struct listing *l, struct slice name)
{
	l->name = mem_resize(l->name, l->count + 1, sizeof(*l->name));
	l->name[l->count++] = name;
}

/* What no file sets of a transport's settings. */
static void add_transport(struct slice transport, void *arg)
{
	struct listing *l = arg;

	for (int i = 0; i < P_COUNT; i++) {
		const char *suffix = conf_name((enum param)i) + strlen("transport");
		bool is_new = param_is_transport((enum param)i);
		char *name = is_new ? mem_fmt("%.*s%s", SLICE_FMT(transport), suffix) : NULL;

		is_new = is_new && param_find(slice_str(name)) == P_COUNT &&
			 (l->g->defaults || set_find(l->c, slice_str(name)) == NULL);
		for (size_t k = 0; is_new && k < l->made_count; k++)
			is_new = strcmp(l->made[k], name) != 0;
		if (!is_new) {
			mem_free(name);
			continue;
		}
		l->made = mem_resize(l->made, l->made_count + 1, sizeof(*l->made));
		l->made[l->made_count++] = name;
		add_name(l, slice_str(name));
	}
}

static void print_default(const struct gateconf *g, const struct conf *c, struct slice name)
{
	struct buf text = BUF_INIT(VALUE_LIMIT), why = BUF_INIT(VALUE_LIMIT);
	size_t prefix = 0;
	const char *def = param_row(param_find_transport(name, &prefix))->def;
	char *copy = slice_dup(name);

	if (g->expand)
		set_expand(c, slice_str(def), &why, &text);
	gateconf_print(g, copy, g->expand ? buf_slice(&text) : slice_str(def));
	mem_free(copy);
	buf_clear(&text);
	buf_clear(&why);
}

static bool is_used(const struct listing *l, struct slice name)
{
	size_t prefix = 0;

	return param_find(name) != P_COUNT || param_is_unsupported(name) ||
	       param_find_transport(name, &prefix) != P_COUNT || dict_get(l->used, name) != NULL;
}

static bool add_setting(struct slice name, const struct setting *s, void *arg)
{
	struct listing *l = arg;
	char *copy = slice_dup(name);

	if (!is_used(l, name) && s->path != NULL) {
		if (l->g->quiet)
			goto out;
		fprintf(stderr, "%s: warning: %s: unused parameter: %s=%s\n", gateconf_name,
			s->path, copy, s->value);
	} else if (l->is_listed && !l->g->defaults &&
		   (l->g->only_set || param_find(name) == P_COUNT)) {
		add_name(l, name);
	}
out:
	mem_free(copy);
	return true;
}

static int compare(const void *a, const void *b)
{
	return slice_cmp(*(const struct slice *)a, *(const struct slice *)b);
}

static bool is_in_class(const struct gateconf *g, struct slice name)
{
	size_t prefix = 0;
	unsigned class = param_find(name) != P_COUNT || param_is_unsupported(name)
				 ? GATECONF_BUILTIN
			 : param_find_transport(name, &prefix) != P_COUNT ? GATECONF_SERVICE
									  : GATECONF_USER;

	return (g->classes & class) != 0;
}

static void print_all(const struct gateconf *g, const struct conf *c)
{
	struct listing l = {.g = g, .c = c, .used = dict_new(NAMES_LIMIT, NULL), .is_listed = true};

	set_add_references(c, l.used);
	for (int i = 0; i < P_COUNT && !g->only_set; i++) {
		if (param_is_transport((enum param)i))
			continue;
		add_name(&l, slice_str(conf_name((enum param)i)));
	}
	set_walk(c, add_setting, &l);
	if (!g->only_set)
		gateconf_transports(g, add_transport, &l);
	qsort(l.name, l.count, sizeof(*l.name), compare);
	for (size_t i = 0; i < l.count; i++) {
		enum param p = param_find(l.name[i]);

		if (!is_in_class(g, l.name[i]))
			continue;
		if (p != P_COUNT)
			print_row(g, c, p);
		else if (set_find(c, l.name[i]) != NULL)
			print_setting(g, c, l.name[i], set_find(c, l.name[i]));
		else
			print_default(g, c, l.name[i]);
	}
	mem_free(l.name);
	while (l.made_count > 0)
		mem_free(l.made[--l.made_count]);
	mem_free(l.made);
	dict_free(&l.used);
}

struct owner {
	struct slice name;
	bool found;
};

static void compare_owner(struct slice transport, void *arg)
{
	struct owner *o = arg;

	o->found = o->found || slice_eq(transport, o->name);
}

/* NAME_destination_rate_delay of a transport that there is. */
static bool is_of_transport(const struct gateconf *g, struct slice name)
{
	struct owner o = {SLICE_NONE, false};
	size_t prefix = 0;

	if (param_find_transport(name, &prefix) == P_COUNT)
		return false;
	o.name = slice_first(name, prefix);
	gateconf_transports(g, compare_owner, &o);
	return o.found;
}

static void print_named(const struct gateconf *g, const struct conf *c, const char *name)
{
	enum param p = param_find(slice_str(name));
	const struct setting *s = set_find(c, slice_str(name));
	struct dict *used = dict_new(NAMES_LIMIT, NULL);
	struct listing l = {.g = g, .c = c, .used = used};
	const char *nearest = NULL;

	set_add_references(c, used);
	if (p != P_COUNT && (!g->only_set || s != NULL)) {
		print_row(g, c, p);
	} else if (p == P_COUNT && s != NULL && !g->defaults && is_used(&l, slice_str(name))) {
		print_setting(g, c, slice_str(name), s);
	} else if (p == P_COUNT && !g->only_set && is_of_transport(g, slice_str(name))) {
		print_default(g, c, slice_str(name));
	} else if (p == P_COUNT && param_is_unsupported(slice_str(name))) {
		warn(": not supported", name, "", "");
	} else if (p == P_COUNT) {
		nearest = param_nearest(slice_str(name));
		warn(": unknown parameter", name, nearest != NULL ? "; perhaps " : "",
			nearest != NULL ? nearest : "");
	}
	dict_free(&used);
}

void gateconf_list(const struct gateconf *g, const struct conf *c, char **names)
{
	struct listing l = {.g = g, .c = c};

	if (*names == NULL) {
		print_all(g, c);
	} else {
		l.used = dict_new(NAMES_LIMIT, NULL);
		set_add_references(c, l.used);
		set_walk(c, add_setting, &l);
		dict_free(&l.used);
	}
	for (; *names != NULL; names++)
		print_named(g, c, *names);
	if (!g->defaults)
		gateconf_warn_master(g, c);
}
