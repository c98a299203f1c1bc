/* SPDX-License-Identifier: ISC */
#include "tools/gateconf.h"
#include "tools/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/err.h"
#include "util/mem.h"

enum {
	COLUMNS = GATECONF_COLUMNS,
	LINE_LIMIT = 1 << 20,
	OPTIONS = 200,
	NAMES_LIMIT = 20000,
	FOLD_COLUMN = 80
};

const char *const gateconf_fields[COLUMNS] = {"service", "type", "private", "unprivileged",
	"chroot", "wakeup", "process_limit", "command"};

/* Where Postfix's columns begin. */
static const size_t starts[COLUMNS] = {0, 11, 17, 25, 33, 41, 49, 57};

bool gateconf_split(struct slice line, struct gateconf_row *row)
{
	for (int i = 0; i < COLUMNS; i++) {
		if (!line_word(&line, &row->column[i]))
			return false;
	}
	row->rest = line;
	return true;
}

/* NAME, NAME/TYPE or, for -P, NAME/TYPE/PARAMETER; '*' for any. */
static bool matches(const char *pattern, const struct gateconf_row *row, struct slice param)
{
	struct slice rest = slice_str(pattern), part;
	const struct slice *want[3] = {&row->column[0], &row->column[1], &param};

	for (int i = 0; i < 3 && slice_part(&rest, '/', &part); i++) {
		if (!slice_eq_str(part, "*") && want[i]->len != 0 && !slice_eq(part, *want[i]))
			return false;
	}
	return true;
}

static bool is_wanted(char **names, const struct gateconf_row *row, struct slice param)
{
	if (*names == NULL)
		return true;
	for (; *names != NULL; names++) {
		if (matches(*names, row, param))
			return true;
	}
	return false;
}

struct slice gateconf_unbrace(struct slice word)
{
	if (word.len >= 2 && word.p[0] == '{' && word.p[word.len - 1] == '}')
		return slice_trim(slice_first(slice_from(word, 1), word.len - 2));
	return word;
}

/* An argument as Postfix shows it: { } only around what has blanks, "=" without any. */
static void add_argument(struct buf *out, struct slice word, bool is_setting)
{
	struct slice text = gateconf_unbrace(word), name, value;
	bool braces = slice_find(text, ' ') >= 0 || slice_find(text, '\t') >= 0;

	if (is_setting && set_split(text, &name, &value) == 0) {
		braces = slice_find(value, ' ') >= 0 || slice_find(value, '\t') >= 0;
		buf_add_fmt(out, braces ? "{%.*s=%.*s}" : "%.*s=%.*s", SLICE_FMT(name),
			SLICE_FMT(value));
	} else {
		buf_add_fmt(out, braces ? "{%.*s}" : "%.*s", SLICE_FMT(text));
	}
}

/* Folded, an option with its value has a line of its own; all else fills lines. */
static void add_arguments(struct slice rest, bool fold, size_t column, struct buf *out)
{
	struct slice word, value;
	struct buf text = BUF_INIT(LINE_LIMIT);
	bool alone = false;

	while (line_word(&rest, &word)) {
		bool was_alone = alone;

		buf_reset(&text);
		add_argument(&text, word, false);
		alone = slice_eq_str(word, "-o") && line_word(&rest, &value);
		if (alone) {
			buf_add_char(&text, ' ');
			add_argument(&text, value, true);
		}
		if (fold && (alone || was_alone || column + 1 + text.len >= FOLD_COLUMN)) {
			buf_add_str(out, "\n    ");
			column = 4;
		} else {
			buf_add_char(out, ' ');
			column++;
		}
		buf_add_slice(out, buf_slice(&text));
		column += text.len;
	}
	buf_clear(&text);
}

void gateconf_format_row(const struct gateconf_row *row, bool fold, struct buf *out)
{
	size_t begin = out->len;

	for (int i = 0; i < COLUMNS; i++) {
		do {
			if (i > 0)
				buf_add_char(out, ' ');
		} while (out->len - begin < starts[i]);
		buf_add_slice(out, row->column[i]);
	}
	add_arguments(row->rest, fold, out->len - begin, out);
}

/* -x: the same arguments with the values of -o expanded, by main.cf and the others of the row. */
static void expand_row(const struct conf *main, struct gateconf_row *row, struct buf *rest)
{
	struct conf *c = set_copy(main);
	struct buf why = BUF_INIT(1024), text = BUF_INIT(LINE_LIMIT);
	struct slice words, word, name, value;
	struct mistakes ignored;

	mistakes_init(&ignored);
	for (int round = 0; round < 2; round++) {
		bool is_setting = false;

		for (words = row->rest; line_word(&words, &word);
			is_setting = slice_eq_str(word, "-o")) {
			if (!is_setting || set_split(gateconf_unbrace(word), &name, &value) != 0) {
				if (round == 1)
					buf_add_fmt(rest, " %.*s", SLICE_FMT(word));
				continue;
			}
			if (round == 0) {
				set_override(c, name, value, NULL, NULL);
				continue;
			}
			buf_reset(&text);
			(void)set_expand(c, value, &why, &text);
			buf_add_fmt(rest, " { %.*s = %s }", SLICE_FMT(name), buf_str(&text));
		}
		if (round == 0)
			(void)set_build(c, &ignored);
	}
	row->rest = buf_slice(rest);
	mistakes_clear(&ignored);
	buf_clear(&why);
	buf_clear(&text);
	conf_free(&c);
}

static void print_row(const struct gateconf *g, const struct gateconf_row *row)
{
	static const char *const names[COLUMNS] = {"service", "type", "private", "unprivileged",
		"chroot", "wakeup", "maxproc", "command"};
	struct buf out = BUF_INIT(LINE_LIMIT);

	if (g->json) {
		putchar('{');
		for (int i = 0; i < COLUMNS; i++)
			json_member(names[i], row->column[i], i == 0);
		json_member("arguments", slice_trim(row->rest), false);
		puts("}");
		return;
	}
	gateconf_format_row(row, g->fold, &out);
	puts(buf_str(&out));
	buf_clear(&out);
}

static int compare(const void *a, const void *b)
{
	return slice_cmp(*(const struct slice *)a, *(const struct slice *)b);
}

static void print_param(const struct gateconf *g, const struct gateconf_row *row, struct slice name,
	struct slice value)
{
	if (!g->json && g->no_name) {
		printf("%.*s\n", SLICE_FMT(value));
		return;
	}
	if (!g->json && g->no_value) {
		printf("%.*s/%.*s/%.*s\n", SLICE_FMT(row->column[0]), SLICE_FMT(row->column[1]),
			SLICE_FMT(name));
		return;
	}
	if (!g->json) {
		printf("%.*s/%.*s/%.*s = %.*s\n", SLICE_FMT(row->column[0]),
			SLICE_FMT(row->column[1]), SLICE_FMT(name), SLICE_FMT(value));
		return;
	}
	putchar('{');
	json_member("service", row->column[0], true);
	json_member("type", row->column[1], false);
	json_member("name", name, false);
	json_member("value", value, false);
	puts("}");
}

static void print_params(const struct gateconf *g, const struct gateconf_row *row, char **names)
{
	struct slice rest = row->rest, word, name, value, found[OPTIONS];
	size_t count = 0;
	bool is_setting = false;

	while (count < OPTIONS && line_word(&rest, &word)) {
		if (is_setting)
			found[count++] = gateconf_unbrace(word);
		is_setting = slice_eq_str(word, "-o");
	}
	qsort(found, count, sizeof(*found), compare);
	for (size_t i = 0; i < count; i++) {
		if (set_split(found[i], &name, &value) == 0 && is_wanted(names, row, name))
			print_param(g, row, name, value);
	}
}

static void print_fields(const struct gateconf *g, const struct gateconf_row *row, char **names)
{
	struct buf command = BUF_INIT(LINE_LIMIT);

	size_t before = row->column[0].len + row->column[1].len + strlen("//command = ");

	buf_add_slice(&command, row->column[COLUMNS - 1]);
	add_arguments(row->rest, g->fold, before + command.len, &command);
	for (int i = 0; i < COLUMNS; i++)
		if (is_wanted(names, row, slice_str(gateconf_fields[i])))
			print_param(g, row, slice_str(gateconf_fields[i]),
				i == COLUMNS - 1 ? buf_slice(&command) : row->column[i]);
	buf_clear(&command);
}

/* ---- What nobody uses. ---- */

struct options {
	struct slice text[OPTIONS]; /* name=value, borrowed */
	size_t n;
};

static void collect(struct options *all, const struct gateconf_row *row)
{
	struct slice rest = row->rest, word;
	bool is_setting = false;

	while (all->n < OPTIONS && line_word(&rest, &word)) {
		if (is_setting)
			all->text[all->n++] = slice_str(slice_dup(gateconf_unbrace(word)));
		is_setting = slice_eq_str(word, "-o");
	}
}

/* $name, ${name or $(name in one of the options. */
static bool is_named(const struct options *all, struct slice name)
{
	char *words[3] = {mem_fmt("$%.*s", SLICE_FMT(name)), mem_fmt("${%.*s", SLICE_FMT(name)),
		mem_fmt("$(%.*s", SLICE_FMT(name))};
	bool found = false;

	for (size_t i = 0; i < all->n; i++)
		for (int k = 0; k < 3; k++)
			found = found || slice_find_str(all->text[i], words[k]) >= 0;
	for (int k = 0; k < 3; k++)
		mem_free(words[k]);
	return found;
}

static void warn_unused(
	const struct gateconf *g, const struct conf *main, const char *path, struct options *all)
{
	struct dict *used = dict_new(NAMES_LIMIT, NULL);
	struct slice name, value;
	size_t prefix = 0;

	set_add_references(main, used);
	for (size_t i = 0; i < all->n && !g->quiet; i++)
		if (set_split(all->text[i], &name, &value) == 0 && param_find(name) == P_COUNT &&
			!param_is_unsupported(name) &&
			param_find_transport(name, &prefix) == P_COUNT &&
			dict_get(used, name) == NULL && !is_named(all, name))
			fprintf(stderr, "%s: warning: %s: unused parameter: %.*s=%.*s\n",
				gateconf_name, path, SLICE_FMT(name), SLICE_FMT(value));
	for (size_t i = 0; i < all->n; i++)
		mem_free((char *)(uintptr_t)all->text[i].p);
	dict_free(&used);
}

/* ---- The file. ---- */

/* A third part of a name is a field's for -F. */
static int check_names(const struct gateconf *g, char **names)
{
	for (; *names != NULL; names++) {
		struct slice rest = slice_str(*names), part;
		bool found = false;

		if (!g->master_fields || !slice_part(&rest, '/', &part) ||
			!slice_part(&rest, '/', &part) || rest.len == 0)
			continue;
		for (int i = 0; i < COLUMNS; i++)
			found = found || slice_eq_str(rest, gateconf_fields[i]) ||
				slice_eq_str(rest, "*");
		if (found)
			continue;
		fprintf(stderr, "%s: fatal: invalid service attribute name: \"%.*s\"\n",
			gateconf_name, SLICE_FMT(rest));
		return 1;
	}
	return 0;
}

static void note_matches(char **names, bool *seen, const struct gateconf_row *row)
{
	for (size_t i = 0; names[i] != NULL; i++)
		seen[i] = seen[i] || matches(names[i], row, SLICE_NONE);
}

/* main.cf, whose mistakes are said elsewhere. */
static struct conf *read_main(const struct gateconf *g)
{
	struct conf *c = conf_new(g->dir);
	struct mistakes ignored;
	struct slice name, value;

	mistakes_init(&ignored);
	(void)set_read_main(c, &ignored);
	for (const char *const *o = g->overrides; o != NULL && *o != NULL; o++)
		if (set_split(slice_str(*o), &name, &value) == 0)
			set_override(c, name, value, NULL, NULL);
	(void)set_build(c, &ignored);
	mistakes_clear(&ignored);
	return c;
}

static void show_row(
	const struct gateconf *g, const struct conf *main, struct gateconf_row *row, char **names)
{
	struct buf rest = BUF_INIT(LINE_LIMIT);

	if (g->expand)
		expand_row(main, row, &rest);
	if (g->master_params)
		print_params(g, row, names);
	else if (g->master_fields)
		print_fields(g, row, names);
	else if (is_wanted(names, row, SLICE_NONE))
		print_row(g, row);
	buf_clear(&rest);
}

int gateconf_master(const struct gateconf *g, char **names)
{
	char *path = mem_fmt("%s/master.cf", g->dir);
	struct buf file = BUF_INIT(LINE_FILE_LIMIT);
	struct line_reader r;
	struct gateconf_row row;
	struct options all = {.n = 0};
	struct conf *main = read_main(g);
	bool *seen;
	size_t n = 0;
	int err = check_names(g, names);

	while (names[n] != NULL)
		n++;
	seen = mem_array(n + 1, sizeof(*seen));
	if (err == 0 && line_read_file(path, &file) != 0) {
		fprintf(stderr, "%s: fatal: open %s: %s\n", gateconf_name, path, err_str(ERR_SYS));
		err = 1;
	}
	line_init(&r, buf_slice(&file));
	while (err == 0 && line_next(&r)) {
		if (!gateconf_split(buf_slice(&r.text), &row)) {
			fprintf(stderr, "%s: fatal: %s: line %u: bad field count\n", gateconf_name,
				path, r.pieces.piece[0].line);
			err = 1;
			break;
		}
		note_matches(names, seen, &row);
		collect(&all, &row);
		show_row(g, main, &row, names);
	}
	for (size_t i = 0; err == 0 && i < n; i++)
		if (!seen[i])
			fprintf(stderr, "%s: warning: unmatched request: \"%s\"\n", gateconf_name,
				names[i]);
	if (err == 0)
		warn_unused(g, main, path, &all);
	mem_free(seen);
	line_clear(&r);
	buf_clear(&file);
	mem_free(path);
	conf_free(&main);
	return err;
}

/* Programs that a transport's settings are for. */
static bool is_agent(struct slice command)
{
	static const char *const agents[] = {
		"smtp", "smtp-client", "lmtp", "local", "virtual", "pipe", "error"};

	for (size_t i = 0; i < sizeof(agents) / sizeof(*agents); i++)
		if (slice_eq_str(command, agents[i]))
			return true;
	return false;
}

void gateconf_transports(
	const struct gateconf *g, void (*add)(struct slice name, void *arg), void *arg)
{
	char *path = mem_fmt("%s/master.cf", g->dir);
	struct buf file = BUF_INIT(LINE_FILE_LIMIT);
	struct line_reader r;
	struct gateconf_row row;

	(void)line_read_file(path, &file);
	line_init(&r, buf_slice(&file));
	while (line_next(&r))
		if (gateconf_split(buf_slice(&r.text), &row) && is_agent(row.column[COLUMNS - 1]))
			add(row.column[0], arg);
	line_clear(&r);
	buf_clear(&file);
	mem_free(path);
}

void gateconf_warn_master(const struct gateconf *g, const struct conf *main)
{
	char *path = mem_fmt("%s/master.cf", g->dir);
	struct buf file = BUF_INIT(LINE_FILE_LIMIT);
	struct line_reader r;
	struct gateconf_row row;
	struct options all = {.n = 0};

	(void)line_read_file(path, &file);
	line_init(&r, buf_slice(&file));
	while (line_next(&r))
		if (gateconf_split(buf_slice(&r.text), &row))
			collect(&all, &row);
	warn_unused(g, main, path, &all);
	line_clear(&r);
	buf_clear(&file);
	mem_free(path);
}
