/* SPDX-License-Identifier: ISC */
#include "queue/io.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "util/clock.h"
#include "util/err.h"

static int sys_openat(const struct queue_io *io, int dir, const char *path, int flags, mode_t mode)
{
	int fd;

	do
		fd = openat(dir, path, flags | O_CLOEXEC | O_NOFOLLOW, mode);
	while (fd == -1 && errno == EINTR);
	return fd;
}

static int sys_close(const struct queue_io *io, int fd)
{
	return close(fd);
}

static ssize_t sys_pread(const struct queue_io *io, int fd, void *p, size_t len, uint64_t offset)
{
	ssize_t n;

	do
		n = pread(fd, p, len, (off_t)offset);
	while (n == -1 && errno == EINTR);
	return n;
}

static ssize_t sys_pread_nowait(
	const struct queue_io *io, int fd, void *p, size_t len, uint64_t offset)
{
	struct iovec iov = {p, len};
	ssize_t n;

	do
		n = preadv2(fd, &iov, 1, (off_t)offset, RWF_NOWAIT);
	while (n == -1 && errno == EINTR);
	/* A file system without it: waiting is the lesser evil. */
	if (n == -1 && (errno == EOPNOTSUPP || errno == ENOSYS))
		return sys_pread(io, fd, p, len, offset);
	return n;
}

static ssize_t sys_pwritev(
	const struct queue_io *io, int fd, const struct iovec *iov, int n, uint64_t offset)
{
	ssize_t done;

	do
		done = pwritev(fd, iov, n, (off_t)offset);
	while (done == -1 && errno == EINTR);
	return done;
}

static int sys_fdatasync(const struct queue_io *io, int fd)
{
	/* Not repeated after EINTR: pages may have been marked clean by then. */
	return fdatasync(fd);
}

static int sys_fsync(const struct queue_io *io, int fd)
{
	return fsync(fd);
}

/* Whether syncfs(2) tells of failed writes: since Linux 5.8. */
static bool syncfs_tells(void)
{
	static int tells = -1;
	struct utsname u;
	struct slice rest, major, minor;
	uint64_t a = 0, b = 0;

	if (tells != -1)
		return tells;
	tells = 0;
	if (uname(&u) == 0) {
		rest = slice_str(u.release);
		if (slice_token(&rest, ".", &major) && slice_token(&rest, ".-+", &minor) &&
			slice_u64(major, 0, 1000, &a) == 0 && slice_u64(minor, 0, 1000, &b) == 0)
			tells = a > 5 || (a == 5 && b >= 8);
	}
	return tells;
}

static int sys_syncfs(const struct queue_io *io, int fd)
{
	if (!syncfs_tells()) {
		errno = ENOSYS;
		return -1;
	}
	return syncfs(fd);
}

static int sys_fallocate(const struct queue_io *io, int fd, uint64_t offset, uint64_t len)
{
	int r;

	do
		r = fallocate(fd, 0, (off_t)offset, (off_t)len);
	while (r == -1 && errno == EINTR);
	return r;
}

static int sys_ftruncate(const struct queue_io *io, int fd, uint64_t size)
{
	int r;

	do
		r = ftruncate(fd, (off_t)size);
	while (r == -1 && errno == EINTR);
	return r;
}

static int sys_writeback(const struct queue_io *io, int fd, uint64_t offset, uint64_t len)
{
	return sync_file_range(fd, (off_t)offset, (off_t)len, SYNC_FILE_RANGE_WRITE);
}

static int sys_renameat(
	const struct queue_io *io, int dir, const char *from, int to_dir, const char *to)
{
	return renameat(dir, from, to_dir, to);
}

static int sys_unlinkat(const struct queue_io *io, int dir, const char *path)
{
	return unlinkat(dir, path, 0);
}

static int sys_mkdirat(const struct queue_io *io, int dir, const char *path, mode_t mode)
{
	return mkdirat(dir, path, mode);
}

static void fill_stat(const struct stat *in, struct queue_stat *st)
{
	*st = (struct queue_stat){
		.size = (uint64_t)in->st_size,
		.mtime = (int64_t)in->st_mtim.tv_sec * CLOCK_SEC + in->st_mtim.tv_nsec / 1000,
		.is_regular = S_ISREG(in->st_mode),
		.is_dir = S_ISDIR(in->st_mode),
	};
}

static int sys_statat(const struct queue_io *io, int dir, const char *path, struct queue_stat *st)
{
	struct stat in;

	if (fstatat(dir, path, &in, AT_SYMLINK_NOFOLLOW) == -1)
		return -1;
	fill_stat(&in, st);
	return 0;
}

static int sys_fstat(const struct queue_io *io, int fd, struct queue_stat *st)
{
	struct stat in;

	if (fstat(fd, &in) == -1)
		return -1;
	fill_stat(&in, st);
	return 0;
}

static int sys_set_mtime(const struct queue_io *io, int fd, int64_t real)
{
	struct timespec t[2] = {
		{.tv_nsec = UTIME_OMIT},
		{.tv_sec = (time_t)(real / CLOCK_SEC), .tv_nsec = (long)(real % CLOCK_SEC) * 1000},
	};

	return futimens(fd, t);
}

static int sys_list(const struct queue_io *io, int dir, const char *path,
	bool (*visit)(const char *name, void *arg), void *arg)
{
	int fd = sys_openat(io, dir, path, O_RDONLY | O_DIRECTORY, 0);
	struct dirent *e;
	DIR *d;
	int err;

	if (fd == -1)
		return -1;
	d = fdopendir(fd);
	if (d == NULL) {
		close(fd);
		return -1;
	}
	for (;;) {
		errno = 0;
		e = readdir(d);
		if (e == NULL)
			break;
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 &&
			!visit(e->d_name, arg)) {
			errno = 0;
			break;
		}
	}
	err = errno;
	closedir(d);
	errno = err;
	return err == 0 ? 0 : -1;
}

static int sys_lock(const struct queue_io *io, int fd, bool wait)
{
	int r;

	do
		r = flock(fd, LOCK_EX | (wait ? 0 : LOCK_NB));
	while (r == -1 && errno == EINTR);
	return r;
}

static int sys_unlock(const struct queue_io *io, int fd)
{
	return flock(fd, LOCK_UN);
}

static int sys_space(const struct queue_io *io, int fd, struct queue_space *space)
{
	struct statvfs v;

	if (fstatvfs(fd, &v) == -1)
		return -1;
	space->free_bytes = (uint64_t)v.f_bavail * v.f_frsize;
	space->free_files = v.f_files == 0 ? UINT64_MAX : v.f_favail;
	return 0;
}

static void sys_random(const struct queue_io *io, void *p, size_t len)
{
	arc4random_buf(p, len);
}

const struct queue_io queue_io_posix = {
	.openat = sys_openat,
	.close = sys_close,
	.pread = sys_pread,
	.pread_nowait = sys_pread_nowait,
	.pwritev = sys_pwritev,
	.fdatasync = sys_fdatasync,
	.fsync = sys_fsync,
	.syncfs = sys_syncfs,
	.fallocate = sys_fallocate,
	.ftruncate = sys_ftruncate,
	.writeback = sys_writeback,
	.renameat = sys_renameat,
	.unlinkat = sys_unlinkat,
	.mkdirat = sys_mkdirat,
	.statat = sys_statat,
	.fstat = sys_fstat,
	.set_mtime = sys_set_mtime,
	.list = sys_list,
	.lock = sys_lock,
	.unlock = sys_unlock,
	.space = sys_space,
	.random = sys_random,
};

int queue_root_open(const char *path, struct queue_root *root)
{
	*root = (struct queue_root){.io = &queue_io_posix, .fd = -1};
	root->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return root->fd == -1 ? ERR_SYS : 0;
}

void queue_root_close(struct queue_root *root)
{
	queue_close(root->io, &root->fd);
}

int queue_root_make(const struct queue_root *root)
{
	static const char *const names[] = {"incoming", "log", "deferred", "hold", "corrupt"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (root->io->mkdirat(root->io, root->fd, names[i], 0770) == -1 && errno != EEXIST)
			return queue_errno();
	}
	return root->io->fsync(root->io, root->fd) == -1 ? queue_errno() : 0;
}

int queue_errno(void)
{
	return errno == ENOSPC || errno == EDQUOT ? ERR_FULL : ERR_SYS;
}

int queue_read_full(
	const struct queue_io *io, int fd, void *p, size_t len, uint64_t offset, bool nowait)
{
	char *to = p;

	while (len > 0) {
		ssize_t n = nowait ? io->pread_nowait(io, fd, to, len, offset)
				   : io->pread(io, fd, to, len, offset);

		if (n == -1)
			return nowait && errno == EAGAIN ? ERR_AGAIN : ERR_SYS;
		if (n == 0)
			return ERR_SHORT;
		to += n;
		len -= (size_t)n;
		offset += (uint64_t)n;
	}
	return 0;
}

int queue_write_full(const struct queue_io *io, int fd, struct iovec *iov, int n, uint64_t offset)
{
	while (n > 0) {
		ssize_t done;

		if (iov->iov_len == 0) {
			iov++;
			n--;
			continue;
		}
		done = io->pwritev(io, fd, iov, n, offset);
		if (done == -1)
			return queue_errno();
		if (done == 0) {
			errno = EIO;
			return ERR_SYS;
		}
		offset += (uint64_t)done;
		while (done > 0) {
			size_t part = (size_t)done < iov->iov_len ? (size_t)done : iov->iov_len;

			iov->iov_base = (char *)iov->iov_base + part;
			iov->iov_len -= part;
			done -= (ssize_t)part;
			if (iov->iov_len == 0) {
				iov++;
				n--;
			}
		}
	}
	return 0;
}

int queue_sync_dir(const struct queue_root *root, const char *path)
{
	int fd = root->io->openat(root->io, root->fd, path, O_RDONLY | O_DIRECTORY, 0);
	int r;

	if (fd == -1)
		return ERR_SYS;
	r = root->io->fsync(root->io, fd) == -1 ? queue_errno() : 0;
	queue_close(root->io, &fd);
	return r;
}

void queue_close(const struct queue_io *io, int *fd)
{
	int saved = errno;

	if (*fd != -1)
		io->close(io, *fd);
	*fd = -1;
	errno = saved;
}

bool queue_has_space(const struct queue_root *root, uint64_t bytes, uint64_t files)
{
	struct queue_space space;

	if (root->io->space(root->io, root->fd, &space) == -1)
		return true;
	return space.free_bytes >= bytes && space.free_files >= files;
}
