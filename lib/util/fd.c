/* SPDX-License-Identifier: ISC */
#include "util/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "util/clock.h"
#include "util/err.h"

#define FD_CHUNK 65536

enum { LOCK_WAIT_USEC = 10000 };

void fd_close(int *fd)
{
	/* Linux has closed it even when interrupted: never twice. */
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static int fd_change(int fd, int get, int set, int flag, bool on)
{
	int old = fcntl(fd, get);
	int new = on ? old | flag : old & ~flag;

	if (old < 0)
		return ERR_SYS;
	return old == new || fcntl(fd, set, new) == 0 ? 0 : ERR_SYS;
}

int fd_set_nonblock(int fd, bool on)
{
	return fd_change(fd, F_GETFL, F_SETFL, O_NONBLOCK, on);
}

int fd_set_cloexec(int fd, bool on)
{
	return fd_change(fd, F_GETFD, F_SETFD, FD_CLOEXEC, on);
}

static ssize_t fd_read(int fd, void *p, size_t len)
{
	ssize_t n = 0;

	do
		n = read(fd, p, len);
	while (n < 0 && errno == EINTR);
	return n;
}

int fd_read_full(int fd, void *p, size_t len)
{
	char *to = p;

	while (len > 0) {
		ssize_t n = fd_read(fd, to, len);

		if (n < 0)
			return ERR_SYS;
		if (n == 0)
			return ERR_SHORT;
		to += n;
		len -= (size_t)n;
	}
	return 0;
}

int fd_write_full(int fd, const void *p, size_t len)
{
	const char *from = p;

	while (len > 0) {
		ssize_t n = write(fd, from, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return ERR_SYS;
		from += n;
		len -= (size_t)n;
	}
	return 0;
}

int fd_read_all(int fd, struct buf *out)
{
	for (;;) {
		size_t left = out->limit - out->len;
		size_t chunk = left < FD_CHUNK ? left : FD_CHUNK;
		char *room = NULL, probe = 0;
		ssize_t n = 0;

		/* At the limit only the end of the file may follow. */
		if (chunk == 0) {
			n = fd_read(fd, &probe, 1);
			return n < 0 ? ERR_SYS : n == 0 ? 0 : buf_add_char(out, probe);
		}
		if (buf_room(out, chunk, &room) < 0)
			return ERR_LIMIT;
		n = fd_read(fd, room, chunk);
		if (n <= 0)
			return n < 0 ? ERR_SYS : 0;
		buf_added(out, (size_t)n);
	}
}

int fd_lock(int fd, int64_t until)
{
	while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
		if (clock_mono() >= until)
			return ERR_TIMEOUT;
		usleep(LOCK_WAIT_USEC);
	}
	return 0;
}

void fd_raise_limit(void)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) != 0)
		return;
	files.rlim_cur = files.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &files);
}

int fd_memory(const char *name, int *fd)
{
	*fd = memfd_create(name, MFD_CLOEXEC);
	return *fd >= 0 ? 0 : ERR_SYS;
}
