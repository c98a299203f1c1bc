/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "map/text.h"
#include "tools/gatemap.h"
#include "util/err.h"
#include "util/fd.h"
#include "util/mem.h"

enum { SOURCE_LIMIT = 1024 * 1024 * 1024 };

static void report(const struct text *t, unsigned line, const char *what)
{
	gatemap_warning("%s, line %u: %s", t->file, line, what);
}

/*
 * Root that builds somebody's table becomes that user for it: what is written belongs to the owner,
 * and a path in a user's directory gives the user no power of root.
 */
static void become_owner(const struct stat *st)
{
	if (!gatemap_options.as_owner || geteuid() != 0 || st->st_uid == 0)
		return;
	if (setgroups(1, &st->st_gid) != 0 || setegid(st->st_gid) != 0 || seteuid(st->st_uid) != 0)
		gatemap_fatal(
			"cannot become user %lu: %s", (unsigned long)st->st_uid, strerror(errno));
}

/* Nobody may read in the table what they may not read in its source. */
static mode_t mode_for(const struct stat *st)
{
	mode_t mode = 0644;
	if (gatemap_options.source_mode && S_ISREG(st->st_mode))
		mode &= st->st_mode | 0600;
	return mode;
}

static struct map_build *begin(const char *type, const char *file, mode_t mode)
{
	struct buf why = BUF_INIT(4096);
	struct map_build *b;
	mode_t old = umask(022);
	if (map_build_open(type, file, mode, &why, &b) != 0)
		gatemap_fatal("%s", buf_str(&why));
	umask(old);
	buf_clear(&why);
	map_build_set_nul(b, gatemap_options.nul);
	return b;
}

static void commit(struct map_build *b)
{
	struct buf why = BUF_INIT(4096);
	if (map_build_commit(&b, &why) != 0)
		gatemap_fatal("%s", buf_str(&why));
	buf_clear(&why);
}

static void put(struct map_build *b, const char *file, struct slice key, struct slice value)
{
	int r = map_build_put(
		b, key, value, gatemap_options.replace ? MAP_DUP_REPLACE : MAP_DUP_KEEP);
	if (r == ERR_EXISTS) {
		if (!gatemap_options.quiet_duplicates)
			gatemap_warning("%s: duplicate entry: \"%.*s\"", file, SLICE_FMT(key));
	} else if (r != 0) {
		int saved = errno;
		map_build_discard(&b);
		errno = saved;
		gatemap_fatal("%s: cannot write: %s", file, err_str(r));
	}
}

struct copy {
	struct map_build *to;
	bool has_failed;
};

static bool copy_entry(struct slice key, struct slice value, void *arg)
{
	struct copy *c = arg;
	c->has_failed = map_build_put(c->to, key, value, MAP_DUP_KEEP) != 0;
	return !c->has_failed;
}

/* What the table in use holds goes to the new one. False when there is none. */
static bool copy_table(const char *spec, struct map_build *b)
{
	struct buf why = BUF_INIT(4096);
	struct map *m;
	struct copy c = {b, false};
	if (map_open(spec, &why, &m) != 0)
		gatemap_fatal("%s", buf_str(&why));
	bool there = !map_is_failed(m);
	if (there && (map_walk(m, copy_entry, &c) != 0 || c.has_failed)) {
		map_build_discard(&b);
		gatemap_fatal("%s: cannot copy the table", spec);
	}
	map_close(&m);
	buf_clear(&why);
	return there;
}

/* The value itself is not shown. */
static void refuse_clear_passwords(struct map_build *b, const char *source, unsigned refused)
{
	if (refused == 0)
		return;
	map_build_discard(&b);
	gatemap_fatal("%s: smtpd_sasl_password_maps names this table, and %u of its values are no "
		      "password records; the table is not changed",
		source, refused);
}

static void add_source(struct map_build *b, const char *source, const char *file, struct slice all,
	bool has_passwords)
{
	unsigned refused = 0;
	struct buf key = BUF_INIT(MAP_KEY_LIMIT), value = BUF_INIT(MAP_VALUE_LIMIT);
	struct text t;
	struct slice logical;
	unsigned line;
	text_init(&t, source, all, NULL);
	t.report = report;
	while (text_next(&t, &logical, &line))
		if (!gatemap_entry(&t, logical, line, &key, &value)) {
			continue;
		} else if (has_passwords && !gatemap_is_record(buf_slice(&value))) {
			text_mistake(&t, line,
				"no password record; expected a hash of crypt(3) or "
				"{SCRAM-SHA-256}..., as \"gatepost password\" prints it");
			refused++;
		} else {
			if (has_passwords)
				gatemap_prepare_login(&key);
			put(b, file, buf_slice(&key), buf_slice(&value));
		}
	text_clear(&t);
	buf_clear(&key);
	buf_clear(&value);
	refuse_clear_passwords(b, source, refused);
}

void gatemap_build(const char *type, const char *path)
{
	struct buf all = BUF_INIT(SOURCE_LIMIT);
	struct stat st;
	const char *source = gatemap_options.incremental ? "stdin" : path;
	char *file = mem_fmt("%s%s", path, map_build_suffix(type)),
	     *spec = mem_fmt("%s:%s", type, path);
	if (!map_build_has_type(type))
		gatemap_fatal("type \"%s\" cannot be built; expected hash, btree or lmdb", type);
	int fd = gatemap_options.incremental ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) != 0)
		gatemap_fatal("open %s: %s", source, strerror(errno));
	/* The owner of what is there, not of a pipe, says who may change it. */
	if (gatemap_options.incremental && stat(file, &st) != 0 && stat(path, &st) != 0)
		st = (struct stat){.st_uid = geteuid(), .st_mode = 0};
	int r = fd_read_all(fd, &all);
	if (r != 0)
		gatemap_fatal("read %s: %s", source, err_str(r));
	fd_close(&fd);
	/* Before rights are dropped: master.cf may be unreadable then. */
	bool has_passwords =
		!gatemap_options.aliases && gatemap_is_password_table(gatemap_config_dir, path);
	become_owner(&st);
	struct map_build *b = begin(type, file, mode_for(&st));
	if (gatemap_options.incremental && access(file, F_OK) == 0 && !copy_table(spec, b)) {
		map_build_discard(&b);
		gatemap_fatal("open database %s: cannot be read; build it anew", file);
	}
	add_source(b, source, file, buf_slice(&all), has_passwords);
	commit(b);
	mem_free(file);
	mem_free(spec);
	buf_clear(&all);
}

struct removal {
	struct map_build *b;
	const char *file;
	bool found;
};

static void remove_key(struct slice key, void *arg)
{
	struct removal *r = arg;
	struct buf folded = BUF_INIT(MAP_KEY_LIMIT);
	if (gatemap_options.fold)
		buf_add_lower(&folded, key);
	else
		buf_add_slice(&folded, key);
	int err = buf_failed(&folded) ? ERR_NOT_FOUND : map_build_remove(r->b, buf_slice(&folded));
	buf_clear(&folded);
	if (err == 0)
		r->found = true;
	else if (err != ERR_NOT_FOUND)
		gatemap_fatal("%s: cannot delete: %s", r->file, err_str(err));
}

bool gatemap_remove(const char *type, const char *path, const char *key)
{
	struct stat st;
	char *file = mem_fmt("%s%s", path, map_build_suffix(type)),
	     *spec = mem_fmt("%s:%s", type, path);
	if (!map_build_has_type(type))
		gatemap_fatal(
			"type \"%s\" has no entries to delete; expected hash, btree or lmdb", type);
	if (stat(file, &st) != 0)
		gatemap_fatal("open database %s: %s", file, strerror(errno));
	become_owner(&st);
	struct removal r = {.b = begin(type, file, st.st_mode & 0666), .file = file};
	if (!copy_table(spec, r.b)) {
		map_build_discard(&r.b);
		gatemap_fatal("open database %s: cannot be read; build it anew", file);
	}
	if (strcmp(key, "-") == 0)
		gatemap_each_line(remove_key, &r);
	else
		remove_key(slice_str(key), &r);
	if (r.found)
		commit(r.b);
	else
		map_build_discard(&r.b);
	mem_free(file);
	mem_free(spec);
	return r.found;
}
