/* SPDX-License-Identifier: ISC */
#include <stdlib.h>

#include "conf/expand.h"
#include "conf/machine.h"
#include "conf/set.h"
#include "conf/value.h"
#include "util/err.h"
#include "util/mem.h"
#include "util/wire.h"

enum { NAMES_LIMIT = 20000, VALUE_LIMIT = 1 << 20, ENCODED_LIMIT = 16 << 20 };

struct value {
	char *machine; /* owned; raw text that stands in for a "@" default */
	char *text;    /* owned; expanded */
	int64_t number;
};

struct conf {
	char *dir;               /* owned */
	struct dict *settings;   /* name → struct setting, owned */
	struct dict *others;     /* name → expanded text, owned: names without a row */
	struct dict *transports; /* NAME_suffix → struct value, owned */
	struct value values[P_COUNT];
};

static struct conf *installed;

static void setting_free(void *p)
{
	struct setting *s = p;

	mem_free(s->value);
	mem_free(s->path);
	line_pieces_clear(&s->pieces);
	mem_free(s);
}

static void value_free(void *p)
{
	struct value *v = p;

	mem_free(v->text);
	mem_free(v->machine);
	mem_free(v);
}

struct conf *conf_new(const char *dir)
{
	struct conf *c = mem_alloc(sizeof(*c));

	c->dir = mem_str(dir);
	c->settings = dict_new(NAMES_LIMIT, setting_free);
	return c;
}

void conf_free(struct conf **cp)
{
	struct conf *c = *cp;

	if (c == NULL)
		return;
	mem_free(c->dir);
	dict_free(&c->settings);
	dict_free(&c->others);
	dict_free(&c->transports);
	for (int i = 0; i < P_COUNT; i++) {
		mem_free(c->values[i].text);
		mem_free(c->values[i].machine);
	}
	mem_free(c);
	*cp = NULL;
}

const struct setting *set_find(const struct conf *c, struct slice name)
{
	return dict_get(c->settings, name);
}

struct place set_place(const struct setting *s, size_t offset)
{
	struct place p = {.path = s->path};

	line_place(&s->pieces, offset, &p.line, &p.column);
	return p;
}

void set_override(struct conf *c, struct slice name, struct slice value, const char *path,
	struct line_pieces *pieces)
{
	struct setting *s = mem_alloc(sizeof(*s));

	s->value = slice_dup(value);
	s->path = mem_str(path);
	if (pieces != NULL) {
		s->pieces = *pieces;
		*pieces = (struct line_pieces){0};
	}
	line_place(&s->pieces, 0, &s->line, &s->column);
	if (dict_set(c->settings, name, s) != 0)
		setting_free(s);
}

void set_named(struct conf *c, struct slice name, unsigned line, unsigned column)
{
	struct setting *s = dict_get(c->settings, name);

	if (s != NULL) {
		s->line = line;
		s->column = column;
	}
}

struct named {
	struct slice name;
	struct setting *setting;
};

static bool collect_one(struct slice name, void *value, void *arg)
{
	struct named **next = arg;

	*(*next)++ = (struct named){name, value};
	return true;
}

static int compare_named(const void *a, const void *b)
{
	return slice_cmp(((const struct named *)a)->name, ((const struct named *)b)->name);
}

/* In the order of names, so that mistakes come in the same order each time. */
void set_walk(const struct conf *c,
	bool (*visit)(struct slice name, const struct setting *s, void *arg), void *arg)
{
	size_t count = dict_count(c->settings);
	struct named *all = mem_array(count + 1, sizeof(*all)), *next = all;

	dict_walk(c->settings, collect_one, &next);
	qsort(all, count, sizeof(*all), compare_named);
	for (size_t i = 0; i < count && visit(all[i].name, all[i].setting, arg); i++)
		;
	mem_free(all);
}

static bool copy_one(struct slice name, const struct setting *s, void *arg)
{
	struct line_pieces pieces = {0};

	if (s->pieces.count != 0) {
		pieces.piece = mem_dup(s->pieces.piece, s->pieces.count * sizeof(*pieces.piece));
		pieces.count = s->pieces.count;
	}
	set_override(arg, name, slice_str(s->value), s->path, &pieces);
	set_named(arg, name, s->line, s->column);
	return true;
}

struct conf *set_copy(const struct conf *c)
{
	struct conf *copy = conf_new(c->dir);

	set_walk(c, copy_one, copy);
	return copy;
}

/* Unexpanded text of any name. */
static const char *raw_lookup(void *arg, struct slice name)
{
	const struct conf *c = arg;
	const struct setting *s = set_find(c, name);
	enum param p = param_find(name);

	if (s != NULL)
		return s->value;
	if (p == P_COUNT)
		return NULL;
	return set_raw(c, p);
}

const char *set_raw(const struct conf *c, enum param p)
{
	const struct param_row *row = param_row(p);
	const struct setting *s = set_find(c, slice_str(row->name));

	if (s != NULL)
		return s->value;
	if (p == P_config_directory)
		return c->dir;
	if (row->def[0] != '@')
		return row->def;
	return c->values[p].machine != NULL ? c->values[p].machine : "";
}

int set_expand(const struct conf *c, struct slice text, struct buf *why, struct buf *out)
{
	union {
		const struct conf *in;
		void *out;
	} arg = {.in = c};
	struct expand e = {.lookup = raw_lookup, .arg = arg.out, .why = why};

	return expand(&e, text, out);
}

struct names_and_set {
	const struct set_names *names;
	const struct conf *c;
};

static const char *lookup_both(void *arg, struct slice name)
{
	const struct names_and_set *both = arg;
	const char *value = both->names->lookup(both->names->arg, name);
	union {
		const struct conf *in;
		void *out;
	} u = {.in = both->c};

	return value != NULL ? value : raw_lookup(u.out, name);
}

static void seen_both(void *arg, struct slice name)
{
	const struct names_and_set *both = arg;

	if (both->names->seen != NULL)
		both->names->seen(both->names->arg, name);
}

int set_expand_names(const struct conf *c, const struct set_names *names, struct slice text,
	struct buf *why, struct buf *out)
{
	struct names_and_set both = {names, c};
	struct expand e = {.lookup = lookup_both, .arg = &both, .seen = seen_both, .why = why};

	return expand(&e, text, out);
}

bool set_is_name(const struct conf *c, struct slice name)
{
	return set_find(c, name) != NULL || param_find(name) != P_COUNT;
}

const struct conf *set_in_force(void)
{
	return installed;
}

/* What one value refers to, while it is checked. */
struct check {
	const struct conf *c;
	struct mistakes *m;
	struct dict *wrong; /* names with a mistake of their own */
	bool refers_to_wrong;
	struct buf undefined; /* the first name that nothing defines */
	struct dict *seen;    /* names that this value refers to */
};

static const char *check_lookup(void *arg, struct slice name)
{
	struct check *k = arg;
	union {
		const struct conf *in;
		void *out;
	} u = {.in = k->c};

	return raw_lookup(u.out, name);
}

/* Lists that Postfix's own master.cf refers to for submission, and that need not be set there. */
static bool is_of_sample(struct slice name)
{
	return slice_starts(name, "mua_") && slice_ends(name, "_restrictions");
}

static void check_seen(void *arg, struct slice name)
{
	struct check *k = arg;
	size_t prefix = 0;

	dict_set(k->seen, name, k);
	if (dict_get(k->wrong, name) != NULL)
		k->refers_to_wrong = true;
	if (k->undefined.len == 0 && check_lookup(arg, name) == NULL &&
		!param_is_unsupported(name) && !is_of_sample(name) &&
		param_find_transport(name, &prefix) == P_COUNT)
		buf_add_slice(&k->undefined, name);
}

static void report(
	struct check *k, struct slice name, const char *raw, size_t where, const char *why)
{
	const struct setting *s = set_find(k->c, name);
	struct place place = {0};

	dict_set(k->wrong, name, k);
	if (k->refers_to_wrong)
		return;
	if (s != NULL)
		place = set_place(s, where);
	mistakes_error(k->m, place, "%.*s: %s", SLICE_FMT(name), why);
}

/* A name that leads to a loop as the value does that was reported: once is enough. */
static bool mark_loop(struct slice name, void *value, void *arg)
{
	struct check *k = arg;
	const char *raw = check_lookup(k, name);
	struct expand e = {.lookup = check_lookup, .arg = k};
	struct buf out = BUF_INIT(VALUE_LIMIT);

	if (raw != NULL && expand(&e, slice_str(raw), &out) == ERR_LIMIT)
		dict_set(k->wrong, name, k);
	buf_clear(&out);
	return true;
}

/* Expands one value; false: with a mistake, which is reported. */
static bool expand_value(struct check *k, struct slice name, const char *raw, struct buf *out)
{
	struct buf why = BUF_INIT(VALUE_LIMIT);
	struct expand e = {.lookup = check_lookup, .seen = check_seen, .arg = k, .why = &why};
	const char *nearest = NULL;
	int r = 0;

	k->refers_to_wrong = false;
	buf_reset(&k->undefined);
	k->seen = dict_new(NAMES_LIMIT, NULL);
	r = expand(&e, slice_str(raw), out);
	if (r != 0) {
		report(k, name, raw, 0, why.len != 0 ? buf_str(&why) : "too long a value");
		if (r == ERR_LIMIT)
			dict_walk(k->seen, mark_loop, k);
	} else if (k->undefined.len != 0) {
		nearest = param_nearest(buf_slice(&k->undefined));
		buf_add_fmt(&why, "\"$%s\" is not defined; expected %s%s%s", buf_str(&k->undefined),
			nearest != NULL ? "\"$" : "a parameter", nearest != NULL ? nearest : "",
			nearest != NULL ? "\"" : "");
		report(k, name, raw, 0, buf_str(&why));
	}
	buf_clear(&why);
	dict_free(&k->seen);
	return r == 0 && k->undefined.len == 0;
}

/* A value in the type of row p into *v. name: the setting's own (that of a transport, too). */
static void build_value(
	struct check *k, struct slice name, enum param p, const char *raw, struct value *v)
{
	struct buf text = BUF_INIT(VALUE_LIMIT), classes = BUF_INIT(VALUE_LIMIT);
	struct buf why = BUF_INIT(VALUE_LIMIT);
	size_t where = 0;
	bool ok = true;

	mem_free(v->text);
	if (param_row(p)->type == PARAM_RAW) {
		v->text = mem_str(raw);
		return;
	}
	ok = expand_value(k, name, raw, &text);
	if (param_row(p)->type == PARAM_RESTRICT)
		set_expand(k->c, slice_str(set_raw(k->c, P_smtpd_restriction_classes)), NULL,
			&classes);
	if (ok &&
		value_parse(p, buf_slice(&text), buf_str(&classes), &why, &where, &v->number) != 0)
		report(k, name, raw, strchr(raw, '$') == NULL ? where : 0, buf_str(&why));
	v->text = slice_dup(buf_slice(&text));
	buf_clear(&text);
	buf_clear(&classes);
	buf_clear(&why);
}

/* Rows whose value is worked out: before all others, in the order in which they need each other. */
static void fill_from_machine(struct conf *c)
{
	static const enum param order[] = {
		P_myhostname, P_mydomain, P_default_process_limit, P_mynetworks};
	struct buf texts[3] = {BUF_INIT(VALUE_LIMIT), BUF_INIT(VALUE_LIMIT), BUF_INIT(VALUE_LIMIT)};
	struct buf out = BUF_INIT(VALUE_LIMIT);
	const char *dot = NULL;

	for (size_t i = 0; i < sizeof(order) / sizeof(*order); i++) {
		struct value *v = &c->values[order[i]];

		buf_reset(&out);
		mem_free(v->machine);
		v->machine = NULL;
		if (set_is_set(c, order[i]))
			continue;
		switch (order[i]) {
		case P_myhostname: machine_hostname(&out); break;
		case P_mydomain:
			set_expand(c, slice_str(set_raw(c, P_myhostname)), NULL, &texts[0]);
			dot = strchr(buf_str(&texts[0]), '.');
			buf_add_str(&out, dot != NULL && dot[1] != '\0' ? dot + 1 : "localdomain");
			buf_reset(&texts[0]);
			break;
		case P_default_process_limit: machine_process_limit(&out); break;
		default:
			set_expand(c, slice_str(set_raw(c, P_mynetworks_style)), NULL, &texts[0]);
			set_expand(c, slice_str(set_raw(c, P_inet_interfaces)), NULL, &texts[1]);
			set_expand(c, slice_str(set_raw(c, P_inet_protocols)), NULL, &texts[2]);
			machine_networks(
				buf_str(&texts[0]), buf_str(&texts[1]), buf_str(&texts[2]), &out);
		}
		v->machine = mem_str(buf_str(&out));
	}
	for (size_t i = 0; i < 3; i++)
		buf_clear(&texts[i]);
	buf_clear(&out);
}

static void build_rows(struct check *k, struct conf *c, bool with_references)
{
	for (int i = 0; i < P_COUNT; i++) {
		const char *raw = set_raw(c, (enum param)i);

		if ((strchr(raw, '$') != NULL) == with_references)
			build_value(k, slice_str(param_row((enum param)i)->name), (enum param)i,
				raw, &c->values[i]);
	}
}

/* A name of the user's own that smtpd_restriction_classes lists is a restriction list. */
static void check_class(struct check *k, struct slice name, const char *raw, struct slice text)
{
	struct buf classes = BUF_INIT(VALUE_LIMIT), why = BUF_INIT(VALUE_LIMIT);
	size_t where = 0;

	set_expand(k->c, slice_str(set_raw(k->c, P_smtpd_restriction_classes)), NULL, &classes);
	if (value_is_class(buf_str(&classes), name) &&
		value_check_restrictions(text, buf_str(&classes), &why, &where) != 0)
		report(k, name, raw, strchr(raw, '$') == NULL ? where : 0, buf_str(&why));
	buf_clear(&classes);
	buf_clear(&why);
}

struct other_arg {
	struct check *k;
	struct conf *c;
};

static bool build_other(struct slice name, const struct setting *s, void *arg)
{
	struct other_arg *o = arg;
	struct buf text = BUF_INIT(VALUE_LIMIT);
	size_t prefix = 0;
	enum param p = param_find(name), transport = param_find_transport(name, &prefix);

	if (p != P_COUNT)
		return true;
	if (transport != P_COUNT) {
		struct value *v = mem_alloc(sizeof(*v));

		build_value(o->k, name, transport, s->value, v);
		dict_set(o->c->transports, name, v);
		return true;
	}
	/* What Postfix alone knows may hold names that are expanded at delivery. */
	if (param_is_unsupported(name))
		buf_add_str(&text, s->value);
	else
		expand_value(o->k, name, s->value, &text);
	check_class(o->k, name, s->value, buf_slice(&text));
	dict_set(o->c->others, name, slice_dup(buf_slice(&text)));
	buf_clear(&text);
	return true;
}

int set_build(struct conf *c, struct mistakes *m)
{
	struct check k = {.c = c,
		.m = m,
		.wrong = dict_new(NAMES_LIMIT, NULL),
		.undefined = BUF_INIT(VALUE_LIMIT)};
	struct other_arg o = {&k, c};
	int r = 0;

	dict_free(&c->others);
	dict_free(&c->transports);
	c->others = dict_new(NAMES_LIMIT, mem_free);
	c->transports = dict_new(NAMES_LIMIT, value_free);
	fill_from_machine(c);
	/* Names of the user's own come first: a mistake in one is reported there. */
	set_walk(c, build_other, &o);
	build_rows(&k, c, false);
	build_rows(&k, c, true);
	if (dict_count(k.wrong) != 0)
		r = ERR_SYNTAX;
	dict_free(&k.wrong);
	buf_clear(&k.undefined);
	return r;
}

struct references_arg {
	struct dict *names;
	const struct conf *c;
};

static void reference_seen(void *arg, struct slice name)
{
	struct references_arg *a = arg;

	dict_set(a->names, name, a->names);
}

static const char *no_lookup(void *arg, struct slice name)
{
	return NULL;
}

/* Every word behind a '$' counts, whichever branch would be taken. */
static void add_words(const char *raw, struct dict *names)
{
	struct references_arg a = {.names = names};
	struct expand e = {.lookup = no_lookup, .seen = reference_seen, .arg = &a};

	for (const char *p = strchr(raw, '$'); p != NULL; p = strchr(p + 1, '$')) {
		struct buf out = BUF_INIT(EXPAND_LIMIT);

		expand(&e, slice_str(p), &out);
		buf_clear(&out);
	}
}

static bool add_references(struct slice name, const struct setting *s, void *arg)
{
	add_words(s->value, arg);
	return true;
}

void set_add_references(const struct conf *c, struct dict *names)
{
	struct slice rest = slice_str(set_str(c, P_smtpd_restriction_classes)), item;

	set_walk(c, add_references, names);
	for (int i = 0; i < P_COUNT; i++) {
		if (param_row((enum param)i)->programs != PROG_NONE)
			add_words(param_row((enum param)i)->def, names);
	}
	while (line_item(&rest, &item))
		dict_set(names, item, names);
}

const char *set_other(const struct conf *c, struct slice name)
{
	return c->others != NULL ? dict_get(c->others, name) : NULL;
}

const char *set_str(const struct conf *c, enum param p)
{
	return c->values[p].text != NULL ? c->values[p].text : "";
}

bool set_bool(const struct conf *c, enum param p)
{
	return c->values[p].number != 0;
}

int64_t set_int(const struct conf *c, enum param p)
{
	return c->values[p].number;
}

int64_t set_time(const struct conf *c, enum param p)
{
	return c->values[p].number;
}

bool set_is_set(const struct conf *c, enum param p)
{
	return set_find(c, slice_str(param_row(p)->name)) != NULL;
}

static bool encode_one(struct slice name, const struct setting *s, void *arg)
{
	wire_counted(arg, name);
	wire_counted(arg, slice_str(s->value));
	return true;
}

void set_encode(const struct conf *c, struct buf *out)
{
	wire_counted(out, slice_str(c->dir));
	for (int i = 0; i < P_COUNT; i++) {
		if (c->values[i].machine == NULL)
			continue;
		wire_counted(out, slice_str(param_row((enum param)i)->name));
		wire_counted(out, slice_str(c->values[i].machine));
	}
	set_walk(c, encode_one, out);
}

int conf_decode(struct slice encoded, struct buf *why, struct conf **cp)
{
	struct reader r = reader_of(encoded);
	struct slice dir = reader_counted(&r, VALUE_LIMIT);
	struct mistakes m;
	struct conf *c = NULL;
	char *path = slice_dup(dir);
	int err = 0;

	*cp = NULL;
	mistakes_init(&m);
	c = conf_new(path);
	while (r.err == 0 && r.in.len != 0) {
		struct slice name = reader_counted(&r, VALUE_LIMIT);
		struct slice value = reader_counted(&r, VALUE_LIMIT);

		if (r.err == 0)
			set_override(c, name, value, NULL, NULL);
	}
	err = r.err != 0 ? ERR_SYNTAX : set_build(c, &m);
	if (err == 0) {
		*cp = c;
		c = NULL;
	} else {
		buf_add_slice(why, r.err != 0 ? SLICE_LIT("settings cut short")
					      : slice_trim(buf_slice(&m.text)));
	}
	conf_free(&c);
	mem_free(path);
	mistakes_clear(&m);
	return err;
}

struct conf *conf_variant(const char *name, const char *value)
{
	struct conf *c = set_copy(installed);
	struct mistakes m;

	mistakes_init(&m);
	set_override(c, slice_str(name), slice_str(value), NULL, NULL);
	if (set_build(c, &m) != 0)
		conf_free(&c);
	mistakes_clear(&m);
	return c;
}

int64_t conf_variant_number(const struct conf *c, enum param p)
{
	return set_int(c != NULL ? c : installed, p);
}

void conf_install(struct conf **c)
{
	conf_free(&installed);
	installed = *c;
	*c = NULL;
}

const char *conf_default_dir(void)
{
	const char *dir = getenv("MAIL_CONFIG");

	return dir != NULL && *dir != '\0' ? dir : GP_SYSCONFDIR;
}

int conf_load(const char *dir, const char *const *overrides, struct buf *why)
{
	struct conf *c = conf_new(dir);
	struct mistakes m;
	struct slice name, value;
	int r = 0;

	mistakes_init(&m);
	set_read_main(c, &m);
	for (; overrides != NULL && *overrides != NULL; overrides++) {
		if (set_split(slice_str(*overrides), &name, &value) == 0)
			set_override(c, name, value, NULL, NULL);
		else
			mistakes_error(&m, (struct place){0},
				"\"%s\" is no setting; expected name=value", *overrides);
	}
	set_build(c, &m);
	buf_add_slice(why, buf_slice(&m.text));
	r = m.errors != 0 ? ERR_SYNTAX : 0;
	if (r == 0)
		conf_install(&c);
	conf_free(&c);
	mistakes_clear(&m);
	return r;
}

const char *conf_str(enum param p)
{
	return installed != NULL ? set_str(installed, p) : "";
}

bool conf_bool(enum param p)
{
	return installed != NULL && set_bool(installed, p);
}

int64_t conf_int(enum param p)
{
	return installed != NULL ? set_int(installed, p) : 0;
}

int64_t conf_time(enum param p)
{
	return conf_int(p);
}

/* NAME_suffix where it is set, a row of that name (local_…) where there is one, else the row. */
static const struct value *transport_value(const char *transport, enum param p)
{
	char *name = mem_fmt("%s%s", transport, param_row(p)->name + strlen("transport"));
	const struct value *v = NULL;
	enum param own = param_find(slice_str(name));

	if (installed != NULL)
		v = dict_get(installed->transports, slice_str(name));
	if (v == NULL && installed != NULL)
		v = &installed->values[own != P_COUNT ? own : p];
	mem_free(name);
	return v;
}

int64_t conf_transport_int(const char *transport, enum param p)
{
	const struct value *v = transport_value(transport, p);

	return v != NULL ? v->number : 0;
}

int64_t conf_transport_time(const char *transport, enum param p)
{
	return conf_transport_int(transport, p);
}

const char *conf_transport_str(const char *transport, enum param p)
{
	const struct value *v = transport_value(transport, p);

	return v != NULL && v->text != NULL ? v->text : "";
}

const char *conf_lookup(const char *name)
{
	enum param p = param_find(slice_str(name));

	if (installed == NULL || (p != P_COUNT && !set_is_set(installed, p)))
		return NULL;
	if (p != P_COUNT)
		return set_str(installed, p);
	const struct value *v = dict_get(installed->transports, slice_str(name));

	return v != NULL ? v->text : dict_get(installed->others, slice_str(name));
}

const char *conf_name(enum param p)
{
	return param_row(p)->name;
}
