/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>
#include <db.h>

#include "map/bdb.h"
#include "map/driver.h"
#include "util/err.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/mem.h"

enum {
	/* Of a page: lsn 8, page number 4, previous 4, next 4, entries 2, offset 2, level 1,
	   type 1. */
	PAGE_HEAD = 26,
	HEAD_SIZE = 72,        /* of page 0 */
	HEAD_CHECKSUMS = 0x01, /* in metaflags */
	MAGIC_BTREE = 0x053162,
	MAGIC_HASH = 0x061561,
	CACHE_SIZE = 512 * 1024,
};

static int offered = -1;
static bool paths_allowed, strict_reads;
static size_t warm_limit = 64 * 1024 * 1024;

void map_set_warm_limit(size_t bytes)
{
	warm_limit = bytes;
}

void map_set_memory(void *(*alloc)(size_t size), void *(*resize)(void *p, size_t size),
	void (*release)(void *p))
{
	db_env_set_func_malloc(alloc);
	db_env_set_func_realloc(resize);
	db_env_set_func_free(release);
}

static int open_call(const char *name, int flags, ...)
{
	va_list ap;
	va_start(ap, flags);
	int mode = va_arg(ap, int);
	va_end(ap);
	if (offered >= 0 && strcmp(name, BDB_NAME) == 0)
		return fcntl(offered, F_DUPFD_CLOEXEC, 0);
	if (paths_allowed)
		return open(name, flags | O_CLOEXEC, mode);
	errno = EACCES;
	return -1;
}

static int exists_call(const char *name, int *is_directory)
{
	struct stat st;
	if (is_directory != NULL)
		*is_directory = 0;
	if (offered >= 0 && strcmp(name, BDB_NAME) == 0)
		return 0;
	if (!paths_allowed)
		return ENOENT;
	if (stat(name, &st) != 0)
		return errno;
	if (is_directory != NULL)
		*is_directory = S_ISDIR(st.st_mode);
	return 0;
}

static uint32_t head_u32(const uint8_t *p, bool swapped)
{
	uint32_t v;
	memcpy(&v, p, sizeof(v));
	return swapped ? __builtin_bswap32(v) : v;
}

/* Whether a page says that it is the n-th of its file, in either byte order. */
static bool is_page(const uint8_t *page, size_t len, uint64_t n)
{
	return len >= PAGE_HEAD &&
	       (head_u32(page + 8, false) == n || head_u32(page + 8, true) == n);
}

static ssize_t pread_call(int fd, void *p, size_t len, off_t at)
{
	ssize_t n = pread(fd, p, len, at);
	/* A failed pread would be tried again as seek and read: the checksum is made to fail
	 * instead. */
	if (strict_reads && n == (ssize_t)len && !is_page(p, len, (uint64_t)at / len))
		memset(p, 0xff, len);
	return n;
}

void bdb_set_up(bool allow_paths)
{
	paths_allowed = allow_paths;
	db_env_set_func_open(open_call);
	db_env_set_func_exists(exists_call);
	db_env_set_func_pread(pread_call);
}

void bdb_offer(int fd)
{
	offered = fd;
}

void bdb_set_strict(bool strict)
{
	strict_reads = strict;
}

int bdb_read_head(int fd, struct bdb_head *head, struct buf *why)
{
	*head = (struct bdb_head){0};
	uint8_t raw[HEAD_SIZE];
	struct stat st;
	if (fstat(fd, &st) != 0 || pread(fd, raw, sizeof(raw), 0) != sizeof(raw)) {
		buf_add_str(why, "no Berkeley DB file: too short");
		return ERR_CORRUPT;
	}
	uint32_t magic = head_u32(raw + 12, false);
	bool swapped = magic != MAGIC_BTREE && magic != MAGIC_HASH;
	magic = head_u32(raw + 12, swapped);
	head->is_hash = magic == MAGIC_HASH;
	head->page_size = head_u32(raw + 20, swapped);
	head->has_checksums = (raw[26] & HEAD_CHECKSUMS) != 0;
	head->last_page = head_u32(raw + 32, swapped);
	bool good_size = head->page_size >= 512 && head->page_size <= 65536 &&
			 (head->page_size & (head->page_size - 1)) == 0;
	if ((!head->is_hash && magic != MAGIC_BTREE) || !good_size) {
		buf_add_str(why, "no Berkeley DB file of type hash or btree");
		return ERR_CORRUPT;
	}
	if (st.st_size < ((off_t)head->last_page + 1) * head->page_size) {
		buf_add_str(why, "damaged: the file is cut off");
		return ERR_CORRUPT;
	}
	return 0;
}

struct table {
	DB *db;
	bool strict;
	bool with_nul; /* keys and values end with a NUL, as postmap writes them */
};

static void no_message(const DB_ENV *env, const char *prefix, const char *text)
{
	(void)env;
	(void)prefix;
	(void)text;
}

static void no_info(const DB_ENV *env, const char *text)
{
	(void)env;
	(void)text;
}

static int damaged(int err, struct buf *why)
{
	buf_add_fmt(why, "damaged: %s", db_strerror(err));
	return ERR_CORRUPT;
}

static void table_close(void *state)
{
	struct table *t = state;
	if (t->db != NULL)
		t->db->close(t->db, DB_NOSYNC);
	mem_free(t);
}

/* Calls visit for all; NULL looks at the first alone and learns how keys end. */
static int walk(struct table *t, map_visitor *visit, void *arg)
{
	DBC *cursor = NULL;
	DBT key = {0}, value = {0};
	bdb_set_strict(t->strict);
	int err = t->db->cursor(t->db, NULL, &cursor, 0);
	if (err != 0)
		return err;
	while ((err = cursor->get(cursor, &key, &value, DB_NEXT)) == 0) {
		struct slice k = slice_of(key.data, key.size), v = slice_of(value.data, value.size);
		if (visit == NULL) {
			t->with_nul = k.len > 0 && k.p[k.len - 1] == '\0';
			break;
		}
		if (t->with_nul && k.len > 0 && k.p[k.len - 1] == '\0')
			k.len--;
		if (t->with_nul && v.len > 0 && v.p[v.len - 1] == '\0')
			v.len--;
		if (!visit(k, v, arg))
			break;
	}
	int closing = cursor->close(cursor);
	return err == DB_NOTFOUND ? closing : err != 0 ? err : closing;
}

static int open_handle(struct table *t, int fd)
{
	int err = db_create(&t->db, NULL, 0);
	if (err != 0)
		return err;
	t->db->set_errcall(t->db, no_message);
	t->db->set_msgcall(t->db, no_info);
	err = t->db->set_cachesize(t->db, 0, CACHE_SIZE, 1);
	if (err != 0)
		return err;
	bdb_set_up(paths_allowed);
	bdb_offer(fd);
	bdb_set_strict(t->strict);
	err = t->db->open(t->db, NULL, BDB_NAME, NULL, DB_UNKNOWN, DB_RDONLY | DB_NOMMAP, 0);
	bdb_offer(-1);
	return err != 0 ? err : walk(t, NULL, NULL);
}

static int table_open(const struct map_input *in, void **state)
{
	struct table *t = mem_alloc(sizeof(*t));
	struct bdb_head head;
	int fd = in->fd;
	int r = bdb_read_head(fd, &head, in->why);
	if (r == 0) {
		t->strict = head.has_checksums;
		if (!t->strict)
			log_warning("table %s: %s.db has no page checksums: damage can go unseen; "
				    "build it again",
				in->spec, in->file);
		posix_fadvise(fd, 0, (off_t)warm_limit, POSIX_FADV_WILLNEED);
		int err = open_handle(t, fd);
		if (err != 0)
			r = damaged(err, in->why);
	}
	fd_close(&fd);
	if (r == 0)
		*state = t;
	else
		table_close(t);
	return r;
}

static int table_find(void *state, struct slice key, struct later *l, struct buf *value)
{
	(void)l;
	struct table *t = state;
	char room[MAP_KEY_LIMIT + 1];
	struct slice folded;
	if (map_fold_key(key, room, &folded) != 0)
		return ERR_NOT_FOUND;
	room[folded.len] = '\0';
	DBT k = {.data = room, .size = (uint32_t)folded.len + t->with_nul}, v = {0};
	bdb_set_strict(t->strict);
	int err = t->db->get(t->db, NULL, &k, &v, 0);
	if (err == DB_NOTFOUND)
		return ERR_NOT_FOUND;
	if (err != 0)
		return damaged(err, value);
	struct slice found = slice_of(v.data, v.size);
	if (t->with_nul && found.len > 0 && found.p[found.len - 1] == '\0')
		found.len--;
	return buf_add_slice(value, found);
}

static int table_walk(void *state, map_visitor *visit, void *arg)
{
	return walk(state, visit, arg) == 0 ? 0 : ERR_CORRUPT;
}

const struct map_driver map_hash = {
	"hash", MAP_SOURCE_INDEX, table_open, table_find, table_close, table_walk};
const struct map_driver map_btree = {
	"btree", MAP_SOURCE_INDEX, table_open, table_find, table_close, table_walk};
