/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "master/master.h"
#include "util/err.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/mem.h"

enum { PATH_LIMIT = 4096, WATCHED_LIMIT = 10000 };

/* A file that a worker has opened: what it was when it was handed out last. */
struct watched {
	dev_t dev;
	ino_t ino;
	off_t size;
	struct timespec mtime, ctime;
};

static struct dict *watched; /* spec → struct watched */

struct named {
	struct slice spec;
	bool found;
};

static void compare(enum param p, struct slice spec, struct place where, void *arg)
{
	struct named *n = arg;

	if (slice_starts(spec, "later:") && !slice_starts(n->spec, "later:"))
		spec = slice_from(spec, strlen("later:"));
	n->found = n->found || slice_eq(n->spec, spec);
}

/* Only what stands in a parameter of the worker's own program. */
static bool is_named(const struct worker *w, struct slice spec)
{
	struct named n = {.spec = spec};

	check_walk_tables(w->plan->settings, w->plan->programs, compare, &n);
	return n.found;
}

static int open_file(const char *spec, struct stat *st)
{
	struct buf path = BUF_INIT(PATH_LIMIT);
	int fd = -1, saved = ENOENT;

	if (check_table_path(slice_str(spec), master_str(P_queue_directory), &path) == 0) {
		fd = open(buf_str(&path), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
		saved = errno;
	}
	if (fd >= 0 && (fstat(fd, st) != 0 || !S_ISREG(st->st_mode))) {
		fd_close(&fd);
		saved = EINVAL;
	}
	buf_clear(&path);
	errno = saved;
	return fd;
}

static struct watched seen(const struct stat *st)
{
	return (struct watched){st->st_dev, st->st_ino, st->st_size, st->st_mtim, st->st_ctim};
}

static bool is_same(const struct watched *a, const struct watched *b)
{
	return a->dev == b->dev && a->ino == b->ino && a->size == b->size &&
	       a->mtime.tv_sec == b->mtime.tv_sec && a->mtime.tv_nsec == b->mtime.tv_nsec &&
	       a->ctime.tv_sec == b->ctime.tv_sec && a->ctime.tv_nsec == b->ctime.tv_nsec;
}

static void watch(const char *spec, const struct stat *st)
{
	struct watched *v = mem_alloc(sizeof(*v));

	if (watched == NULL)
		watched = dict_new(WATCHED_LIMIT, mem_free);
	if (st != NULL)
		*v = seen(st);
	/* What was handed out to others before is sent again to all by the next look. */
	if (dict_get(watched, slice_str(spec)) != NULL ||
		dict_set(watched, slice_str(spec), v) != 0)
		mem_free(v);
}

int table_open(struct worker *w, const char *spec)
{
	struct stat st;
	int fd = -1;

	if (!is_named(w, slice_str(spec))) {
		log_warning("service %s asks for table %s, which none of its parameters names",
			w->unit->key, log_qs(spec));
		errno = EACCES;
		return -1;
	}
	fd = open_file(spec, &st);
	if (check_table_is_indexed(slice_str(spec))) {
		int saved = errno;

		watch(spec, fd >= 0 ? &st : NULL);
		dict_set(w->tables, slice_str(spec), w);
		errno = saved;
	}
	return fd;
}

static void send_to(struct worker *w, const char *spec)
{
	struct stat st;
	int fd = -1;

	if (w->control == NULL || dict_get(w->tables, slice_str(spec)) == NULL)
		return;
	/* Opened for each afresh: two handles must not share a file offset. */
	fd = open_file(spec, &st);
	if (fd < 0)
		return;
	ipc_begin(w->control, PROTO_TABLE, 0);
	ipc_put_str(w->control, FIELD_NAME, spec);
	ipc_end_fd(w->control, &fd);
}

static bool look(struct slice key, void *value, void *arg)
{
	struct watched *v = value, now;
	char *spec = slice_dup(key);
	struct unit *u = NULL;
	struct worker *w = NULL;
	struct stat st;
	struct buf path = BUF_INIT(PATH_LIMIT);

	if (check_table_path(key, master_str(P_queue_directory), &path) == 0 &&
		stat(buf_str(&path), &st) == 0) {
		now = seen(&st);
		if (!is_same(v, &now)) {
			*v = now;
			TAILQ_FOREACH(u, &master.units, next)
			{
				TAILQ_FOREACH(w, &u->workers, next)
				send_to(w, spec);
			}
		}
	}
	buf_clear(&path);
	mem_free(spec);
	return true;
}

/* Has this file changed since the last look? */
static bool has_changed(const char *path, struct watched *last)
{
	struct watched now;
	struct stat st;

	if (stat(path, &st) != 0)
		return false;
	now = seen(&st);
	if (is_same(last, &now))
		return false;
	*last = now;
	return true;
}

/* Name servers and names of hosts: resolver gets the files again when one has changed. */
static void look_at_resolver_files(void)
{
	static struct watched config, hosts;
	struct unit *u = NULL;
	struct worker *w = NULL;
	bool changed = has_changed(master_str(P_resolver_config), &config);

	if (!has_changed(master_str(P_resolver_hosts_file), &hosts) && !changed)
		return;
	TAILQ_FOREACH(u, &master.units, next)
	{
		TAILQ_FOREACH(w, &u->workers, next)
		if (w->control != NULL && w->plan->role == ROLE_RESOLVER)
			handover_own(w);
	}
}

void table_watch(void)
{
	if (watched != NULL)
		dict_walk(watched, look, NULL);
	look_at_resolver_files();
}
