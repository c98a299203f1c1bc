/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "conf/grant.h"
#include "master/master.h"
#include "util/err.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/mem.h"
#include "util/stamp.h"

enum { PATH_LIMIT = 4096, WATCHED_LIMIT = 10000 };

/* What each file that a worker has opened was when it was handed out last. */
static struct dict *watched; /* spec → struct stamp */

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

static void watch(const char *spec, const struct stat *st)
{
	struct stamp *v = mem_alloc(sizeof(*v));

	if (watched == NULL)
		watched = dict_new(WATCHED_LIMIT, mem_free);
	if (st != NULL)
		*v = stamp_of(st);
	/* What was handed out to others before is sent again to all by the next look. */
	if (dict_get(watched, slice_str(spec)) != NULL ||
		dict_set(watched, slice_str(spec), v) != 0)
		mem_free(v);
}

int table_open(struct worker *w, const char *spec)
{
	struct stat st;
	int fd = -1;

	if (!grant_table(w->plan->settings, w->plan->programs, slice_str(spec))) {
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

static bool look(struct slice key, void *stamp, void *arg)
{
	char *spec = slice_dup(key);
	struct worker *w = NULL;
	struct buf path = BUF_INIT(PATH_LIMIT);

	if (check_table_path(key, master_str(P_queue_directory), &path) == 0 &&
		stamp_has_changed(stamp, buf_str(&path))) {
		TAILQ_FOREACH(w, &master.workers, all)
		send_to(w, spec);
	}
	buf_clear(&path);
	mem_free(spec);
	return true;
}

void table_watch(void)
{
	static struct stamp config, hosts;
	bool changed = stamp_has_changed(&config, master_str(P_resolver_config));
	struct worker *w = NULL;

	if (watched != NULL)
		dict_walk(watched, look, NULL);
	/* Name servers and names of hosts. */
	if (!stamp_has_changed(&hosts, master_str(P_resolver_hosts_file)) && !changed)
		return;
	TAILQ_FOREACH(w, &master.workers, all)
	{
		if (w->control != NULL && w->plan->role == ROLE_RESOLVER)
			handover_own(w);
	}
}
