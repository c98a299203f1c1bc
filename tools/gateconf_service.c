/* SPDX-License-Identifier: ISC */
#include "tools/gateconf.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "util/err.h"
#include "util/mem.h"

/*
 * Changes to master.cf (-M, -F, -P with -e, -X or -#): a service is its line with the lines that go
 * on from it. All other lines stay; a service that is not changed keeps its bytes.
 */
enum { TEXT_LIMIT = 1 << 20, FIELD_COMMAND = GATECONF_COLUMNS - 1 };

/* One name of the command line: NAME/TYPE, with /FIELD or /PARAMETER for -F and -P. */
struct change {
	struct slice name, type, part, value;
	int field; /* -F */
	bool was_seen;
};

struct edit {
	const struct gateconf *g;
	struct change *change; /* owned */
	size_t changes;
	struct buf out;
	/* The service that is being read. */
	struct buf text, raw, inner; /* as one line, as it stands, comments between its lines */
	int err;
};

static int fail(struct edit *e, const char *what, struct slice text)
{
	fprintf(stderr, "%s: fatal: %s\"%.*s\"\n", gateconf_name, what, SLICE_FMT(text));
	e->err = 1;
	return 1;
}

/* ---- The command line. ---- */

static bool is_number(struct slice s)
{
	uint64_t n;

	return slice_u64(s, 0, 1000000, &n) == 0;
}

static bool is_field(int i, struct slice s)
{
	static const char *const types[] = {"inet", "unix", "fifo", "pass", "unix-dgram"};

	if (s.len == 0)
		return false;
	switch (i) {
	case 1:
		for (size_t k = 0; k < sizeof(types) / sizeof(types[0]); k++)
			if (slice_eq_str(s, types[k]))
				return true;
		return false;
	case 2:
	case 3:
	case 4: return slice_eq_str(s, "-") || slice_eq_str(s, "y") || slice_eq_str(s, "n");
	case 5:
		if (s.len > 1 && s.p[s.len - 1] == '?')
			s.len--;
		return slice_eq_str(s, "-") || is_number(s);
	case 6: return slice_eq_str(s, "-") || is_number(s);
	default: return true;
	}
}

static int check_row(struct edit *e, const struct gateconf_row *row, struct slice text)
{
	char what[64];

	for (int i = 0; i < GATECONF_COLUMNS; i++)
		if (!is_field(i, row->column[i])) {
			snprintf(what, sizeof(what), "invalid %s field \"%.*s\" in ",
				gateconf_fields[i], SLICE_FMT(slice_first(row->column[i], 20)));
			return fail(e, what, text);
		}
	return 0;
}

/* What stands behind the '=' of -e. */
static int check_value(struct edit *e, struct change *c, struct slice text)
{
	struct gateconf_row row;

	if (e->g->master)
		return gateconf_split(c->value, &row) ? check_row(e, &row, text)
						      : fail(e, "bad field count: ", text);
	if (e->g->master_fields)
		return is_field(c->field, c->value) ? 0 : fail(e, "invalid value in ", text);
	if (slice_find(c->value, ' ') >= 0 || slice_find(c->value, '\t') >= 0)
		return fail(e, "-Pe does not accept whitespace in parameter value: ", text);
	return 0;
}

static int read_change(struct edit *e, const char *arg)
{
	struct slice text = slice_str(arg), rest = text;
	struct change c = {.field = -1};
	ptrdiff_t equal = slice_find(text, '=');

	if (strchr(arg, '\n') != NULL)
		return fail(e, "-e, -X, or -# accepts no multi-line input: ", text);
	if (e->g->edit && equal < 0)
		return fail(e, "missing '=' after attribute name: ", text);
	if (!e->g->edit && equal >= 0)
		return fail(e, "-X or -# accepts a name without value: ", text);
	if (equal >= 0) {
		rest = slice_trim(slice_first(text, (size_t)equal));
		c.value = slice_trim(slice_from(text, (size_t)equal + 1));
	}
	if (!slice_part(&rest, '/', &c.name) || !slice_part(&rest, '/', &c.type) ||
		c.name.len == 0 || c.type.len == 0)
		return fail(e, "a service is named by NAME/TYPE, not by ", text);
	c.part = rest;
	if ((c.part.len > 0) == e->g->master)
		return fail(e,
			e->g->master ? "a service is named by NAME/TYPE, not by "
				     : "NAME/TYPE/ is to be followed by a name in ",
			text);
	for (int i = 0; e->g->master_fields && i < GATECONF_COLUMNS; i++)
		if (slice_eq_str(c.part, gateconf_fields[i]))
			c.field = i;
	if (e->g->master_fields && c.field < 0)
		return fail(e, "invalid service attribute name: ", c.part);
	e->change = mem_resize(e->change, e->changes + 1, sizeof(c));
	e->change[e->changes++] = c;
	return e->g->edit ? check_value(e, &c, text) : 0;
}

/* ---- A service. ---- */

static bool matches(const struct change *c, const struct gateconf_row *row)
{
	return (slice_eq_str(c->name, "*") || slice_eq(c->name, row->column[0])) &&
	       (slice_eq_str(c->type, "*") || slice_eq(c->type, row->column[1]));
}

/* The arguments with -o NAME as the change wants it; false: it was not there. */
static bool change_option(const struct change *c, bool remove, struct slice rest, struct buf *out)
{
	struct slice word, name, value;
	bool was_there = false;

	while (line_word(&rest, &word)) {
		bool is_o = slice_eq_str(word, "-o");
		struct slice setting = word;

		if (is_o && !line_word(&rest, &setting))
			break;
		if (is_o && set_split(gateconf_unbrace(setting), &name, &value) == 0 &&
			slice_eq(name, c->part)) {
			was_there = true;
			if (!remove)
				buf_add_fmt(out, " -o %.*s=%.*s", SLICE_FMT(c->part),
					SLICE_FMT(c->value));
		} else {
			buf_add_fmt(out, is_o ? " -o %.*s" : " %.*s", SLICE_FMT(setting));
		}
	}
	return was_there;
}

/* The row with one change in it, as one line in text. */
static void change_row(struct edit *e, const struct change *c, struct gateconf_row *row)
{
	struct buf text = BUF_INIT(TEXT_LIMIT);

	for (int i = 0; i < GATECONF_COLUMNS; i++) {
		struct slice field = row->column[i];

		if (e->g->master_fields && i == c->field)
			field = c->value;
		buf_add_fmt(&text, i > 0 ? " %.*s" : "%.*s", SLICE_FMT(field));
	}
	if (e->g->master_fields && c->field != FIELD_COMMAND)
		buf_add_fmt(&text, " %.*s", SLICE_FMT(row->rest));
	else if (e->g->master_params && !change_option(c, e->g->remove, row->rest, &text) &&
		 !e->g->remove)
		buf_add_fmt(&text, " -o %.*s=%.*s", SLICE_FMT(c->part), SLICE_FMT(c->value));
	if (e->g->master) {
		buf_reset(&text);
		(void)buf_add_slice(&text, c->value);
	}
	buf_clear(&e->text);
	e->text = text;
	(void)gateconf_split(buf_slice(&e->text), row);
}

static void comment_out(struct edit *e)
{
	struct slice rest = buf_slice(&e->raw), line;

	while (rest.len > 0 && slice_part(&rest, '\n', &line))
		buf_add_fmt(&e->out, "#%.*s\n", SLICE_FMT(line));
}

/* The service is complete. */
static void flush(struct edit *e)
{
	struct gateconf_row row;
	bool is_changed = false, is_gone = false;

	if (e->raw.len == 0)
		return;
	if (!gateconf_split(buf_slice(&e->text), &row)) {
		fail(e, "bad field count in master.cf: ", buf_slice(&e->text));
		return;
	}
	for (size_t i = 0; i < e->changes && !is_gone; i++) {
		struct change *c = &e->change[i];

		if (!matches(c, &row))
			continue;
		c->was_seen = is_changed = true;
		is_gone = e->g->master && !e->g->edit;
		if (!is_gone)
			change_row(e, c, &row);
	}
	if (!is_changed) {
		(void)buf_add_slice(&e->out, buf_slice(&e->raw));
	} else if (!is_gone) {
		gateconf_format_row(&row, true, &e->out);
		buf_add_char(&e->out, '\n');
	} else if (e->g->comment) {
		comment_out(e);
	}
	(void)buf_add_slice(&e->out, buf_slice(&e->inner));
	buf_reset(&e->raw);
	buf_reset(&e->text);
	buf_reset(&e->inner);
}

/* Comments between the lines of a service come behind it when it is changed, and stay else. */
static void take_line(struct edit *e, struct slice line)
{
	struct slice text = slice_trim(line);
	bool is_comment = text.len == 0 || text.p[0] == '#';
	bool goes_on = !is_comment && (line.p[0] == ' ' || line.p[0] == '\t');

	if (is_comment && e->raw.len > 0) {
		buf_add_fmt(&e->inner, "%.*s\n", SLICE_FMT(line));
		return;
	}
	if (is_comment) {
		buf_add_fmt(&e->out, "%.*s\n", SLICE_FMT(line));
		return;
	}
	if (!goes_on)
		flush(e);
	else {
		(void)buf_add_slice(&e->raw, buf_slice(&e->inner));
		buf_reset(&e->inner);
		buf_add_char(&e->text, ' ');
	}
	(void)buf_add_slice(&e->text, text);
	buf_add_fmt(&e->raw, "%.*s\n", SLICE_FMT(line));
}

/* -M -e of a service that is not there yet. */
static void add_new(struct edit *e)
{
	struct gateconf_row row;

	for (size_t i = 0; e->g->master && e->g->edit && i < e->changes; i++) {
		if (e->change[i].was_seen || !gateconf_split(e->change[i].value, &row))
			continue;
		gateconf_format_row(&row, true, &e->out);
		buf_add_char(&e->out, '\n');
	}
}

static int check_options(const struct gateconf *g, char **names)
{
	const char *why = NULL;

	if (g->comment && g->master_params)
		why = "with option -P, do not specify -#";
	else if (g->master_fields && !g->edit)
		why = "with option -F, do not specify -X or -#";
	else if (*names == NULL)
		why = "-e, -X and -# want the names of services";
	if (why != NULL)
		fprintf(stderr, "%s: fatal: %s\n", gateconf_name, why);
	return why != NULL;
}

int gateconf_service(const struct gateconf *g, char **names)
{
	struct edit e = {.g = g,
		.out = BUF_INIT(2 * LINE_FILE_LIMIT),
		.text = BUF_INIT(TEXT_LIMIT),
		.raw = BUF_INIT(TEXT_LIMIT),
		.inner = BUF_INIT(TEXT_LIMIT)};
	char *path = mem_fmt("%s/master.cf", g->dir);
	struct buf file = BUF_INIT(LINE_FILE_LIMIT);
	struct slice rest, line;
	struct stat st;

	e.err = check_options(g, names);
	for (; e.err == 0 && *names != NULL; names++)
		e.err = read_change(&e, *names);
	if (e.err == 0 && (stat(path, &st) != 0 || line_read_file(path, &file) != 0)) {
		fprintf(stderr, "%s: fatal: open %s: %s\n", gateconf_name, path, err_str(ERR_SYS));
		e.err = 1;
	}
	rest = buf_slice(&file);
	while (e.err == 0 && rest.len > 0 && slice_part(&rest, '\n', &line))
		take_line(&e, line);
	if (e.err == 0)
		flush(&e);
	if (e.err == 0)
		add_new(&e);
	if (e.err == 0 && gateconf_replace(path, &e.out, &st) != 0) {
		fprintf(stderr, "%s: fatal: write %s: %s\n", gateconf_name, path, err_str(ERR_SYS));
		e.err = 1;
	}
	mem_free(e.change);
	mem_free(path);
	buf_clear(&file);
	buf_clear(&e.out);
	buf_clear(&e.text);
	buf_clear(&e.raw);
	buf_clear(&e.inner);
	return e.err;
}
