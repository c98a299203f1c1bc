/* SPDX-License-Identifier: ISC */
#include "t/local/world.h"

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "t/tap.h"
#include "util/buf.h"
#include "util/fd.h"

static char dir[] = "/tmp/gatepost-local-XXXXXX";

const char *world_path(const char *fmt, ...)
{
	static char paths[8][512];
	static unsigned turn;
	char *p = paths[turn++ % 8];
	va_list ap;
	int n = snprintf(p, sizeof(paths[0]), "%s/", dir);
	va_start(ap, fmt);
	vsnprintf(p + n, sizeof(paths[0]) - (size_t)n, fmt, ap);
	va_end(ap);
	return p;
}

void world_run(const char *fmt, ...)
{
	char command[2000];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(command, sizeof(command), fmt, ap);
	va_end(ap);
	if (system(command) != 0)
		bail_out("failed: %s", command);
}

void world_write(const char *path, const char *text, uid_t owner, mode_t mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
	if (fd < 0 || fd_write_full(fd, text, strlen(text)) != 0 || fchown(fd, owner, owner) != 0 ||
		fchmod(fd, mode) != 0)
		bail_out("cannot write %s", path);
	fd_close(&fd);
}

const char *world_read(const char *path)
{
	static struct buf all = {.limit = 16 << 20};
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	buf_reset(&all);
	if (fd >= 0)
		(void)fd_read_all(fd, &all);
	fd_close(&fd);
	return buf_str(&all);
}

int world_count(const char *directory, char *first)
{
	DIR *d = opendir(directory);
	int n = 0;
	for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;) {
		if (e->d_name[0] == '.')
			continue;
		if (n++ == 0 && first != NULL)
			snprintf(first, 64, "%.63s", e->d_name);
	}
	if (d != NULL)
		closedir(d);
	return n;
}

/* Only processes of this test's own mount namespace: others use the same uid at the same time. */
static bool is_ours(uint64_t pid)
{
	struct stat theirs, ours;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%llu/ns/mnt", (unsigned long long)pid);
	return stat(path, &theirs) == 0 && stat("/proc/self/ns/mnt", &ours) == 0 &&
	       theirs.st_ino == ours.st_ino;
}

int world_kill(uid_t uid)
{
	DIR *d = opendir("/proc");
	int n = 0;
	for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;) {
		char path[64];
		uint64_t pid;
		snprintf(path, sizeof(path), "/proc/%.20s/status", e->d_name);
		if (slice_u64(slice_str(e->d_name), 2, INT32_MAX, &pid) != 0)
			continue;
		char *uids = strstr(world_read(path), "\nUid:\t");
		unsigned real;
		if (uids != NULL && sscanf(uids, "\nUid:\t%u", &real) == 1 && real == uid &&
			is_ours(pid) && kill((pid_t)pid, SIGKILL) == 0)
			n++;
	}
	if (d != NULL)
		closedir(d);
	return n;
}

void world_make(void)
{
	struct buf passwd = BUF_INIT(1 << 20);
	if (geteuid() != 0)
		skip_all("needs root, to become users");
	if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
		skip_all("needs a mount namespace");
	if (mkdtemp(dir) == NULL || chmod(dir, 0755) != 0)
		bail_out("no directory");
	world_run("mkdir -p %s/spool %s/home/anna %s/home/bert %s/virtual", dir, dir, dir, dir);
	world_run(
		"chmod 1777 %s/spool && chown %d %s/home/anna && chown %d %s/home/bert && chown %d "
		"%s/virtual",
		dir, ANNA, dir, BERT, dir, VIRT, dir);
	buf_add_str(&passwd, world_read("/etc/passwd"));
	buf_add_fmt(&passwd, "anna:x:%d:%d::%s/home/anna:/bin/sh\n", ANNA, ANNA, dir);
	buf_add_fmt(&passwd, "bert:x:%d:%d::%s/home/bert:/bin/sh\n", BERT, BERT, dir);
	world_write(world_path("passwd"), buf_str(&passwd), 0, 0644);
	if (mount(world_path("passwd"), "/etc/passwd", NULL, MS_BIND, NULL) != 0)
		bail_out("cannot mount a passwd file");
	buf_clear(&passwd);
}

void world_end(void)
{
	world_run("rm -rf %s", dir);
}
