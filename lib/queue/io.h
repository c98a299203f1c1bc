/* SPDX-License-Identifier: ISC */
#ifndef QUEUE_IO_H
#define QUEUE_IO_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

/*
 * The one table of functions through which lib/queue touches the disk. queue_io_posix is the real
 * one; tests put a model disk here that forgets, tears and reorders what was not synced, so
 * nothing in lib/queue may call the system for a file by another way.
 *
 * Unless said otherwise a function returns what its system call returns, with errno; EINTR is
 * handled inside. Short reads and writes can happen and are the caller's business
 * (queue_read_full, queue_write_full).
 */
struct queue_stat {
	uint64_t size;
	int64_t mtime;   /* microseconds since 1970 */
	bool is_regular; /* and not a link */
	bool is_dir;
};

struct queue_space {
	uint64_t free_bytes; /* for the unprivileged */
	uint64_t free_files;
};

struct queue_io {
	void *ctx; /* of the implementation */
	/* O_CLOEXEC and O_NOFOLLOW are added. */
	int (*openat)(const struct queue_io *io, int dir, const char *path, int flags, mode_t mode);
	int (*close)(const struct queue_io *io, int fd);
	ssize_t (*pread)(const struct queue_io *io, int fd, void *p, size_t len, uint64_t offset);
	/* Only what is in memory (RWF_NOWAIT): EAGAIN when the disk would have to be asked. */
	ssize_t (*pread_nowait)(
		const struct queue_io *io, int fd, void *p, size_t len, uint64_t offset);
	ssize_t (*pwritev)(
		const struct queue_io *io, int fd, const struct iovec *iov, int n, uint64_t offset);
	int (*fdatasync)(const struct queue_io *io, int fd);
	int (*fsync)(const struct queue_io *io, int fd); /* files with their size; directories */
	/* Everything of the file system that fd is on, names too. ENOSYS where a failed write would
	 * not be told (Linux before 5.8): then one by one. */
	int (*syncfs)(const struct queue_io *io, int fd);
	int (*fallocate)(const struct queue_io *io, int fd, uint64_t offset, uint64_t len);
	int (*ftruncate)(const struct queue_io *io, int fd, uint64_t size);
	/* Starts write-back of a range and waits for nothing; promises nothing. */
	int (*writeback)(const struct queue_io *io, int fd, uint64_t offset, uint64_t len);
	int (*renameat)(
		const struct queue_io *io, int dir, const char *from, int to_dir, const char *to);
	int (*unlinkat)(const struct queue_io *io, int dir, const char *path);
	int (*mkdirat)(const struct queue_io *io, int dir, const char *path, mode_t mode);
	int (*statat)(const struct queue_io *io, int dir, const char *path, struct queue_stat *st);
	int (*fstat)(const struct queue_io *io, int fd, struct queue_stat *st);
	int (*set_mtime)(const struct queue_io *io, int fd, int64_t real); /* microseconds */
	/* Each name but . and ..; visit returns false to stop. The directory may change meanwhile.
	 */
	int (*list)(const struct queue_io *io, int dir, const char *path,
		bool (*visit)(const char *name, void *arg), void *arg);
	/* flock(2), exclusive: EWOULDBLOCK when another holds it and wait is false. Ends with close
	 * of the last descriptor of the open file. */
	int (*lock)(const struct queue_io *io, int fd, bool wait);
	int (*unlock)(const struct queue_io *io, int fd);
	int (*space)(const struct queue_io *io, int fd, struct queue_space *space);
	void (*random)(const struct queue_io *io, void *p, size_t len);
};

extern const struct queue_io queue_io_posix;

/* The queue directory: an open descriptor and how to use it. Borrowed by all who are given it. */
struct queue_root {
	const struct queue_io *io;
	int fd;
};

/* The unit in which a power cut keeps or loses; no later write shares one with synced data. */
#define QUEUE_BLOCK 4096
/* The unit of checksums over payloads. */
#define QUEUE_CHUNK 65536

/* Opens queue_directory; the subdirectories exist or are made (queue_root_make). ERR_SYS. */
int queue_root_open(const char *path, struct queue_root *root);
void queue_root_close(struct queue_root *root);
/* Makes incoming, log, deferred, hold, corrupt below it (mode 0770) and syncs their names. ERR_SYS.
 */
int queue_root_make(const struct queue_root *root);

/* Exactly len bytes. ERR_SHORT at the end of the file, ERR_AGAIN (nowait), ERR_SYS. */
int queue_read_full(
	const struct queue_io *io, int fd, void *p, size_t len, uint64_t offset, bool nowait);
/* All of it, also over partial writes; iov is changed. ERR_FULL (ENOSPC, EDQUOT), ERR_SYS. */
int queue_write_full(const struct queue_io *io, int fd, struct iovec *iov, int n, uint64_t offset);
/* Opens, syncs and closes a directory below root. ERR_SYS. */
int queue_sync_dir(const struct queue_root *root, const char *path);
void queue_close(const struct queue_io *io, int *fd); /* -1 is fine; sets -1 */
/* Free bytes and files are at least these; what cannot be asked counts as enough. */
bool queue_has_space(const struct queue_root *root, uint64_t bytes, uint64_t files);
/* ERR_FULL for ENOSPC and EDQUOT, else ERR_SYS. */
int queue_errno(void);

static inline uint64_t queue_align(uint64_t n, uint64_t unit)
{
	return (n + unit - 1) / unit * unit;
}

#endif
