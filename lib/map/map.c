/* SPDX-License-Identifier: ISC */
#include <sys/stat.h>

#include "map/bdb.h"
#include "map/driver.h"
#include "map/spec.h"
#include "util/dict.h"
#include "util/err.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/mem.h"

enum { MAP_COUNT_LIMIT = 10000, SOURCE_LIMIT = 256 * 1024 * 1024, REASON_LIMIT = 8192 };

static const struct map_driver *const map_drivers[] = {&map_hash, &map_btree, &map_cidr, &map_pcre,
	&map_texthash, &map_inline, &map_static, &map_fail, &map_unix, &map_later, &map_regexp,
	&map_union, &map_pipe, &map_random, &map_socketmap, &map_tcp, &map_lmdb};

struct map {
	const struct map_driver *driver;
	char *spec; /* owned; "proxy:" taken off */
	void *state;
	bool failed;
	dev_t dev; /* the file that is in use, or has failed */
	ino_t ino;
	bool is_told; /* the log has it that this file has failed */
	unsigned users, version;
};

static map_opener *opener;
static struct dict *maps; /* by spec */
static bool folding = true;

void map_set_folding(bool fold)
{
	folding = fold;
}

void map_set_opener(map_opener *open)
{
	opener = open;
}

const struct map_driver *map_driver_of(struct slice spec, struct slice *name)
{
	*name = SLICE_NONE;
	ptrdiff_t colon = slice_find(spec, ':');
	for (size_t i = 0; colon > 0 && i < sizeof(map_drivers) / sizeof(map_drivers[0]); i++) {
		if (!slice_eq_str(slice_first(spec, (size_t)colon), map_drivers[i]->type))
			continue;
		*name = slice_from(spec, (size_t)colon + 1);
		return map_drivers[i];
	}
	return NULL;
}

int map_open_file(const char *path, int *fd)
{
	*fd = -1;
	return opener != NULL ? opener(path, fd) : ERR_NOT_FOUND;
}

bool map_is_keyed(const struct map *m)
{
	if (m->driver == &map_later)
		return map_is_keyed(m->state);
	return m->driver->walk != NULL;
}

int map_fold_key(struct slice key, char out[MAP_KEY_LIMIT], struct slice *folded)
{
	*folded = SLICE_NONE;
	if (key.len == 0 || key.len > MAP_KEY_LIMIT || memchr(key.p, '\0', key.len) != NULL)
		return ERR_NOT_FOUND;
	for (size_t i = 0; i < key.len; i++) {
		char c = key.p[i];
		out[i] = folding && c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
	}
	*folded = slice_of(out, key.len);
	return 0;
}

/* From here on every lookup is ERR_TEMP, until the table is replaced; said once. */
static void fail(struct map *m, const char *reason)
{
	if (m->state != NULL)
		m->driver->close(m->state);
	m->state = NULL;
	m->failed = true;
	if (m->is_told)
		return;
	m->is_told = true;
	log_error("table %s: %s; its lookups fail until it is replaced", m->spec,
		reason[0] != '\0' ? reason : "damaged");
}

static int open_text(const struct map_driver *d, struct map_input *in, int fd, void **state)
{
	struct buf source = BUF_INIT(SOURCE_LIMIT);
	int r = fd_read_all(fd, &source);
	fd_close(&fd);
	if (r != 0)
		buf_add_fmt(in->why, "cannot read: %s", err_str(r));
	in->text = buf_slice(&source);
	r = r == 0 ? d->open(in, state) : ERR_CORRUPT;
	buf_clear(&source);
	return r;
}

/* "{ RULE } { RULE }" in place of a file name: each a line. */
static int open_braces(const struct map_driver *d, struct map_input *in, void **state)
{
	struct slice rest = in->name, item;
	struct buf source = BUF_INIT(SOURCE_LIMIT);
	int r = spec_strip_braces(&rest);
	while (r == 0 && spec_token(&rest, &item)) {
		r = spec_strip_braces(&item);
		buf_add_slice(&source, item);
		buf_add_char(&source, '\n');
	}
	in->text = buf_slice(&source);
	if (r != 0)
		buf_add_fmt(in->why, "bad table \"%s\"; expected %s:{ { RULE }, … }", in->spec,
			d->type);
	else
		r = d->open(in, state);
	buf_clear(&source);
	return r;
}

/* A damaged file that is handed out again, since its time has changed, is the same damage. */
static void note_file(struct map *m, int fd)
{
	struct stat st;
	bool known = fstat(fd, &st) == 0;
	bool same = known && m->dev == st.st_dev && m->ino == st.st_ino;

	m->is_told = m->failed && same;
	m->failed = false;
	m->dev = known ? st.st_dev : 0;
	m->ino = known ? st.st_ino : 0;
}

/* fd -1: the opener is asked. Failures are noted in the table; ERR_SYNTAX alone is returned. */
static int load(struct map *m, int fd, struct buf *why)
{
	struct map_input in = {.spec = m->spec, .fd = -1, .why = why};
	const struct map_driver *d = map_driver_of(slice_str(m->spec), &in.name);
	in.file = in.name.p;
	if (d->source == MAP_SOURCE_NONE)
		return d->open(&in, &m->state);
	if (fd < 0 && in.name.len > 0 && in.name.p[0] == '{' && d->source == MAP_SOURCE_TEXT) {
		in.file = d->type;
		return open_braces(d, &in, &m->state);
	}
	int r = fd >= 0 ? 0 : opener != NULL ? opener(m->spec, &fd) : ERR_NOT_FOUND;
	if (r != 0) {
		fail(m, err_str(r));
		return 0;
	}
	note_file(m, fd);
	in.fd = fd;
	r = d->source == MAP_SOURCE_TEXT ? open_text(d, &in, fd, &m->state)
					 : d->open(&in, &m->state);
	if (r == ERR_CORRUPT) {
		fail(m, buf_str(why));
		buf_reset(why);
		r = 0;
	}
	return r;
}

static void map_free(struct map *m)
{
	if (m->state != NULL)
		m->driver->close(m->state);
	mem_free(m->spec);
	mem_free(m);
}

int map_open(const char *spec, struct buf *why, struct map **m)
{
	struct slice name, plain = spec_without_proxy(slice_str(spec));
	*m = maps != NULL ? dict_get(maps, plain) : NULL;
	if (*m != NULL) {
		(*m)->users++;
		return 0;
	}
	const struct map_driver *d = map_driver_of(plain, &name);
	if (d == NULL || name.len == 0) {
		buf_add_fmt(why,
			"%s \"%s\"; expected TYPE:NAME with one of the types hash, btree, lmdb, "
			"cidr, "
			"pcre, "
			"regexp, texthash, inline, static, fail, unix, unionmap, pipemap, randmap, "
			"socketmap, tcp",
			d == NULL ? "unknown table type in" : "no name in", spec);
		return ERR_SYNTAX;
	}
	struct map *new = mem_alloc(sizeof(*new));
	*new = (struct map){.driver = d, .spec = slice_dup(plain), .users = 1};
	int r = load(new, -1, why);
	if (maps == NULL)
		maps = dict_new(MAP_COUNT_LIMIT, NULL);
	if (r == 0 && dict_set(maps, plain, new) != 0) {
		buf_add_fmt(why, "too many tables; expected at most %d", MAP_COUNT_LIMIT);
		r = ERR_SYNTAX;
	}
	if (r != 0) {
		map_free(new);
		return ERR_SYNTAX;
	}
	*m = new;
	return 0;
}

void map_close(struct map **m)
{
	struct map *old = *m;
	*m = NULL;
	if (old == NULL || --old->users > 0)
		return;
	dict_remove(maps, slice_str(old->spec));
	if (dict_count(maps) == 0)
		dict_free(&maps);
	map_free(old);
}

const char *map_spec(const struct map *m)
{
	return m->spec;
}

unsigned map_version(const struct map *m)
{
	return m->version;
}

bool map_is_pattern(const struct map *m)
{
	if (m->driver == &map_later)
		return map_is_pattern(m->state);
	if (m->driver == &map_union || m->driver == &map_pipe)
		return combined_has_pattern(m->state);
	return m->driver->is_pattern;
}

bool map_is_failed(const struct map *m)
{
	return m->failed;
}

int map_find(struct map *m, struct slice key, struct later *l, struct buf *value)
{
	buf_reset(value);
	if (m->failed)
		return ERR_TEMP;
	int r = m->driver->find(m->state, key, l, value);
	bool is_long = r == ERR_LIMIT || buf_failed(value);
	if (r == ERR_CORRUPT)
		fail(m, buf_str(value));
	if (r == 0 && is_long)
		r = ERR_TEMP;
	if (r == ERR_LATER && l == NULL)
		r = ERR_TEMP;
	if (r == 0 || r == ERR_NOT_FOUND || r == ERR_LATER)
		return r;
	buf_reset(value);
	value->failed = is_long;
	return ERR_TEMP;
}

int map_walk(struct map *m, map_visitor *visit, void *arg)
{
	if (m->failed)
		return ERR_TEMP;
	if (m->driver->walk == NULL)
		return ERR_STATE;
	int r = m->driver->walk(m->state, visit, arg);
	if (r == ERR_CORRUPT)
		fail(m, "damaged");
	return r == 0 ? 0 : ERR_TEMP;
}

void map_replace(const char *spec, int fd)
{
	struct map *m = maps != NULL ? dict_get(maps, spec_without_proxy(slice_str(spec))) : NULL;
	if (m == NULL || m->driver->source == MAP_SOURCE_NONE) {
		fd_close(&fd);
		return;
	}
	struct map new = {.driver = m->driver,
		.spec = m->spec,
		.failed = m->failed,
		.dev = m->dev,
		.ino = m->ino};
	struct buf why = BUF_INIT(REASON_LIMIT);
	int r = load(&new, fd, &why);
	if (r != 0) {
		/* A text with a mistake: the version in force stays. */
		log_error(
			"table %s: %s; the version before stays in force", m->spec, buf_str(&why));
	} else {
		if (m->failed && !new.failed)
			log_info("table %s: replaced, in use again", m->spec);
		if (m->state != NULL)
			m->driver->close(m->state);
		m->state = new.state;
		m->failed = new.failed;
		m->dev = new.dev;
		m->ino = new.ino;
		m->is_told = new.is_told;
		m->version++;
	}
	buf_clear(&why);
}
