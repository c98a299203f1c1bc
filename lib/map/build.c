/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include <db.h>

#include "map/bdb.h"
#include "map/build.h"
#include "map/lmdb.h"
#include "map/map.h"
#include "util/err.h"
#include "util/fd.h"
#include "util/mem.h"

enum { BUILD_CACHE = 64 * 1024 * 1024, PAGE_HASH = 13, PAGE_HEAD = 26, PAGE_CHECKSUM = 28 };

struct map_build {
	DB *db;                  /* NULL: lmdb */
	struct lmdb_build *lmdb; /* or this */
	char *path, *temporary;  /* owned */
	char *first_name; /* owned; what Berkeley DB calls a file till its first page is written */
	bool nul;
};

bool map_build_has_type(const char *type)
{
	return strcmp(type, "hash") == 0 || strcmp(type, "btree") == 0 || strcmp(type, "lmdb") == 0;
}

const char *map_build_suffix(const char *type)
{
	return strcmp(type, "lmdb") == 0 ? ".lmdb" : ".db";
}

static void build_free(struct map_build *b)
{
	mem_free(b->path);
	mem_free(b->temporary);
	mem_free(b->first_name);
	mem_free(b);
}

void map_build_discard(struct map_build **b)
{
	struct map_build *old = *b;
	*b = NULL;
	if (old == NULL)
		return;
	if (old->db != NULL)
		old->db->close(old->db, DB_NOSYNC);
	lmdb_build_discard(&old->lmdb);
	bdb_set_up(false);
	unlink(old->temporary);
	unlink(old->first_name);
	build_free(old);
}

static int db_failed(struct buf *why, const char *what, const char *path, int err)
{
	buf_add_fmt(why, "%s %s: %s", what, path, db_strerror(err));
	errno = err > 0 ? err : EIO;
	return ERR_SYS;
}

static void no_message(const DB_ENV *env, const char *prefix, const char *text)
{
	(void)env;
	(void)prefix;
	(void)text;
}

/* Without the library's own words on standard error: the result says enough. */
static int create_handle(DB **db)
{
	int err = db_create(db, NULL, 0);
	if (err == 0)
		(*db)->set_errcall(*db, no_message);
	return err;
}

int map_build_open(
	const char *type, const char *path, mode_t mode, struct buf *why, struct map_build **b)
{
	*b = NULL;
	if (!map_build_has_type(type)) {
		buf_add_fmt(why, "type \"%s\" cannot be built; expected hash, btree or lmdb", type);
		return ERR_SYNTAX;
	}
	struct map_build *new = mem_alloc(sizeof(*new));
	new->nul = true;
	new->path = mem_str(path);
	new->temporary = mem_fmt("%s.new.%ld", path, (long)getpid());
	const char *base = strrchr(new->temporary, '/');
	base = base != NULL ? base + 1 : new->temporary;
	new->first_name =
		mem_fmt("%.*s__db.%s", (int)(base - new->temporary), new->temporary, base);
	unlink(new->temporary);
	if (strcmp(type, "lmdb") == 0) {
		int r = lmdb_build_open(new->temporary, mode, why, &new->lmdb);
		if (r == 0)
			*b = new;
		else
			map_build_discard(&new);
		return r;
	}
	bdb_set_up(true);
	bdb_set_strict(false);
	int err = create_handle(&new->db);
	if (err == 0)
		err = new->db->set_cachesize(new->db, 0, BUILD_CACHE, 1);
	if (err == 0)
		err = new->db->set_flags(new->db, DB_CHKSUM);
	if (err == 0)
		err = new->db->open(new->db, NULL, new->temporary, NULL,
			strcmp(type, "hash") == 0 ? DB_HASH : DB_BTREE, DB_CREATE | DB_EXCL,
			(int)mode);
	if (err == 0) {
		*b = new;
		return 0;
	}
	int r = db_failed(why, "cannot create", new->temporary, err);
	map_build_discard(&new);
	return r;
}

void map_build_set_nul(struct map_build *b, bool nul)
{
	b->nul = nul;
}

/* A copy, with the NUL that postmap stores too. */
static int make_datum(const struct map_build *b, struct slice s, size_t limit, DBT *out)
{
	*out = (DBT){0};
	if (s.len > limit || slice_find(s, '\0') >= 0)
		return ERR_LIMIT;
	out->data = mem_dup(s.p, s.len);
	out->size = (uint32_t)s.len + b->nul;
	return 0;
}

int map_build_put(struct map_build *b, struct slice key, struct slice value, enum map_dup dup)
{
	DBT k, v;
	if (b->lmdb != NULL)
		return lmdb_build_put(b->lmdb, key, value, b->nul, dup);
	if (key.len == 0 || make_datum(b, key, MAP_KEY_LIMIT, &k) != 0)
		return ERR_LIMIT;
	if (make_datum(b, value, MAP_VALUE_LIMIT, &v) != 0) {
		mem_free(k.data);
		return ERR_LIMIT;
	}
	bdb_set_strict(false);
	int err = b->db->put(b->db, NULL, &k, &v, dup == MAP_DUP_KEEP ? DB_NOOVERWRITE : 0);
	mem_free(k.data);
	mem_free(v.data);
	if (err == DB_KEYEXIST)
		return ERR_EXISTS;
	errno = err > 0 ? err : EIO;
	return err == 0 ? 0 : ERR_SYS;
}

int map_build_remove(struct map_build *b, struct slice key)
{
	DBT k;
	if (b->lmdb != NULL)
		return lmdb_build_remove(b->lmdb, key, b->nul);
	if (key.len == 0 || make_datum(b, key, MAP_KEY_LIMIT, &k) != 0)
		return ERR_NOT_FOUND;
	bdb_set_strict(false);
	int err = b->db->del(b->db, NULL, &k, 0);
	mem_free(k.data);
	if (err == DB_NOTFOUND)
		return ERR_NOT_FOUND;
	errno = err > 0 ? err : EIO;
	return err == 0 ? 0 : ERR_SYS;
}

/* Berkeley DB's page checksum without encryption: h = h * 33 + byte, its own field taken as 0. */
static uint32_t page_checksum(const uint8_t *page, size_t len)
{
	uint32_t h = 0;
	for (size_t i = 0; i < len; i++)
		h = h * 33 + page[i];
	return h;
}

static void make_empty_page(uint8_t *page, uint32_t number, uint32_t size)
{
	uint16_t offset = (uint16_t)size; /* of 65536 the low bits, as Berkeley DB keeps it */
	memset(page, 0, size);
	memcpy(page + 8, &number, sizeof(number));
	memcpy(page + 22, &offset, sizeof(offset));
	page[25] = PAGE_HASH;
	uint32_t sum = page_checksum(page, size);
	memcpy(page + PAGE_CHECKSUM, &sum, sizeof(sum));
}

static bool is_hole(const uint8_t *page)
{
	static const uint8_t zeros[PAGE_HEAD];
	return memcmp(page, zeros, sizeof(zeros)) == 0;
}

/*
 * Buckets that never got an entry are holes in the file. Each gets an empty page with a checksum,
 * so that a reader can tell them from a page that was lost (bdb.h).
 */
static int fill_holes(int fd, const struct bdb_head *head)
{
	uint8_t *page = mem_alloc(head->page_size);
	int r = 0;
	for (uint32_t n = 1; r == 0 && n <= head->last_page; n++) {
		off_t at = (off_t)n * head->page_size;
		ssize_t got = pread(fd, page, head->page_size, at);
		if (got < 0) {
			r = ERR_SYS;
		} else if (got < (ssize_t)head->page_size || is_hole(page)) {
			make_empty_page(page, n, head->page_size);
			if (pwrite(fd, page, head->page_size, at) != (ssize_t)head->page_size)
				r = ERR_SYS;
		}
	}
	mem_free(page);
	return r;
}

static int verify(const char *path, struct buf *why)
{
	DB *db = NULL;
	bdb_set_strict(true);
	int err = create_handle(&db);
	if (err == 0) /* closes the handle, whatever the result is */
		err = db->verify(db, path, NULL, NULL, 0);
	bdb_set_strict(false);
	return err == 0 ? 0 : db_failed(why, "verification failed of", path, err);
}

static int sync_directory(const char *path)
{
	const char *slash = strrchr(path, '/');
	char *directory =
		slash == NULL
			? mem_str(".")
			: slice_dup(slice_of(path, slash == path ? 1 : (size_t)(slash - path)));
	int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	mem_free(directory);
	int r = fd < 0 || fsync(fd) != 0 ? ERR_SYS : 0;
	fd_close(&fd);
	return r;
}

/* Makes the temporary file complete, checked and durable. */
static int finish_file(struct map_build *b, struct buf *why)
{
	struct bdb_head head;
	int fd = open(b->temporary, O_RDWR | O_CLOEXEC);
	int r = fd < 0 ? ERR_SYS : 0;
	if (r == 0)
		r = bdb_read_head(fd, &head, why);
	if (r == 0 && head.is_hash)
		r = fill_holes(fd, &head);
	if (r == 0)
		r = verify(b->temporary, why);
	if (r == 0 && fsync(fd) != 0)
		r = ERR_SYS;
	int saved = errno;
	fd_close(&fd);
	errno = saved;
	return r;
}

static int finish_db(struct map_build *b, struct buf *why)
{
	bdb_set_strict(false);
	int err = b->db->close(b->db, 0);
	b->db = NULL;
	return err != 0 ? db_failed(why, "cannot write", b->temporary, err) : finish_file(b, why);
}

int map_build_commit(struct map_build **b, struct buf *why)
{
	struct map_build *old = *b;
	int r = old->lmdb != NULL ? lmdb_build_finish(&old->lmdb, why) : finish_db(old, why);
	if (r == 0 && rename(old->temporary, old->path) != 0)
		r = ERR_SYS;
	if (r == 0 && sync_directory(old->path) != 0)
		r = ERR_SYS;
	if (r != 0 && why->len == 0)
		buf_add_fmt(why, "cannot write %s: %s", old->path, err_str(r));
	map_build_discard(b);
	return r;
}
