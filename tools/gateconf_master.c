/* SPDX-License-Identifier: ISC */
#include "tools/gateconf.h"
#include "tools/json.h"

#include <stdio.h>
#include <stdlib.h>

#include "util/err.h"
#include "util/mem.h"

enum { COLUMNS = 8, LINE_LIMIT = 1 << 20, OPTIONS = 200 };

/* Where Postfix's columns begin. */
static const size_t starts[COLUMNS] = {0, 11, 17, 25, 33, 41, 49, 57};

/* One service: its eight columns and the arguments behind them. */
struct row {
	struct slice column[COLUMNS], rest;
};

static bool split(struct slice line, struct row *row)
{
	for (int i = 0; i < COLUMNS; i++) {
		if (!line_word(&line, &row->column[i]))
			return false;
	}
	row->rest = line;
	return true;
}

/* NAME, NAME/TYPE or, for -P, NAME/TYPE/PARAMETER; '*' for any. */
static bool matches(const char *pattern, const struct row *row, struct slice param)
{
	struct slice rest = slice_str(pattern), part;
	const struct slice *want[3] = {&row->column[0], &row->column[1], &param};

	for (int i = 0; i < 3 && slice_part(&rest, '/', &part); i++) {
		if (!slice_eq_str(part, "*") && want[i]->len != 0 && !slice_eq(part, *want[i]))
			return false;
	}
	return true;
}

static bool is_wanted(char **names, const struct row *row, struct slice param)
{
	if (*names == NULL)
		return true;
	for (; *names != NULL; names++) {
		if (matches(*names, row, param))
			return true;
	}
	return false;
}

static struct slice unbrace(struct slice word)
{
	if (word.len >= 2 && word.p[0] == '{' && word.p[word.len - 1] == '}')
		return slice_trim(slice_first(slice_from(word, 1), word.len - 2));
	return word;
}

/* An argument as Postfix shows it: { } only around what has blanks, "=" without any. */
static void add_argument(struct buf *out, struct slice word, bool is_setting)
{
	struct slice text = unbrace(word), name, value;
	bool braces = slice_find(text, ' ') >= 0 || slice_find(text, '\t') >= 0;

	if (is_setting && set_split(text, &name, &value) == 0) {
		braces = slice_find(value, ' ') >= 0 || slice_find(value, '\t') >= 0;
		buf_add_fmt(out, braces ? "{%.*s=%.*s}" : "%.*s=%.*s", SLICE_FMT(name),
			SLICE_FMT(value));
	} else {
		buf_add_fmt(out, braces ? "{%.*s}" : "%.*s", SLICE_FMT(text));
	}
}

static void print_row(const struct gateconf *g, const struct row *row)
{
	static const char *const names[COLUMNS] = {"service", "type", "private", "unprivileged",
		"chroot", "wakeup", "maxproc", "command"};
	struct buf out = BUF_INIT(LINE_LIMIT);
	struct slice rest = row->rest, word;
	bool is_setting = false;

	if (g->json) {
		putchar('{');
		for (int i = 0; i < COLUMNS; i++)
			json_member(names[i], row->column[i], i == 0);
		json_member("arguments", slice_trim(rest), false);
		puts("}");
		return;
	}
	for (int i = 0; i < COLUMNS; i++) {
		do {
			if (i > 0)
				buf_add_char(&out, ' ');
		} while (out.len < starts[i]);
		buf_add_slice(&out, row->column[i]);
	}
	while (line_word(&rest, &word)) {
		bool begins = word.p[0] == '-' && !is_setting;

		buf_add_str(&out, g->fold && begins ? "\n    " : " ");
		add_argument(&out, word, is_setting);
		is_setting = slice_eq_str(word, "-o");
	}
	puts(buf_str(&out));
	buf_clear(&out);
}

static int compare(const void *a, const void *b)
{
	return slice_cmp(*(const struct slice *)a, *(const struct slice *)b);
}

static void print_param(
	const struct gateconf *g, const struct row *row, struct slice name, struct slice value)
{
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

static void print_params(const struct gateconf *g, const struct row *row, char **names)
{
	struct slice rest = row->rest, word, name, value, found[OPTIONS];
	size_t count = 0;
	bool is_setting = false;

	while (count < OPTIONS && line_word(&rest, &word)) {
		if (is_setting)
			found[count++] = unbrace(word);
		is_setting = slice_eq_str(word, "-o");
	}
	qsort(found, count, sizeof(*found), compare);
	for (size_t i = 0; i < count; i++) {
		if (set_split(found[i], &name, &value) == 0 && is_wanted(names, row, name))
			print_param(g, row, name, value);
	}
}

int gateconf_master(const struct gateconf *g, char **names)
{
	char *path = mem_fmt("%s/master.cf", g->dir);
	struct buf file = BUF_INIT(LINE_FILE_LIMIT);
	struct line_reader r;
	struct row row;
	int err = 0;

	if (g->edit || g->remove || g->comment) {
		fprintf(stderr, "%s: fatal: master.cf is not edited here; edit the file itself\n",
			gateconf_name);
		err = 1;
	} else if (line_read_file(path, &file) != 0) {
		fprintf(stderr, "%s: fatal: open %s: %s\n", gateconf_name, path, err_str(ERR_SYS));
		err = 1;
	}
	line_init(&r, buf_slice(&file));
	while (err == 0 && line_next(&r)) {
		if (!split(buf_slice(&r.text), &row)) {
			fprintf(stderr, "%s: fatal: %s: line %u: bad field count\n", gateconf_name,
				path, r.pieces.piece[0].line);
			err = 1;
		} else if (g->master_params) {
			print_params(g, &row, names);
		} else if (is_wanted(names, &row, SLICE_NONE)) {
			print_row(g, &row);
		}
	}
	line_clear(&r);
	buf_clear(&file);
	mem_free(path);
	return err;
}
