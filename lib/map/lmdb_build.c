/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <lmdb.h>

#include "map/lmdb.h"
#include "map/map.h"
#include "util/err.h"
#include "util/mem.h"

/*
 * The room of a file is fixed while a transaction runs, and what a reader maps is that room. So it
 * grows between transactions, each of which brings at most a part of what is free.
 */
enum { ROOM_FIRST = 1024 * 1024, GROWTH = 8, KEY_LIMIT = 511 };

struct lmdb_build {
	MDB_env *env;
	MDB_txn *txn;
	MDB_dbi dbi;
	size_t room, fresh; /* bytes; fresh: put in this transaction */
};

static int result_of(int err)
{
	if (err == 0)
		return 0;
	if (err == MDB_KEYEXIST)
		return ERR_EXISTS;
	if (err == MDB_NOTFOUND)
		return ERR_NOT_FOUND;
	if (err == MDB_BAD_VALSIZE)
		return ERR_LIMIT;
	errno = err > 0 ? err : EIO;
	return ERR_SYS;
}

static int begin(struct lmdb_build *b)
{
	int err = mdb_txn_begin(b->env, NULL, 0, &b->txn);
	if (err == 0)
		err = mdb_dbi_open(b->txn, NULL, 0, &b->dbi);
	b->fresh = 0;
	return err;
}

void lmdb_build_discard(struct lmdb_build **bp)
{
	struct lmdb_build *b = *bp;
	*bp = NULL;
	if (b == NULL)
		return;
	if (b->txn != NULL)
		mdb_txn_abort(b->txn);
	if (b->env != NULL)
		mdb_env_close(b->env);
	mem_free(b);
}

int lmdb_build_open(const char *path, mode_t mode, struct buf *why, struct lmdb_build **out)
{
	struct lmdb_build *b = mem_alloc(sizeof(*b));
	b->room = ROOM_FIRST;
	int err = mdb_env_create(&b->env);
	if (err == 0)
		err = mdb_env_set_mapsize(b->env, b->room);
	if (err == 0)
		err = mdb_env_open(b->env, path, MDB_NOSUBDIR | MDB_NOLOCK | MDB_NOSYNC, mode);
	if (err == 0)
		err = begin(b);
	*out = b;
	if (err == 0)
		return 0;
	buf_add_fmt(why, "cannot create %s: %s", path, mdb_strerror(err));
	lmdb_build_discard(out);
	return result_of(err);
}

static int commit(struct lmdb_build *b)
{
	int err = mdb_txn_commit(b->txn);
	b->txn = NULL;
	return err;
}

/* Before len more bytes: pages split in two and old ones stay till the end of the transaction. */
static int make_room(struct lmdb_build *b, size_t len)
{
	MDB_envinfo info;
	MDB_stat stat;
	if (b->fresh + len < b->room / GROWTH / 2)
		return 0;
	int err = commit(b);
	if (err == 0)
		err = mdb_env_info(b->env, &info);
	if (err == 0)
		err = mdb_env_stat(b->env, &stat);
	if (err != 0)
		return err;
	while ((info.me_last_pgno + 1) * stat.ms_psize + GROWTH * len > b->room / 2)
		b->room *= 2;
	err = mdb_env_set_mapsize(b->env, b->room);
	return err == 0 ? begin(b) : err;
}

static MDB_val datum(struct slice s, bool nul)
{
	return (MDB_val){.mv_data = mem_dup(s.p != NULL ? s.p : "", s.len), .mv_size = s.len + nul};
}

int lmdb_build_put(
	struct lmdb_build *b, struct slice key, struct slice value, bool nul, enum map_dup dup)
{
	if (key.len == 0 || key.len + nul > KEY_LIMIT || value.len > MAP_VALUE_LIMIT ||
		slice_find(key, '\0') >= 0 || slice_find(value, '\0') >= 0)
		return ERR_LIMIT;
	int err = make_room(b, key.len + value.len + 64);
	if (err != 0)
		return result_of(err);
	MDB_val k = datum(key, nul), v = datum(value, nul);
	void *key_copy = k.mv_data, *value_copy = v.mv_data;
	err = mdb_put(b->txn, b->dbi, &k, &v, dup == MAP_DUP_KEEP ? MDB_NOOVERWRITE : 0);
	b->fresh += key.len + value.len + 64;
	mem_free(key_copy);
	mem_free(value_copy);
	return result_of(err);
}

int lmdb_build_remove(struct lmdb_build *b, struct slice key, bool nul)
{
	if (key.len == 0 || key.len + nul > KEY_LIMIT)
		return ERR_NOT_FOUND;
	MDB_val k = datum(key, nul);
	void *copy = k.mv_data;
	int err = mdb_del(b->txn, b->dbi, &k, NULL);
	mem_free(copy);
	return result_of(err);
}

int lmdb_build_finish(struct lmdb_build **bp, struct buf *why)
{
	int err = commit(*bp);
	if (err == 0)
		err = mdb_env_sync((*bp)->env, 1);
	if (err != 0)
		buf_add_fmt(why, "cannot write: %s", mdb_strerror(err));
	lmdb_build_discard(bp);
	return result_of(err);
}
