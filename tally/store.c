/* SPDX-License-Identifier: ISC */
#include "tally/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util/clock.h"
#include "util/err.h"
#include "util/fd.h"
#include "util/hash.h"
#include "util/log.h"
#include "util/mem.h"
#include "util/wire.h"

enum {
	HEAD = 8, /* length, checksum */
	PIECE = 1 << 20,
	DUE_MIN = 8 << 20, /* bytes of logs that are worth a snapshot */
	FILES_MAX = 10000,
	FILES_MANY = 8, /* logs that are worth one, whatever their size */
	WARN_SEC = 60
};

static const char magic[] = "gatepost tally 1\n";
static const char last_record[] = "end";

struct store {
	int dir, log;    /* log -1: could not be made */
	uint64_t number; /* of the log */
	uint64_t log_size, snapshot_size;
	uint64_t good;      /* bytes of the log that are whole records */
	bool wanted;        /* a snapshot, whatever the sizes */
	int64_t not_before; /* is one tried again, behind a failure */
	struct buf gathered;
	void (*apply)(struct slice record);
	pid_t child; /* 0: none */
	int child_fd;
	uint64_t child_number;
	bool is_child;
	int64_t warned;
};

/* At most once a minute. */
static void warn(struct store *s, const char *what, uint64_t number)
{
	int saved = errno;

	if (s->warned != 0 && clock_mono() - s->warned < WARN_SEC * CLOCK_SEC)
		return;
	s->warned = clock_mono();
	errno = saved;
	log_warning("store: %s %llu: %s; what is counted may not survive a restart", what,
		(unsigned long long)number, err_str(ERR_SYS));
}

/* ---- reading ---- */

static bool parse_name(const char *name, const char *prefix, uint64_t *number)
{
	struct slice s = slice_str(name);

	*number = 0;
	return slice_starts(s, prefix) &&
	       slice_u64(slice_from(s, strlen(prefix)), 0, UINT64_MAX / 2, number) == 0;
}

/* Records from the front; how many bytes of them were whole. */
static size_t read_records(struct store *s, struct slice in, bool *is_complete)
{
	struct slice rest = slice_from(in, sizeof(magic) - 1);

	*is_complete = false;
	if (!slice_starts(in, magic))
		return 0;
	while (rest.len >= HEAD) {
		size_t len = wire_get_u32(rest.p);
		struct slice record = slice_first(slice_from(rest, HEAD), len);

		if (len > STORE_RECORD_MAX || record.len < len ||
			wire_get_u32(rest.p + 4) != crc32c(0, record.p, len))
			break;
		*is_complete = slice_eq_str(record, last_record);
		if (!*is_complete)
			s->apply(record);
		rest = slice_from(rest, HEAD + len);
	}
	return in.len - rest.len;
}

/* 0, ERR_NOT_FOUND, ERR_CORRUPT: its end is missing. */
static int read_file(struct store *s, const char *kind, uint64_t number, uint64_t *size)
{
	char *name = mem_fmt("%s.%llu", kind, (unsigned long long)number);
	int fd = openat(s->dir, name, O_RDONLY | O_CLOEXEC);
	struct stat st = {0};
	bool is_complete = true;
	void *p = NULL;

	mem_free(name);
	*size = 0;
	if (fd < 0 || fstat(fd, &st) != 0) {
		fd_close(&fd);
		return ERR_NOT_FOUND;
	}
	if (st.st_size > 0)
		p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (p != NULL && p != MAP_FAILED) {
		size_t good = read_records(s, slice_of(p, (size_t)st.st_size), &is_complete);

		if (good < (size_t)st.st_size)
			log_warning("store: %s %llu: %llu bytes at the end cannot be read", kind,
				(unsigned long long)number,
				(unsigned long long)((size_t)st.st_size - good));
		(void)munmap(p, (size_t)st.st_size);
		*size = good;
	}
	fd_close(&fd);
	return is_complete ? 0 : ERR_CORRUPT;
}

struct found {
	uint64_t *logs; /* owned, in order */
	size_t logs_n;
	uint64_t snapshot, highest; /* 0: none */
};

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* Files below the number are done with, and so is what a child has left behind. */
static void look(struct store *s, struct found *f, uint64_t below)
{
	int fd = openat(s->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *e;
	uint64_t n = 0;

	while (d != NULL && (e = readdir(d)) != NULL) {
		bool is_left = parse_name(e->d_name, "new.", &n);
		bool is_log = !is_left && parse_name(e->d_name, "log.", &n);
		bool is_snapshot = !is_left && !is_log && parse_name(e->d_name, "snapshot.", &n);

		if (is_left || ((is_log || is_snapshot) && n < below)) {
			(void)unlinkat(s->dir, e->d_name, 0);
			continue;
		}
		if ((is_log || is_snapshot) && n > f->highest)
			f->highest = n;
		if (is_snapshot && n > f->snapshot)
			f->snapshot = n;
		if (is_log && f->logs_n < FILES_MAX) {
			f->logs = mem_resize(f->logs, f->logs_n + 1, sizeof(*f->logs));
			f->logs[f->logs_n++] = n;
		}
	}
	if (d != NULL)
		(void)closedir(d);
	if (f->logs_n > 1)
		qsort(f->logs, f->logs_n, sizeof(*f->logs), compare);
}

/* A new file with its first bytes. -1 with errno. */
static int create(struct store *s, const char *kind, uint64_t number)
{
	char *name = mem_fmt("%s.%llu", kind, (unsigned long long)number);
	int fd = openat(s->dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);

	mem_free(name);
	if (fd >= 0 && fd_write_full(fd, magic, sizeof(magic) - 1) != 0)
		fd_close(&fd);
	return fd;
}

static void begin_log(struct store *s, uint64_t number)
{
	int fd = create(s, "log", number);

	if (fd < 0) {
		warn(s, "log", number);
		return;
	}
	fd_close(&s->log);
	s->log = fd;
	s->number = number;
	s->good = sizeof(magic) - 1;
}

struct store *store_open(int dir, void (*apply)(struct slice record))
{
	struct store *s = mem_alloc(sizeof(*s));
	struct found f = {0};
	uint64_t size = 0;

	s->dir = dir;
	s->log = s->child_fd = -1;
	s->apply = apply;
	buf_init(&s->gathered, (size_t)64 << 20);
	look(s, &f, 0);
	if (f.snapshot > 0 && read_file(s, "snapshot", f.snapshot, &s->snapshot_size) != 0)
		log_error("store: snapshot %llu is not complete", (unsigned long long)f.snapshot);
	for (size_t i = 0; i < f.logs_n; i++) {
		if (f.logs[i] < f.snapshot)
			continue;
		(void)read_file(s, "log", f.logs[i], &size);
		s->log_size += size;
	}
	s->wanted = f.logs_n > FILES_MANY;
	begin_log(s, f.highest + 1);
	mem_free(f.logs);
	return s;
}

void store_close(struct store **sp)
{
	struct store *s = *sp;

	*sp = NULL;
	if (s == NULL)
		return;
	store_flush(s);
	buf_clear(&s->gathered);
	fd_close(&s->child_fd);
	fd_close(&s->log);
	fd_close(&s->dir);
	mem_free(s);
}

/* ---- writing ---- */

void store_add(struct store *s, struct slice record)
{
	char head[HEAD];

	if (s->log < 0 || record.len > STORE_RECORD_MAX)
		return;
	wire_put_u32(head, (uint32_t)record.len);
	wire_put_u32(head + 4, crc32c(0, record.p, record.len));
	(void)buf_add(&s->gathered, head, HEAD);
	(void)buf_add_slice(&s->gathered, record);
	if (s->is_child && s->gathered.len > PIECE)
		store_flush(s);
}

/* Later, when the disk may have room again. */
static void want_snapshot(struct store *s)
{
	s->wanted = true;
	s->not_before = clock_mono() + WARN_SEC * CLOCK_SEC;
}

/*
 * A record that was written in part would end the reading there: it is cut off again, or the log is
 * left. What is missing then comes with the next snapshot.
 */
static void write_failed(struct store *s)
{
	if (s->is_child)
		_exit(1);
	warn(s, "log", s->number);
	if (ftruncate(s->log, (off_t)s->good) != 0)
		begin_log(s, s->number + 1);
	want_snapshot(s);
}

void store_flush(struct store *s)
{
	if (s->gathered.len == 0 || s->log < 0)
		return;
	if (fd_write_full(s->log, s->gathered.data + s->gathered.start, s->gathered.len) == 0) {
		s->log_size += s->gathered.len;
		s->good += s->gathered.len;
	} else {
		write_failed(s);
	}
	buf_reset(&s->gathered);
	if (s->gathered.cap > PIECE)
		buf_release(&s->gathered);
}

/* ---- snapshots ---- */

bool store_is_due(const struct store *s)
{
	return s->child == 0 && s->log >= 0 &&
	       (s->wanted || (s->log_size >= DUE_MIN && s->log_size >= s->snapshot_size)) &&
	       clock_mono() >= s->not_before;
}

/* Into new.N, which becomes snapshot.N when all of it is on the disk. False with errno. */
static bool write_snapshot(struct store *s, int fd, void (*dump)(struct store *s))
{
	bool good = false;

	fd_close(&s->log);
	s->log = fd;
	s->is_child = true;
	buf_reset(&s->gathered);
	dump(s);
	store_add(s, SLICE_LIT(last_record));
	store_flush(s);
	good = fsync(s->log) == 0;
	fd_close(&s->log);
	s->is_child = false;
	return good;
}

static void use_snapshot(struct store *s, uint64_t number)
{
	char *from = mem_fmt("new.%llu", (unsigned long long)number);
	char *to = mem_fmt("snapshot.%llu", (unsigned long long)number);
	struct found f = {0};
	struct stat st = {0};

	if (renameat(s->dir, from, s->dir, to) == 0) {
		look(s, &f, number);
		mem_free(f.logs);
		if (fstatat(s->dir, to, &st, 0) == 0)
			s->snapshot_size = (uint64_t)st.st_size;
	} else {
		warn(s, "snapshot", number);
	}
	mem_free(from);
	mem_free(to);
}

/* In the child: nothing of the parent's connections may be held open. */
static _Noreturn void be_child(struct store *s, int fd, int pipe, void (*dump)(struct store *s))
{
	char good = 0;

	if (dup2(fd, 0) != 0 || dup2(pipe, 1) != 1)
		_exit(1);
	(void)close_range(3, ~0U, 0);
	s->log = s->dir = -1;
	good = write_snapshot(s, 0, dump) ? 1 : 0;
	(void)!write(1, &good, 1);
	_exit(0);
}

int store_compact(struct store *s, void (*dump)(struct store *s))
{
	int fds[2] = {-1, -1}, fd = -1;
	uint64_t number = s->number + 1;

	store_flush(s);
	begin_log(s, number);
	if (s->number != number || pipe2(fds, O_CLOEXEC) != 0) {
		want_snapshot(s);
		return -1;
	}
	fd = create(s, "new", number);
	s->child = fd >= 0 ? fork() : -1;
	if (s->child == 0)
		be_child(s, fd, fds[1], dump);
	fd_close(&fd);
	fd_close(&fds[1]);
	s->child_fd = fds[0];
	s->child_number = number;
	s->log_size = 0;
	s->wanted = false;
	if (s->child > 0)
		return s->child_fd;
	warn(s, "snapshot", number);
	want_snapshot(s);
	s->child = 0;
	fd_close(&s->child_fd);
	return -1;
}

void store_compacted(struct store *s)
{
	char good = 0;

	if (read(s->child_fd, &good, 1) == 1 && good == 1) {
		use_snapshot(s, s->child_number);
	} else {
		log_warning("store: snapshot %llu failed", (unsigned long long)s->child_number);
		want_snapshot(s);
	}
	fd_close(&s->child_fd);
	(void)waitpid(s->child, NULL, 0);
	s->child = 0;
}
