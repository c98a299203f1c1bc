/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

#include "map/driver.h"
#include "util/err.h"
#include "util/fd.h"
#include "util/mem.h"

/*
 * lmdb: an LMDB file, NAME.lmdb, read through its mapping. It has no checksums: only its head and
 * its length are checked, so damage in the midst of it can go unseen or end the process. gatemap
 * never writes into a table that is in use.
 *
 * The library opens files by name alone. A program here has no names after its start, so the call
 * that opens one is replaced at link time (-Wl,--wrap=open): the name below stands for the
 * descriptor at hand.
 */
#define OFFERED_NAME "table of lmdb:"

int __wrap_open(const char *path, int flags, ...);
int __real_open(const char *path, int flags, ...);

static int offered = -1;

int __wrap_open(const char *path, int flags, ...)
{
	va_list ap;
	if (offered >= 0 && strcmp(path, OFFERED_NAME) == 0)
		return fcntl(offered, F_DUPFD_CLOEXEC, 0);
	va_start(ap, flags);
	mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(ap, mode_t) : 0;
	va_end(ap);
	return __real_open(path, flags, mode);
}

struct lmdb {
	MDB_env *env;
	MDB_txn *txn; /* one for ever: a file in use never changes */
	MDB_dbi dbi;
	bool with_nul;
};

static void lmdb_close(void *state)
{
	struct lmdb *t = state;
	if (t->txn != NULL)
		mdb_txn_abort(t->txn);
	if (t->env != NULL)
		mdb_env_close(t->env);
	mem_free(t);
}

static int damaged(int err, struct buf *why)
{
	buf_add_fmt(why, "damaged: %s", mdb_strerror(err));
	return ERR_CORRUPT;
}

/* How keys end is learned from the first one. */
static int look_at_first(struct lmdb *t)
{
	MDB_cursor *cursor;
	MDB_val k, v;
	int err = mdb_cursor_open(t->txn, t->dbi, &cursor);
	if (err != 0)
		return err;
	err = mdb_cursor_get(cursor, &k, &v, MDB_FIRST);
	if (err == 0)
		t->with_nul = k.mv_size > 0 && ((char *)k.mv_data)[k.mv_size - 1] == '\0';
	mdb_cursor_close(cursor);
	return err == MDB_NOTFOUND ? 0 : err;
}

/* A page behind the end of the file would end the process when it is touched. */
static int check_length(struct lmdb *t, int fd)
{
	MDB_envinfo info;
	MDB_stat stat;
	struct stat st;
	int err = mdb_env_info(t->env, &info);
	if (err == 0)
		err = mdb_env_stat(t->env, &stat);
	if (err == 0 && fstat(fd, &st) != 0)
		err = errno;
	if (err == 0 && (uint64_t)st.st_size < (info.me_last_pgno + 1) * (uint64_t)stat.ms_psize)
		err = MDB_CORRUPTED;
	return err;
}

static int open_env(struct lmdb *t, int fd)
{
	int err = mdb_env_create(&t->env);
	if (err != 0)
		return err;
	offered = fd;
	err = mdb_env_open(
		t->env, OFFERED_NAME, MDB_RDONLY | MDB_NOLOCK | MDB_NOSUBDIR | MDB_NOTLS, 0);
	offered = -1;
	if (err == 0)
		err = check_length(t, fd);
	if (err == 0)
		err = mdb_txn_begin(t->env, NULL, MDB_RDONLY, &t->txn);
	if (err == 0)
		err = mdb_dbi_open(t->txn, NULL, 0, &t->dbi);
	return err == 0 ? look_at_first(t) : err;
}

static int lmdb_open(const struct map_input *in, void **state)
{
	struct lmdb *t = mem_alloc(sizeof(*t));
	int fd = in->fd;
	int err = open_env(t, fd);
	fd_close(&fd);
	if (err == 0) {
		*state = t;
		return 0;
	}
	lmdb_close(t);
	return damaged(err, in->why);
}

static struct slice without_nul(const struct lmdb *t, MDB_val v)
{
	struct slice s = slice_of(v.mv_data, v.mv_size);
	if (t->with_nul && s.len > 0 && s.p[s.len - 1] == '\0')
		s.len--;
	return s;
}

static int lmdb_find(void *state, struct slice key, struct later *l, struct buf *value)
{
	(void)l;
	struct lmdb *t = state;
	char room[MAP_KEY_LIMIT + 1];
	struct slice folded;
	if (map_fold_key(key, room, &folded) != 0 ||
		folded.len + t->with_nul > (size_t)mdb_env_get_maxkeysize(t->env))
		return ERR_NOT_FOUND;
	room[folded.len] = '\0';
	MDB_val k = {.mv_data = room, .mv_size = folded.len + t->with_nul}, v;
	int err = mdb_get(t->txn, t->dbi, &k, &v);
	if (err == MDB_NOTFOUND)
		return ERR_NOT_FOUND;
	return err != 0 ? damaged(err, value) : buf_add_slice(value, without_nul(t, v));
}

static int lmdb_walk(void *state, map_visitor *visit, void *arg)
{
	struct lmdb *t = state;
	MDB_cursor *cursor;
	MDB_val k, v;
	int err = mdb_cursor_open(t->txn, t->dbi, &cursor);
	if (err != 0)
		return ERR_CORRUPT;
	while ((err = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) == 0)
		if (!visit(without_nul(t, k), without_nul(t, v), arg))
			break;
	mdb_cursor_close(cursor);
	return err == 0 || err == MDB_NOTFOUND ? 0 : ERR_CORRUPT;
}

const struct map_driver map_lmdb = {
	"lmdb", MAP_SOURCE_INDEX, lmdb_open, lmdb_find, lmdb_close, lmdb_walk};
