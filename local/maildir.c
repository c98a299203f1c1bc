/* SPDX-License-Identifier: ISC */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf/conf.h"
#include "local/content.h"
#include "local/mailbox.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/fd.h"
#include "util/mem.h"

enum { NAMES_MAX = 100, COMPARE = 65536 };

struct maildir {
	int base, tmp, new; /* directories */
	char *name;         /* owned */
};

/* at may be a descriptor that stands for a place alone, and a place that may not be read. */
static int sync_names(int at)
{
	int fd = openat(at, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return errno == EACCES ? 0 : -1;
	int r = fsync(fd);
	fd_close(&fd);
	return r;
}

/* A directory below at; made when missing, with the name synced. */
static int open_dir(int at, const char *name)
{
	int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0 || errno != ENOENT)
		return fd;
	if ((mkdirat(at, name, 0700) != 0 && errno != EEXIST) || sync_names(at) != 0)
		return -1;
	return openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* Each part of the path; missing ones are made, as the user, who may or may not. */
static int open_path(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0 || errno != ENOENT)
		return fd;
	struct slice rest = slice_str(path), part;
	fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	while (fd >= 0 && slice_token(&rest, "/", &part)) {
		char *name = slice_dup(part);
		int next = openat(fd, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (next < 0 && errno == ENOENT)
			next = open_dir(fd, name);
		int saved = errno;
		fd_close(&fd);
		mem_free(name);
		errno = saved;
		fd = next;
	}
	if (fd < 0)
		return -1;
	fd_close(&fd);
	return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static int open_maildir(struct maildir *d, const char *path)
{
	*d = (struct maildir){-1, -1, -1, NULL};
	d->base = open_path(path);
	if (d->base < 0)
		return ERR_SYS;
	int cur = open_dir(d->base, "cur");
	if (cur < 0)
		return ERR_SYS;
	fd_close(&cur);
	d->tmp = open_dir(d->base, "tmp");
	d->new = d->tmp < 0 ? -1 : open_dir(d->base, "new");
	return d->new < 0 ? ERR_SYS : 0;
}

static void close_maildir(struct maildir *d)
{
	fd_close(&d->base);
	fd_close(&d->tmp);
	fd_close(&d->new);
	mem_free(d->name);
}

/* A name that is in use by a delivery that did not end belongs to this one: it is made anew. */
static int create(const struct maildir *d)
{
	int flags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
	int fd = openat(d->tmp, d->name, flags, 0600);
	if (fd >= 0 || errno != EEXIST || unlinkat(d->tmp, d->name, 0) != 0)
		return fd;
	return openat(d->tmp, d->name, flags, 0600);
}

static bool is_same(int a, int b)
{
	struct stat sa, sb;
	if (fstat(a, &sa) != 0 || fstat(b, &sb) != 0 || !S_ISREG(sb.st_mode) ||
		sa.st_size != sb.st_size)
		return false;
	char *room = mem_alloc(2 * COMPARE);
	off_t at = 0;
	bool same = true;
	while (same && at < sa.st_size) {
		ssize_t n = pread(a, room, COMPARE, at);
		same = n > 0 && pread(b, room + COMPARE, (size_t)n, at) == n &&
		       memcmp(room, room + COMPARE, (size_t)n) == 0;
		at += n > 0 ? n : 0;
	}
	mem_free(room);
	return same;
}

static bool is_same_as(int fd, int at, const char *name)
{
	int other = openat(at, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	bool same = other >= 0 && is_same(fd, other);
	fd_close(&other);
	return same;
}

/* A mail reader has moved the first delivery to cur/, under the same name with marks behind it. */
static bool is_in_cur(const struct maildir *d, int fd)
{
	int cur = openat(d->base, "cur", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = cur >= 0 ? fdopendir(cur) : NULL;
	size_t len = strlen(d->name);
	bool found = false;
	if (dir == NULL) {
		fd_close(&cur);
		return false;
	}
	for (struct dirent *e; !found && (e = readdir(dir)) != NULL;)
		if (strncmp(e->d_name, d->name, len) == 0 &&
			(e->d_name[len] == ':' || e->d_name[len] == '\0'))
			found = is_same_as(fd, cur, e->d_name);
	closedir(dir);
	return found;
}

/* Without ever replacing a file; where the file system cannot rename so, by a second link. */
static int move(const struct maildir *d, const char *name)
{
	if (renameat2(d->tmp, d->name, d->new, name, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return errno;
	return linkat(d->tmp, d->name, d->new, name, 0) == 0 ? 0 : errno;
}

/* From tmp/ to new/, under the name or the name with a number behind it. */
static int publish(const struct maildir *d, int fd)
{
	for (int n = 0; n < NAMES_MAX; n++) {
		char *name = n == 0 ? mem_str(d->name) : mem_fmt("%s.%d", d->name, n);
		int err = move(d, name);
		bool is_done = err == 0 || (err == EEXIST && is_same_as(fd, d->new, name));
		mem_free(name);
		if (is_done)
			return fsync(d->new) == 0 ? 0 : ERR_SYS;
		if (err != EEXIST) {
			errno = err;
			return ERR_SYS;
		}
	}
	errno = EEXIST;
	return ERR_SYS;
}

static int write_file(
	const struct job *j, const struct job_rcpt *r, const struct mailbox *m, int fd)
{
	struct content_style style = {.has_delivered_to = m->has_delivered_to};
	uint64_t size;
	if (m->limit > 0 && j->size > m->limit) {
		errno = EFBIG;
		return ERR_SYS;
	}
	int err = content_write(j, r, &style, fd, &size);
	return err == 0 && fsync(fd) != 0 ? ERR_SYS : err;
}

static void deliver(const struct job *j, const struct job_rcpt *r, const struct mailbox *m,
	struct maildir *d, struct outcome *o)
{
	int fd = create(d);
	if (fd < 0) {
		mailbox_failed(o, "maildir delivery failed: create maildir file %stmp/%s", m->path,
			d->name);
		return;
	}
	int err = write_file(j, r, m, fd);
	if (err == ERR_CORRUPT)
		outcome_set(o, RESULT_UNTRIED, "4.3.0", "queue file damaged");
	else if (err != 0)
		mailbox_failed(o, "maildir delivery failed: error writing message");
	else if (r->attempts > 1 && is_in_cur(d, fd))
		outcome_set(o, RESULT_OK, "2.0.0", "delivered to maildir");
	else if (publish(d, fd) != 0)
		mailbox_failed(o, "maildir delivery failed: link to %snew/%s", m->path, d->name);
	else
		outcome_set(o, RESULT_OK, "2.0.0", "delivered to maildir");
	unlinkat(d->tmp, d->name, 0);
	fd_close(&fd);
}

void mailbox_deliver_maildir(
	const struct job *j, const struct job_rcpt *r, const struct mailbox *m, struct outcome *o)
{
	struct maildir d;
	if (open_maildir(&d, m->path) != 0) {
		mailbox_failed(o, "maildir delivery failed: cannot open or create %s", m->path);
	} else {
		d.name = mem_fmt("%lld.M%06lldQ%sR%llu.%s", (long long)(j->arrival / CLOCK_SEC),
			(long long)(j->arrival % CLOCK_SEC), j->id, (unsigned long long)r->index,
			conf_str(P_myhostname));
		deliver(j, r, m, &d, o);
	}
	close_maildir(&d);
}
