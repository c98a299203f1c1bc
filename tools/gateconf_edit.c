/* SPDX-License-Identifier: ISC */
#include "tools/gateconf.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/err.h"
#include "util/fd.h"
#include "util/mem.h"

/* One name of the command line. */
struct change {
	struct slice name, value;
	unsigned seen;
};

struct edit {
	const struct gateconf *g;
	struct change *change; /* owned */
	size_t changes;
	struct change *now; /* that of the logical line which is being read */
	struct buf out;
};

static int fail(const char *before, const char *text)
{
	fprintf(stderr, "%s: fatal: %s%s\n", gateconf_name, before, text);
	return 1;
}

/* name=value for -e, a name for the others. */
static int read_change(struct edit *e, const char *text)
{
	struct change c = {.name = slice_str(text)};

	if (strchr(text, '\n') != NULL)
		return fail("", "-e, -X, or -# accepts no multi-line input");
	if (e->g->remove || e->g->comment) {
		if (strchr(text, '=') != NULL)
			return fail("", "-X or -# accepts a name without value");
	} else if (set_split(slice_str(text), &c.name, &c.value) != 0) {
		fprintf(stderr, "%s: fatal: missing '=' after attribute name: \"%s\"\n",
			gateconf_name, text);
		return 1;
	}
	e->change = mem_resize(e->change, e->changes + 1, sizeof(c));
	e->change[e->changes++] = c;
	return 0;
}

static struct change *find(struct edit *e, struct slice line)
{
	struct slice name = line;
	struct change *found = NULL;

	name.len = 0;
	while (name.len < line.len && strchr(" \t=\r\n", line.p[name.len]) == NULL)
		name.len++;
	/* The last one on the command line wins. */
	for (size_t i = 0; i < e->changes; i++) {
		if (slice_eq(name, e->change[i].name))
			found = &e->change[i];
	}
	return found;
}

static void put(struct edit *e, const struct change *c)
{
	buf_add_fmt(&e->out, "%.*s = %.*s\n", SLICE_FMT(c->name), SLICE_FMT(c->value));
}

static void edit_line(struct edit *e, struct slice line)
{
	struct slice text = slice_trim(line);
	bool goes_on = line.len != 0 && (line.p[0] == ' ' || line.p[0] == '\t');
	bool first = false;

	if (text.len != 0 && text.p[0] != '#' && !goes_on) {
		e->now = find(e, line);
		first = e->now != NULL;
		if (first && ++e->now->seen == 2)
			fprintf(stderr, "%s: warning: %s/main.cf: multiple entries for \"%.*s\"\n",
				gateconf_name, e->g->dir, SLICE_FMT(e->now->name));
	}
	if (text.len == 0 || text.p[0] == '#' || e->now == NULL)
		buf_add_fmt(&e->out, "%.*s\n", SLICE_FMT(line));
	else if (e->g->comment)
		buf_add_fmt(&e->out, "#%.*s\n", SLICE_FMT(line));
	else if (first && !e->g->remove)
		put(e, e->now);
}

static void edit_file(struct edit *e, struct slice file)
{
	struct slice line;

	while (file.len != 0 && slice_part(&file, '\n', &line))
		edit_line(e, line);
	for (size_t i = 0; i < e->changes && !e->g->remove && !e->g->comment; i++) {
		if (e->change[i].seen == 0 && find(e, e->change[i].name) == &e->change[i])
			put(e, &e->change[i]);
	}
}

int gateconf_replace(const char *path, const struct buf *text, const struct stat *st)
{
	char *temporary = mem_fmt("%s.tmp", path);
	int fd = open(temporary, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600), r = ERR_SYS;

	if (fd >= 0 && flock(fd, LOCK_EX) == 0 && ftruncate(fd, 0) == 0 &&
		fd_write_full(fd, buf_str(text), text->len) == 0 &&
		fchmod(fd, st->st_mode & 07777) == 0 &&
		(geteuid() != 0 || fchown(fd, st->st_uid, st->st_gid) == 0) && fsync(fd) == 0 &&
		rename(temporary, path) == 0)
		r = 0;
	else if (fd >= 0)
		unlink(temporary);
	fd_close(&fd);
	mem_free(temporary);
	return r;
}

int gateconf_edit(const struct gateconf *g, char **names)
{
	struct edit e = {.g = g, .out = BUF_INIT(2 * LINE_FILE_LIMIT)};
	char *path = mem_fmt("%s/main.cf", g->dir);
	struct buf file = BUF_INIT(LINE_FILE_LIMIT);
	struct stat st;
	int r = 0;

	if (*names == NULL)
		r = fail("",
			g->edit ? "-e requires name=value argument" : "-X or -# requires a name");
	for (; r == 0 && *names != NULL; names++)
		r = read_change(&e, *names);
	if (r == 0 && (stat(path, &st) != 0 || line_read_file(path, &file) != 0))
		r = fail("open ", mem_fmt("%s: %s", path, err_str(ERR_SYS)));
	if (r == 0) {
		edit_file(&e, buf_slice(&file));
		if (gateconf_replace(path, &e.out, &st) != 0)
			r = fail("write ", mem_fmt("%s: %s", path, err_str(ERR_SYS)));
	}
	mem_free(e.change);
	mem_free(path);
	buf_clear(&file);
	buf_clear(&e.out);
	return r;
}
