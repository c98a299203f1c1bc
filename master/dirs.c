/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "master/master.h"
#include "util/err.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/mem.h"

enum { OLD_WAIT_MSEC = 15000, LOCK_WAIT_USEC = 10000, COMMAND_WAIT_MSEC = 300, PATH_LIMIT = 4096 };

/* Below queue_directory (or data_directory). P_COUNT: root. */
static const struct {
	bool is_data;
	const char *name;
	enum param owner, group;
	mode_t mode;
} dirs[] = {
	{false, "pid", P_COUNT, P_COUNT, 0755},
	{false, "private", P_COUNT, P_COUNT, 0700},
	{false, "public", P_COUNT, P_COUNT, 0755},
	{false, "maildrop", P_cleanup_owner, P_setgid_group, 0730},
	{false, "incoming", P_qmgr_owner, P_queue_group, 02770},
	{false, "log", P_qmgr_owner, P_queue_group, 02770},
	{false, "deferred", P_qmgr_owner, P_queue_group, 02770},
	{false, "hold", P_qmgr_owner, P_queue_group, 02770},
	{false, "corrupt", P_qmgr_owner, P_queue_group, 02770},
	{false, "empty", P_COUNT, P_COUNT, 0755},
	{false, "empty/smtpd", P_COUNT, P_COUNT, 0755},
	{false, "empty/smtp-client", P_COUNT, P_COUNT, 0755},
	{false, "empty/resolver", P_COUNT, P_COUNT, 0755},
	{false, "empty/vault", P_COUNT, P_COUNT, 0755},
	{true, "vault", P_COUNT, P_COUNT, 0700},
	{true, "tally", P_tally_owner, P_COUNT, 0700},
};

static const struct {
	enum role role;
	enum param owner;
	bool shares_queue;
} users[] = {
	{ROLE_SMTPD, P_smtpd_owner, false},
	{ROLE_CLEANUP, P_cleanup_owner, true},
	{ROLE_QMGR, P_qmgr_owner, true},
	{ROLE_CLIENT, P_client_owner, false},
	{ROLE_VAULT, P_vault_owner, false},
	{ROLE_RESOLVER, P_resolver_owner, false},
	{ROLE_TALLY, P_tally_owner, false},
	{ROLE_NSS, P_default_privs, false},
};

#define COUNT(a) (sizeof(a) / sizeof(*(a)))

int dirs_ids(enum role role, const struct conf *c, uid_t *uid, gid_t gids[3], size_t *n)
{
	const struct passwd *pw = NULL;
	const struct group *gr = NULL;

	*uid = geteuid();
	gids[0] = getegid();
	*n = 1;
	for (size_t i = 0; !master.is_development && i < COUNT(users); i++) {
		if (users[i].role != role)
			continue;
		pw = getpwnam(set_str(c, users[i].owner));
		gr = getgrnam(set_str(c, P_queue_group));
		if (pw == NULL || (users[i].shares_queue && gr == NULL))
			return ERR_NOT_FOUND;
		*uid = pw->pw_uid;
		gids[0] = pw->pw_gid;
		/* What they make in the queue belongs to the group that they share. */
		if (users[i].shares_queue) {
			gids[0] = gr->gr_gid;
			gids[1] = pw->pw_gid;
			*n = 2;
		}
	}
	return 0;
}

const char *dirs_root(enum role role)
{
	static char path[PATH_LIMIT];
	const char *queue = master_str(P_queue_directory), *below = "";

	switch (role) {
	case ROLE_CLEANUP:
	case ROLE_QMGR: break;
	case ROLE_SMTPD: below = "/empty/smtpd"; break;
	case ROLE_CLIENT: below = "/empty/smtp-client"; break;
	case ROLE_RESOLVER: below = "/empty/resolver"; break;
	case ROLE_VAULT: below = "/empty/vault"; break;
	case ROLE_TALLY:
		queue = master_str(P_data_directory);
		below = "/tally";
		break;
	default: return "";
	}
	snprintf(path, sizeof(path), "%s%s", queue, below);
	return path;
}

int dirs_open_for(enum role role, unsigned n, const char **name)
{
	if (role == ROLE_RESOLVER && n == 1) {
		*name = "resolver_hosts_file";
		return open(master_str(P_resolver_hosts_file), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	}
	if (n > 0)
		return -1;
	switch (role) {
	case ROLE_CLEANUP:
	case ROLE_QMGR:
		*name = "queue_directory";
		return open(master_str(P_queue_directory), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	case ROLE_TALLY:
		*name = "data_directory";
		return open(dirs_root(role), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	case ROLE_RESOLVER:
		*name = "resolver_config";
		return open(master_str(P_resolver_config), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	default: return -1;
	}
}

/* mkdir -p with mode 0755; the last part may exist. */
static int make_path(const char *path, struct buf *why)
{
	char *part = mem_str(path);
	int r = 0;

	for (char *p = strchr(part + 1, '/'); r == 0; p = p != NULL ? strchr(p + 1, '/') : NULL) {
		if (p != NULL)
			*p = '\0';
		if (mkdir(part, 0755) == 0)
			r = chmod(part, 0755) == 0 ? 0 : ERR_SYS;
		else if (errno != EEXIST)
			r = ERR_SYS;
		if (p == NULL)
			break;
		*p = '/';
	}
	if (r != 0)
		buf_add_fmt(why, "gatepost: %s: %s\n", path, err_str(r));
	mem_free(part);
	return r;
}

static int make_one(int base, size_t i, struct buf *why)
{
	const char *user = dirs[i].owner != P_COUNT ? master_str(dirs[i].owner) : "root";
	const char *group = dirs[i].group != P_COUNT ? master_str(dirs[i].group) : NULL;
	const struct passwd *pw = getpwnam(user);
	const struct group *gr = group != NULL ? getgrnam(group) : NULL;
	struct stat st;
	int fd = -1, r = ERR_SYS;

	if (mkdirat(base, dirs[i].name, 0700) != 0 && errno != EEXIST)
		goto out;
	fd = openat(base, dirs[i].name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) != 0)
		goto out;
	r = 0;
	if (!master.is_development && pw != NULL && (group == NULL || gr != NULL)) {
		gid_t gid = gr != NULL ? gr->gr_gid : pw->pw_gid;

		if ((st.st_uid != pw->pw_uid || st.st_gid != gid) &&
			fchown(fd, pw->pw_uid, gid) != 0)
			r = ERR_SYS;
	}
	if (r == 0 && fchmod(fd, dirs[i].mode) != 0)
		r = ERR_SYS;
out:
	if (r != 0)
		buf_add_fmt(why, "gatepost: %s/%s: %s\n",
			master_str(dirs[i].is_data ? P_data_directory : P_queue_directory),
			dirs[i].name, err_str(r));
	fd_close(&fd);
	return r;
}

int dirs_make(struct buf *why)
{
	const char *paths[2] = {master_str(P_queue_directory), master_str(P_data_directory)};
	int base[2] = {-1, -1}, r = 0;

	for (int i = 0; i < 2 && r == 0; i++) {
		r = make_path(paths[i], why);
		if (r == 0)
			base[i] = open(paths[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (r == 0 && base[i] < 0) {
			r = ERR_SYS;
			buf_add_fmt(why, "gatepost: %s: %s\n", paths[i], err_str(r));
		}
	}
	for (size_t i = 0; r == 0 && i < COUNT(dirs); i++)
		r = make_one(base[dirs[i].is_data], i, why);
	fd_close(&base[0]);
	fd_close(&base[1]);
	return r;
}

static int open_lock(const char *name)
{
	char *path = mem_fmt("%s/pid/%s", master_str(P_queue_directory), name);
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	mem_free(path);
	return fd;
}

static int lock_until(int fd, int64_t deadline)
{
	while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
		if (clock_mono() > deadline)
			return ERR_TIMEOUT;
		usleep(LOCK_WAIT_USEC);
	}
	return 0;
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
	if (lock_until(fd, now + COMMAND_WAIT_MSEC * CLOCK_MSEC) != 0) {
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
	if (lock_until(master.alive_fd, now + OLD_WAIT_MSEC * CLOCK_MSEC) != 0) {
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
