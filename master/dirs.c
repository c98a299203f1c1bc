/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

#include "master/master.h"
#include "util/err.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/mem.h"

enum { OLD_WAIT_MSEC = 15000, COMMAND_WAIT_MSEC = 300, PATH_LIMIT = 4096 };

static const struct row {
	enum param owner;
	bool shares_queue;
	enum param base;
	const char *below;
	enum param given[DIRS_GIVEN];
	unsigned stage;
} rows[ROLE_COUNT] = {
#define R(role, owner, shares_queue, base, below, given, given2, stage) \
	[ROLE_##role] = {P_##owner, shares_queue, P_##base, below, {P_##given, P_##given2}, stage},
#include "priv/roles.def"
#undef R
};

unsigned dirs_stage(enum role role)
{
	return rows[role].stage;
}

int dirs_ids(enum role role, const struct conf *c, uid_t *uid, gid_t gids[3], size_t *n)
{
	const struct row *row = &rows[role];
	const struct passwd *pw = NULL;
	const struct group *gr = NULL;

	*uid = geteuid();
	gids[0] = getegid();
	*n = 1;
	if (master.is_development || row->owner == P_COUNT)
		return 0;
	pw = getpwnam(set_str(c, row->owner));
	gr = getgrnam(set_str(c, P_queue_group));
	if (pw == NULL || (row->shares_queue && gr == NULL))
		return ERR_NOT_FOUND;
	*uid = pw->pw_uid;
	gids[0] = pw->pw_gid;
	/* What they make in the queue belongs to the group that they share. */
	if (row->shares_queue) {
		gids[0] = gr->gr_gid;
		gids[1] = pw->pw_gid;
		*n = 2;
	}
	return 0;
}

uid_t dirs_user(enum role role, const struct conf *c)
{
	enum param owner = rows[role].owner != P_COUNT ? rows[role].owner : P_default_privs;
	const struct passwd *pw = getpwnam(set_str(c, owner));

	return pw != NULL ? pw->pw_uid : 0;
}

const char *dirs_root(enum role role)
{
	static char path[PATH_LIMIT];
	const struct row *row = &rows[role];

	if (row->base == P_COUNT)
		return "";
	snprintf(path, sizeof(path), "%s%s", master_str(row->base), row->below);
	return path;
}

int dirs_open_for(enum role role, unsigned n, const char **name)
{
	const struct row *row = &rows[role];
	enum param given = row->given[n];

	if (given == P_COUNT)
		return -1;
	*name = conf_name(given);
	return open(given == row->base ? dirs_root(role) : master_str(given),
		O_RDONLY | O_CLOEXEC | O_NONBLOCK);
}

static int open_lock(const char *name)
{
	char *path = mem_fmt("%s/pid/%s", master_str(P_queue_directory), name);
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	mem_free(path);
	return fd;
}

/*
 * pid/master.pid is locked by the one master. pid/alive.lock is shared by every process of an
 * instance, each with a lock of its own, so it is free when the last of a dead master's processes
 * is gone. A moment of waiting is for commands, which try the locks.
 */
int dirs_lock(struct buf *why)
{
	int fd = open_lock("master.pid");
	int64_t now = clock_mono();

	if (fd < 0) {
		buf_add_fmt(why, "gatepost: pid/master.pid: %s\n", err_str(ERR_SYS));
		return ERR_SYS;
	}
	if (fd_lock(fd, now + COMMAND_WAIT_MSEC * CLOCK_MSEC) != 0) {
		buf_add_str(why, "gatepost: is running already\n");
		fd_close(&fd);
		return ERR_EXISTS;
	}
	/* Open till the end: it holds the lock. */
	if (ftruncate(fd, 0) != 0 || dprintf(fd, "%d\n", (int)getpid()) < 0)
		return ERR_SYS;
	master.alive_fd = open_lock("alive.lock");
	if (master.alive_fd < 0)
		return ERR_SYS;
	if (fd_lock(master.alive_fd, now + OLD_WAIT_MSEC * CLOCK_MSEC) != 0) {
		buf_add_str(why, "gatepost: processes of an earlier start do not end\n");
		return ERR_TIMEOUT;
	}
	return flock(master.alive_fd, LOCK_SH) == 0 ? 0 : ERR_SYS;
}

int dirs_share_lock(void)
{
	int fd = open("pid/alive.lock", O_RDONLY | O_NOFOLLOW);

	return fd >= 0 && flock(fd, LOCK_SH) == 0 ? fd : -1;
}
