/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "conf/conf.h"
#include "local/content.h"
#include "local/mailbox.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/fd.h"
#include "util/mem.h"

void mailbox_failed(struct outcome *o, const char *fmt, ...)
{
	int saved = errno;
	char what[300];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	if (saved == EDQUOT || saved == EFBIG)
		outcome_set(o, RESULT_FAILED, "5.2.2", "%s: %s", what, strerror(saved));
	else if (saved == ENOSPC)
		outcome_set(o, RESULT_DEFERRED, "4.3.1", "%s: %s", what, strerror(saved));
	else
		outcome_set(o, RESULT_DEFERRED, "4.2.0", "%s: %s", what, strerror(saved));
}

static bool has_lock(const struct mailbox *m, const char *name)
{
	struct slice rest = slice_str(m->locks), token;
	while (slice_token(&rest, ", \t", &token))
		if (slice_eq_str(token, name))
			return true;
	return false;
}

/* Between two tries; a child has nothing else to do. */
static void wait_a_while(void)
{
	int64_t delay = conf_time(P_deliver_lock_delay);
	struct timespec t = {delay / CLOCK_SEC, delay % CLOCK_SEC * 1000};
	nanosleep(&t, NULL);
}

/*
 * What our lock files hold is "gatepost PID HOST", and their maker keeps them open and locked by
 * flock(2): one that is not locked, of this machine, was left by a delivery that was killed.
 */
static bool is_orphan(int fd)
{
	struct buf text = BUF_INIT(300);
	char host[256] = "";
	struct slice rest, maker, pid;
	bool orphan = false;
	(void)gethostname(host, sizeof(host) - 1);
	if (fd_read_all(fd, &text) == 0) {
		rest = buf_slice(&text);
		orphan = slice_token(&rest, " ", &maker) && slice_token(&rest, " ", &pid) &&
			 slice_eq_str(maker, "gatepost") && slice_eq_str(slice_trim(rest), host) &&
			 flock(fd, LOCK_EX | LOCK_NB) == 0;
	}
	buf_clear(&text);
	return orphan;
}

/* A lock without its mark is a lock all the same; it is only not known as an orphan. */
static void mark_lock(int fd)
{
	char host[256] = "", mark[320];
	(void)gethostname(host, sizeof(host) - 1);
	snprintf(mark, sizeof(mark), "gatepost %ld %s\n", (long)getpid(), host);
	if (flock(fd, LOCK_EX | LOCK_NB) == 0)
		(void)fd_write_full(fd, mark, strlen(mark));
}

/* A lock file whose maker is long gone is taken away. True when it was. */
static bool remove_stale(const char *path)
{
	struct stat st, now;
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	bool known = fd >= 0 ? fstat(fd, &st) == 0 : lstat(path, &st) == 0;
	bool stale = known && clock_real() - (int64_t)st.st_mtim.tv_sec * CLOCK_SEC >
				      conf_time(P_stale_lock_time);
	if (!stale && fd >= 0 && known && S_ISREG(st.st_mode))
		stale = is_orphan(fd);
	/* It is still the one that was looked at. */
	bool removed =
		stale && lstat(path, &now) == 0 && now.st_ino == st.st_ino && unlink(path) == 0;
	fd_close(&fd);
	return removed;
}

/*
 * The lock file appears with its mark, or not at all: a delivery that is killed between the two
 * steps would leave one that nobody knows for an orphan. -1 with EEXIST: somebody has the lock.
 */
static int create_marked(const char *path)
{
	const char *base = strrchr(path, '/');
	char *dir = base == NULL ? mem_fmt(".") : mem_fmt("%.*s/", (int)(base - path), path);
	int fd = open(dir, O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
	char self[40];
	mem_free(dir);
	if (fd < 0)
		return -1;
	mark_lock(fd);
	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	if (linkat(AT_FDCWD, self, AT_FDCWD, path, AT_SYMLINK_FOLLOW) != 0)
		fd_close(&fd);
	return fd;
}

/* Where the file system has no files without a name, in two steps. */
static int create_lock(const char *path)
{
	int fd = create_marked(path);
	if (fd >= 0 || errno == EEXIST)
		return fd;
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd >= 0)
		mark_lock(fd);
	return fd;
}

/* *fd stays open as long as the lock is held. */
static int make_dotlock(const char *path, int *fd)
{
	for (int64_t n = conf_int(P_deliver_lock_attempts); n > 0; n--) {
		*fd = create_lock(path);
		if (*fd < 0 && errno == EEXIST && remove_stale(path))
			*fd = create_lock(path);
		if (*fd >= 0)
			return 0;
		if (errno != EEXIST)
			return ERR_SYS;
		if (n > 1)
			wait_a_while();
	}
	errno = EAGAIN;
	return ERR_SYS;
}

static int lock_file(const struct mailbox *m, int fd)
{
	struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	for (int64_t n = conf_int(P_deliver_lock_attempts); n > 0; n--) {
		if ((!has_lock(m, "fcntl") || fcntl(fd, F_SETLK, &l) == 0) &&
			(!has_lock(m, "flock") || flock(fd, LOCK_EX | LOCK_NB) == 0))
			return 0;
		if (errno != EAGAIN && errno != EACCES)
			return ERR_SYS;
		if (n > 1)
			wait_a_while();
	}
	errno = EAGAIN;
	return ERR_SYS;
}

/* A file that somebody else prepared is not written to. */
static bool is_acceptable(const struct mailbox *m, const struct stat *st, struct outcome *o)
{
	const char *what = NULL;
	if (!S_ISREG(st->st_mode))
		what = "is not a regular file";
	else if (st->st_nlink != 1)
		what = "has more than one link";
	else if (m->must_own && st->st_uid != geteuid())
		what = "is not owned by recipient";
	if (what != NULL)
		outcome_set(o, RESULT_DEFERRED, "4.2.0", "destination %s %s", m->path, what);
	return what == NULL;
}

static int sync_parent(const char *path)
{
	const char *slash = strrchr(path, '/');
	char *directory = slice_dup(slice_of(path, slash == path ? 1 : (size_t)(slash - path)));
	int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	/* A spool that may be written but not read cannot be opened; its name is not ours to sync.
	 */
	int r = fd < 0 ? (errno == EACCES ? 0 : ERR_SYS) : fsync(fd) != 0 ? ERR_SYS : 0;
	mem_free(directory);
	fd_close(&fd);
	return r;
}

static void append(const struct job *j, const struct job_rcpt *r, const struct mailbox *m, int fd,
	struct outcome *o)
{
	struct content_style style = {.is_mbox = true, .has_delivered_to = m->has_delivered_to};
	struct stat st;
	uint64_t size;
	if (fstat(fd, &st) == 0 && !is_acceptable(m, &st, o))
		return;
	if (fstat(fd, &st) != 0 || lseek(fd, 0, SEEK_END) < 0) {
		mailbox_failed(o, "cannot update mailbox %s for user %s", m->path, m->user);
		return;
	}
	if (m->limit > 0 && (uint64_t)st.st_size + j->size > m->limit) {
		errno = EFBIG;
		mailbox_failed(o, "cannot update mailbox %s for user %s. error writing message",
			m->path, m->user);
		return;
	}
	int err = content_write(j, r, &style, fd, &size);
	if (err == 0 && fsync(fd) != 0)
		err = ERR_SYS;
	if (err == 0 && st.st_size == 0)
		err = sync_parent(m->path);
	if (err == 0) {
		outcome_set(o, RESULT_OK, "2.0.0", "delivered to mailbox");
		return;
	}
	int saved = errno;
	bool is_back = ftruncate(fd, st.st_size) == 0 && fsync(fd) == 0;
	errno = saved;
	if (err == ERR_CORRUPT)
		outcome_set(o, RESULT_UNTRIED, "4.3.0", "queue file damaged");
	else
		mailbox_failed(o, "cannot update mailbox %s for user %s. %s", m->path, m->user,
			is_back ? "error writing message"
				: "error writing message, part of it stays");
}

void mailbox_deliver_mbox(
	const struct job *j, const struct job_rcpt *r, const struct mailbox *m, struct outcome *o)
{
	char *lock = mem_fmt("%s.lock", m->path);
	int fd = -1, lock_fd = -1;
	if (has_lock(m, "dotlock") && make_dotlock(lock, &lock_fd) != 0) {
		mailbox_failed(o,
			"cannot update mailbox %s for user %s. unable to create lock file %s",
			m->path, m->user, lock);
		goto out;
	}
	/* O_NONBLOCK: a pipe or a device in this place holds nobody up. */
	fd = open(m->path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
	if (fd < 0)
		mailbox_failed(o, "cannot update mailbox %s for user %s. cannot open file", m->path,
			m->user);
	else if (lock_file(m, fd) != 0)
		mailbox_failed(o,
			"cannot update mailbox %s for user %s. unable to lock for exclusive access",
			m->path, m->user);
	else
		append(j, r, m, fd, o);
out:
	fd_close(&fd);
	if (lock_fd >= 0)
		unlink(lock);
	fd_close(&lock_fd);
	mem_free(lock);
}
