/* SPDX-License-Identifier: ISC */
#include "t/queue/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "util/log.h"
#include "util/mem.h"
#include "util/slice.h"

#define BLOCK QUEUE_BLOCK
#define FILES 512
#define OPEN 256
#define PROCS 256
#define OPS 512
#define PATH 96

struct block {
	char *live, *durable, *older; /* older: what live was before the last write */
	bool dirty;
};

struct inode {
	bool used, is_dir;
	struct block *blocks;
	size_t n;
	uint64_t size, durable_size;
	bool size_dirty;
	int64_t mtime;
};

/* A name, by its whole path. Directories are names too. */
struct name {
	char path[PATH];
	int inode; /* -1: none */
};

struct names {
	struct name at[FILES];
	int n;
};

/* A change of one or two names that is not durable yet. */
struct op {
	char path[2][PATH];
	int inode[2];
	int n;
};

struct proc {
	struct queue_io io;
	struct disk *disk;
	bool dead;
};

struct fd {
	bool used, locked;
	int inode;
	struct proc *proc;
	char path[PATH];
};

struct disk {
	struct inode inodes[FILES];
	struct names live, durable;
	struct op ops[OPS];
	int ops_n;
	struct proc *procs[PROCS];
	int procs_n;
	struct fd fds[OPEN];
	uint64_t calls, stop_at, fail_at, fail_seed, space, random;
	bool stop_middle, has_failed, lie_locks, is_copying, hides_space;
	void (*on_stop)(void *arg);
	void *arg;
	char fail_prefix[PATH], lie_prefix[PATH];
	struct {
		char prefix[PATH];
		unsigned skip, n;
		int err;
	} some[2]; /* by enum disk_failure */
};

#define ROOT_FD 0

static uint64_t next_random(uint64_t *state)
{
	uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

/* ---- Names ---- */

static int find(const struct names *names, const char *path)
{
	for (int i = 0; i < names->n; i++) {
		if (strcmp(names->at[i].path, path) == 0)
			return names->at[i].inode;
	}
	return -1;
}

static void set(struct names *names, const char *path, int inode)
{
	int i = 0;

	while (i < names->n && strcmp(names->at[i].path, path) != 0)
		i++;
	if (inode == -1) {
		if (i < names->n)
			names->at[i] = names->at[--names->n];
		return;
	}
	if (i == names->n) {
		if (names->n == FILES)
			log_panic("model disk: too many names");
		names->n++;
	}
	strlcpy(names->at[i].path, path, PATH);
	names->at[i].inode = inode;
}

static bool is_in(const char *path, const char *dir)
{
	size_t len = strlen(dir);

	if (len == 0)
		return strchr(path, '/') == NULL;
	return strncmp(path, dir, len) == 0 && path[len] == '/' &&
	       strchr(path + len + 1, '/') == NULL;
}

static void apply(struct names *names, const struct op *op)
{
	for (int i = 0; i < op->n; i++)
		set(names, op->path[i], op->inode[i]);
}

static void change(struct disk *d, const char *a, int ia, const char *b, int ib)
{
	struct op *op = &d->ops[d->ops_n];

	if (d->ops_n == OPS)
		log_panic("model disk: too many changes");
	d->ops_n++;
	*op = (struct op){.n = b != NULL ? 2 : 1, .inode = {ia, ib}};
	strlcpy(op->path[0], a, PATH);
	if (b != NULL)
		strlcpy(op->path[1], b, PATH);
	apply(&d->live, op);
}

static void sync_names(struct disk *d, const char *dir)
{
	int kept = 0;

	for (int i = 0; i < d->ops_n; i++) {
		const struct op *op = &d->ops[i];

		if (is_in(op->path[0], dir) || (op->n == 2 && is_in(op->path[1], dir)))
			apply(&d->durable, op);
		else
			d->ops[kept++] = *op;
	}
	d->ops_n = kept;
}

static bool parent_exists(const struct disk *d, const char *path)
{
	const char *slash = strrchr(path, '/');
	char dir[PATH];

	if (slash == NULL)
		return true;
	memcpy(dir, path, (size_t)(slash - path));
	dir[slash - path] = '\0';
	return find(&d->live, dir) != -1;
}

/* ---- Inodes ---- */

static void free_inode(struct inode *o)
{
	for (size_t i = 0; i < o->n; i++) {
		mem_free(o->blocks[i].live);
		mem_free(o->blocks[i].durable);
		mem_free(o->blocks[i].older);
	}
	mem_free(o->blocks);
	*o = (struct inode){0};
}

static bool is_named(const struct names *names, int inode)
{
	for (int i = 0; i < names->n; i++) {
		if (names->at[i].inode == inode)
			return true;
	}
	return false;
}

static void collect(struct disk *d)
{
	for (int i = 1; i < FILES; i++) {
		bool used = is_named(&d->live, i) || is_named(&d->durable, i);

		for (int k = 0; k < d->ops_n; k++)
			used = used || d->ops[k].inode[0] == i || d->ops[k].inode[1] == i;
		for (int k = 0; k < OPEN; k++)
			used = used || (d->fds[k].used && d->fds[k].inode == i);
		if (d->inodes[i].used && !used)
			free_inode(&d->inodes[i]);
	}
}

static int new_inode(struct disk *d, bool is_dir)
{
	for (int i = 1; i < 2 * FILES; i++) {
		if (i == FILES)
			collect(d);
		if (i % FILES != 0 && !d->inodes[i % FILES].used) {
			d->inodes[i % FILES] = (struct inode){.used = true, .is_dir = is_dir};
			return i % FILES;
		}
	}
	log_panic("model disk: too many files");
}

/* False: no space. */
static bool grow(struct disk *d, struct inode *o, uint64_t end)
{
	size_t want = (size_t)((end + BLOCK - 1) / BLOCK);

	if (want <= o->n)
		return true;
	if (want - o->n > d->space)
		return false;
	if (d->space != UINT64_MAX)
		d->space -= want - o->n;
	o->blocks = mem_resize(o->blocks, want, sizeof(*o->blocks));
	for (size_t i = o->n; i < want; i++)
		o->blocks[i] = (struct block){mem_alloc(BLOCK), mem_alloc(BLOCK), NULL, false};
	o->n = want;
	return true;
}

static bool has_room_to_copy(
	const struct disk *d, const struct inode *o, uint64_t offset, size_t len)
{
	uint64_t clean = 0;

	for (uint64_t i = offset / BLOCK; i < o->n && i * BLOCK < offset + len; i++)
		clean += !o->blocks[i].dirty;
	return !d->is_copying || clean <= d->space;
}

static void write_bytes(struct inode *o, uint64_t offset, const char *p, size_t len)
{
	while (len > 0) {
		struct block *b = &o->blocks[offset / BLOCK];
		size_t at = (size_t)(offset % BLOCK), part = BLOCK - at < len ? BLOCK - at : len;

		if (b->dirty) {
			mem_free(b->older);
			b->older = mem_dup(b->live, BLOCK);
		}
		memcpy(b->live + at, p, part);
		b->dirty = true;
		offset += part;
		p += part;
		len -= part;
	}
}

static void clean_block(struct block *b)
{
	mem_free(b->older);
	b->older = NULL;
	b->dirty = false;
}

static void sync_inode(struct inode *o)
{
	for (size_t i = 0; i < o->n; i++) {
		if (o->blocks[i].dirty)
			memcpy(o->blocks[i].durable, o->blocks[i].live, BLOCK);
		clean_block(&o->blocks[i]);
	}
	o->durable_size = o->size;
	o->size_dirty = false;
}

/* The write failed, the pages are clean: what the disk has and what memory has differ for good. */
static void fail_inode(struct inode *o, uint64_t *seed)
{
	for (size_t i = 0; i < o->n; i++) {
		if (o->blocks[i].dirty && *seed != 0 &&
			(*seed == UINT64_MAX || next_random(seed) % 2 == 0))
			memcpy(o->blocks[i].durable, o->blocks[i].live, BLOCK);
		clean_block(&o->blocks[i]);
	}
	o->size_dirty = false;
}

/* ---- Processes ---- */

static void close_fd(struct disk *d, int fd)
{
	d->fds[fd] = (struct fd){0};
}

void disk_kill(struct disk *d, const struct queue_io *io)
{
	struct proc *p = io->ctx;

	p->dead = true;
	for (int i = 1; i < OPEN; i++) {
		if (d->fds[i].used && d->fds[i].proc == p)
			close_fd(d, i);
	}
}

bool disk_is_dead(const struct queue_io *io)
{
	return ((const struct proc *)io->ctx)->dead;
}

void disk_keep_open(const struct queue_io *io, int fd, const struct queue_io *other)
{
	struct disk *d = ((struct proc *)io->ctx)->disk;

	d->fds[fd].proc = other->ctx;
}

/* True when the call may be made. */
static bool enter(struct proc *p, bool counts)
{
	struct disk *d = p->disk;

	if (p->dead) {
		errno = EIO;
		return false;
	}
	if (!counts)
		return true;
	d->calls++;
	if (d->stop_at == 0 || d->calls != d->stop_at)
		return true;
	if (d->stop_middle)
		return true;
	disk_kill(d, &p->io);
	if (d->on_stop != NULL)
		d->on_stop(d->arg);
	errno = EIO;
	return false;
}

static bool stops_here(const struct disk *d)
{
	return d->stop_at != 0 && d->calls == d->stop_at && d->stop_middle;
}

static int full_path(const struct proc *p, int dir, const char *path, char out[PATH])
{
	(void)p;
	if (dir != ROOT_FD)
		log_panic("model disk: not below the root");
	strlcpy(out, strcmp(path, ".") == 0 ? "" : path, PATH);
	return 0;
}

static int fail(int err)
{
	errno = err;
	return -1;
}

static bool begins(const char *path, const char *prefix)
{
	return prefix[0] != '\0' && strncmp(path, prefix, strlen(prefix)) == 0;
}

static bool is_one_that_fails(struct disk *d, enum disk_failure what, const char *path)
{
	if (d->some[what].n == 0 || !begins(path, d->some[what].prefix))
		return false;
	if (d->some[what].skip > 0) {
		d->some[what].skip--;
		return false;
	}
	d->some[what].n--;
	errno = d->some[what].err;
	return true;
}

static int m_openat(const struct queue_io *io, int dir, const char *path, int flags, mode_t mode)
{
	struct proc *p = io->ctx;
	struct disk *d = p->disk;
	char full[PATH];
	int inode, fd;

	full_path(p, dir, path, full);
	inode = full[0] == '\0' ? 0 : find(&d->live, full);
	if (!enter(p, (flags & O_TRUNC) || ((flags & O_CREAT) && inode == -1)))
		return -1;
	if (is_one_that_fails(d, DISK_OPENS, full))
		return -1;
	if (inode == -1 && !(flags & O_CREAT))
		return fail(ENOENT);
	if (inode != -1 && (flags & O_CREAT) && (flags & O_EXCL))
		return fail(EEXIST);
	if (inode == -1) {
		if (!parent_exists(d, full))
			return fail(ENOENT);
		if (d->space == 0)
			return fail(ENOSPC);
		inode = new_inode(d, false);
		change(d, full, inode, NULL, -1);
	}
	for (fd = 1; fd < OPEN && d->fds[fd].used; fd++)
		;
	if (fd == OPEN)
		return fail(EMFILE);
	d->fds[fd] = (struct fd){.used = true, .inode = inode, .proc = p};
	strlcpy(d->fds[fd].path, full, PATH);
	if ((flags & O_TRUNC) && inode != 0) {
		d->inodes[inode].size = 0;
		d->inodes[inode].size_dirty = true;
	}
	return fd;
}

static struct fd *get_fd(struct proc *p, int fd)
{
	struct disk *d = p->disk;

	if (fd <= 0 || fd >= OPEN || !d->fds[fd].used)
		return NULL;
	return &d->fds[fd];
}

static int m_close(const struct queue_io *io, int fd)
{
	struct proc *p = io->ctx;

	if (p->dead || get_fd(p, fd) == NULL)
		return fail(EBADF);
	close_fd(p->disk, fd);
	return 0;
}

static ssize_t m_pread(const struct queue_io *io, int fd, void *out, size_t len, uint64_t offset)
{
	struct proc *p = io->ctx;
	struct fd *f = get_fd(p, fd);
	const struct inode *o;
	size_t done = 0;

	if (!enter(p, false))
		return -1;
	if (f == NULL)
		return fail(EBADF);
	if (is_one_that_fails(p->disk, DISK_READS, f->path))
		return -1;
	o = &p->disk->inodes[f->inode];
	if (offset >= o->size)
		return 0;
	if (len > o->size - offset)
		len = (size_t)(o->size - offset);
	while (done < len) {
		size_t at = (size_t)((offset + done) % BLOCK);
		size_t part = BLOCK - at < len - done ? BLOCK - at : len - done;

		memcpy((char *)out + done, o->blocks[(offset + done) / BLOCK].live + at, part);
		done += part;
	}
	return (ssize_t)done;
}

static ssize_t m_pwritev(
	const struct queue_io *io, int fd, const struct iovec *iov, int n, uint64_t offset)
{
	struct proc *p = io->ctx;
	struct disk *d = p->disk;
	struct fd *f = get_fd(p, fd);
	struct inode *o;
	size_t total = 0, limit, done = 0;

	if (!enter(p, true))
		return -1;
	if (f == NULL)
		return fail(EBADF);
	o = &d->inodes[f->inode];
	for (int i = 0; i < n; i++)
		total += iov[i].iov_len;
	if (!has_room_to_copy(d, o, offset, total) || !grow(d, o, offset + total))
		return fail(ENOSPC);
	limit = stops_here(d) ? total / 2 : total;
	for (int i = 0; i < n && done < limit; i++) {
		size_t part = iov[i].iov_len < limit - done ? iov[i].iov_len : limit - done;

		write_bytes(o, offset + done, iov[i].iov_base, part);
		done += part;
	}
	if (offset + done > o->size) {
		o->size = offset + done;
		o->size_dirty = true;
	}
	if (stops_here(d)) {
		disk_kill(d, io);
		if (d->on_stop != NULL)
			d->on_stop(d->arg);
		return fail(EIO);
	}
	return (ssize_t)total;
}

static int m_sync(const struct queue_io *io, int fd)
{
	struct proc *p = io->ctx;
	struct disk *d = p->disk;
	struct fd *f = fd == ROOT_FD ? &d->fds[ROOT_FD] : get_fd(p, fd);

	if (!enter(p, true))
		return -1;
	if (f == NULL)
		return fail(EBADF);
	if (begins(f->path, d->lie_prefix))
		return 0;
	if ((d->fail_at != 0 && d->calls == d->fail_at) || begins(f->path, d->fail_prefix)) {
		d->fail_prefix[0] = '\0';
		d->has_failed = true;
		if (f->inode != 0 && !d->inodes[f->inode].is_dir)
			fail_inode(&d->inodes[f->inode], &d->fail_seed);
		return fail(EIO);
	}
	if (f->inode == 0 || d->inodes[f->inode].is_dir)
		sync_names(d, f->path);
	else
		sync_inode(&d->inodes[f->inode]);
	return 0;
}

static int m_syncfs(const struct queue_io *io, int fd)
{
	struct proc *p = io->ctx;
	struct disk *d = p->disk;
	bool fails;

	if (!enter(p, true))
		return -1;
	if (get_fd(p, fd) == NULL && fd != ROOT_FD)
		return fail(EBADF);
	if (d->lie_prefix[0] != '\0')
		return fail(ENOSYS);
	fails = d->fail_at != 0 && d->calls == d->fail_at;
	for (size_t i = 0; i < FILES; i++) {
		if (!d->inodes[i].used || d->inodes[i].is_dir)
			continue;
		if (fails)
			fail_inode(&d->inodes[i], &d->fail_seed);
		else
			sync_inode(&d->inodes[i]);
	}
	if (fails) {
		d->has_failed = true;
		return fail(EIO);
	}
	for (int i = 0; i < d->ops_n; i++)
		apply(&d->durable, &d->ops[i]);
	d->ops_n = 0;
	return 0;
}

static int m_fallocate(const struct queue_io *io, int fd, uint64_t offset, uint64_t len)
{
	struct proc *p = io->ctx;
	struct fd *f = get_fd(p, fd);
	struct inode *o;

	if (!enter(p, true))
		return -1;
	if (f == NULL)
		return fail(EBADF);
	o = &p->disk->inodes[f->inode];
	if (!grow(p->disk, o, offset + len))
		return fail(ENOSPC);
	if (offset + len > o->size) {
		o->size = offset + len;
		o->size_dirty = true;
	}
	return 0;
}

static int m_ftruncate(const struct queue_io *io, int fd, uint64_t size)
{
	static const char zeros[BLOCK];
	struct proc *p = io->ctx;
	struct fd *f = get_fd(p, fd);
	struct inode *o;

	if (!enter(p, true))
		return -1;
	if (f == NULL)
		return fail(EBADF);
	o = &p->disk->inodes[f->inode];
	if (!grow(p->disk, o, size))
		return fail(ENOSPC);
	/* What is cut off is zero when the file grows over it again. */
	for (uint64_t at = size; at < o->size; at += BLOCK - at % BLOCK)
		write_bytes(o, at, zeros, (size_t)(BLOCK - at % BLOCK));
	o->size_dirty = o->size_dirty || o->size != size;
	o->size = size;
	return 0;
}

static int m_writeback(const struct queue_io *io, int fd, uint64_t offset, uint64_t len)
{
	return 0;
}

static int m_renameat(
	const struct queue_io *io, int dir, const char *from, int to_dir, const char *to)
{
	struct proc *p = io->ctx;
	struct disk *d = p->disk;
	char a[PATH], b[PATH];
	int inode;

	full_path(p, dir, from, a);
	full_path(p, to_dir, to, b);
	if (!enter(p, true))
		return -1;
	inode = find(&d->live, a);
	if (inode == -1 || !parent_exists(d, b))
		return fail(ENOENT);
	change(d, a, -1, b, inode);
	return 0;
}

static int m_unlinkat(const struct queue_io *io, int dir, const char *path)
{
	struct proc *p = io->ctx;
	struct disk *d = p->disk;
	char full[PATH];

	full_path(p, dir, path, full);
	if (find(&d->live, full) == -1)
		return p->dead ? fail(EIO) : fail(ENOENT);
	if (!enter(p, true))
		return -1;
	change(d, full, -1, NULL, -1);
	return 0;
}

static int m_mkdirat(const struct queue_io *io, int dir, const char *path, mode_t mode)
{
	struct proc *p = io->ctx;
	struct disk *d = p->disk;
	char full[PATH];

	full_path(p, dir, path, full);
	if (find(&d->live, full) != -1)
		return p->dead ? fail(EIO) : fail(EEXIST);
	if (!enter(p, true))
		return -1;
	if (!parent_exists(d, full))
		return fail(ENOENT);
	change(d, full, new_inode(d, true), NULL, -1);
	return 0;
}

static void fill(const struct inode *o, struct queue_stat *st)
{
	*st = (struct queue_stat){
		.size = o->size, .mtime = o->mtime, .is_regular = !o->is_dir, .is_dir = o->is_dir};
}

static int m_statat(const struct queue_io *io, int dir, const char *path, struct queue_stat *st)
{
	struct proc *p = io->ctx;
	char full[PATH];
	int inode;

	full_path(p, dir, path, full);
	if (!enter(p, false))
		return -1;
	inode = find(&p->disk->live, full);
	if (inode == -1)
		return fail(ENOENT);
	fill(&p->disk->inodes[inode], st);
	return 0;
}

static int m_fstat(const struct queue_io *io, int fd, struct queue_stat *st)
{
	struct proc *p = io->ctx;
	struct fd *f = get_fd(p, fd);

	if (!enter(p, false))
		return -1;
	if (f == NULL)
		return fail(EBADF);
	fill(&p->disk->inodes[f->inode], st);
	return 0;
}

static int m_set_mtime(const struct queue_io *io, int fd, int64_t real)
{
	struct proc *p = io->ctx;
	struct fd *f = get_fd(p, fd);

	if (!enter(p, false) || f == NULL)
		return -1;
	p->disk->inodes[f->inode].mtime = real;
	return 0;
}

static int m_list(const struct queue_io *io, int dir, const char *path,
	bool (*visit)(const char *name, void *arg), void *arg)
{
	struct proc *p = io->ctx;
	char full[PATH], found[FILES][PATH];
	int n = 0;

	full_path(p, dir, path, full);
	if (!enter(p, false))
		return -1;
	if (full[0] != '\0' && find(&p->disk->live, full) == -1)
		return fail(ENOENT);
	for (int i = 0; i < p->disk->live.n; i++) {
		if (is_in(p->disk->live.at[i].path, full))
			strlcpy(found[n++], p->disk->live.at[i].path, PATH);
	}
	for (int i = 0; i < n; i++) {
		const char *slash = strrchr(found[i], '/');

		if (!visit(slash != NULL ? slash + 1 : found[i], arg))
			break;
	}
	return 0;
}

static int m_lock(const struct queue_io *io, int fd, bool wait)
{
	struct proc *p = io->ctx;
	struct disk *d = p->disk;
	struct fd *f = get_fd(p, fd);

	if (!enter(p, false))
		return -1;
	if (f == NULL)
		return fail(EBADF);
	for (int i = 1; i < OPEN && !d->lie_locks; i++) {
		if (d->fds[i].used && d->fds[i].locked && &d->fds[i] != f &&
			d->fds[i].inode == f->inode)
			return fail(EWOULDBLOCK);
	}
	f->locked = true;
	return 0;
}

static int m_unlock(const struct queue_io *io, int fd)
{
	struct proc *p = io->ctx;
	struct fd *f = get_fd(p, fd);

	if (!enter(p, false) || f == NULL)
		return -1;
	f->locked = false;
	return 0;
}

static int m_space(const struct queue_io *io, int fd, struct queue_space *space)
{
	struct proc *p = io->ctx;

	if (!enter(p, false))
		return -1;
	*space = (struct queue_space){UINT64_MAX, UINT64_MAX};
	if (p->disk->space == UINT64_MAX || p->disk->hides_space)
		return 0;
	space->free_bytes = p->disk->space * BLOCK;
	space->free_files = p->disk->space;
	return 0;
}

static void m_random(const struct queue_io *io, void *out, size_t len)
{
	struct proc *p = io->ctx;
	unsigned char *to = out;

	for (size_t i = 0; i < len; i++)
		to[i] = (unsigned char)next_random(&p->disk->random);
}

/* ---- The disk as a whole ---- */

struct disk *disk_new(void)
{
	struct disk *d = mem_alloc(sizeof(*d));

	d->space = UINT64_MAX;
	d->inodes[0] = (struct inode){.used = true, .is_dir = true};
	d->fds[ROOT_FD] = (struct fd){.used = true};
	d->random = 1;
	return d;
}

void disk_free(struct disk **dp)
{
	struct disk *d = *dp;

	if (d == NULL)
		return;
	for (int i = 0; i < FILES; i++)
		free_inode(&d->inodes[i]);
	for (int i = 0; i < d->procs_n; i++)
		mem_free(d->procs[i]);
	mem_free(d);
	*dp = NULL;
}

const struct queue_io *disk_process(struct disk *d)
{
	struct proc *p = mem_alloc(sizeof(*p));

	if (d->procs_n == PROCS)
		log_panic("model disk: too many processes");
	p->disk = d;
	p->io = (struct queue_io){p, m_openat, m_close, m_pread, m_pread, m_pwritev, m_sync, m_sync,
		m_syncfs, m_fallocate, m_ftruncate, m_writeback, m_renameat, m_unlinkat, m_mkdirat,
		m_statat, m_fstat, m_set_mtime, m_list, m_lock, m_unlock, m_space, m_random};
	d->procs[d->procs_n++] = p;
	return &p->io;
}

struct queue_root disk_root(const struct queue_io *io)
{
	return (struct queue_root){.io = io, .fd = ROOT_FD};
}

uint64_t disk_calls(const struct disk *d)
{
	return d->calls;
}

void disk_stop_at(
	struct disk *d, uint64_t call, bool in_middle, void (*on_stop)(void *arg), void *arg)
{
	d->stop_at = call;
	d->stop_middle = in_middle;
	d->on_stop = on_stop;
	d->arg = arg;
}

void disk_fail_sync_at(struct disk *d, uint64_t call, uint64_t seed)
{
	d->fail_at = call;
	d->fail_seed = seed;
}

bool disk_has_failed(const struct disk *d)
{
	return d->has_failed;
}

void disk_fail_next_sync(struct disk *d, const char *prefix, uint64_t seed)
{
	strlcpy(d->fail_prefix, prefix, PATH);
	d->fail_seed = seed;
}

void disk_fail_some(struct disk *d, enum disk_failure what, const char *prefix, unsigned skip,
	unsigned n, int err)
{
	strlcpy(d->some[what].prefix, prefix, PATH);
	d->some[what].skip = skip;
	d->some[what].n = n;
	d->some[what].err = err;
}

void disk_set_copying(struct disk *d, bool hides)
{
	d->is_copying = true;
	d->hides_space = hides;
}

bool disk_has_limit(const struct disk *d)
{
	return d->space != UINT64_MAX;
}

void disk_set_space(struct disk *d, uint64_t blocks)
{
	d->space = blocks;
}

void disk_lie_about_syncs(struct disk *d, const char *prefix)
{
	strlcpy(d->lie_prefix, prefix, PATH);
}

void disk_lie_about_locks(struct disk *d)
{
	d->lie_locks = true;
}

unsigned disk_unsynced(const struct disk *d)
{
	unsigned n = (unsigned)d->ops_n;

	for (int i = 1; i < FILES; i++) {
		n += d->inodes[i].used && d->inodes[i].size_dirty;
		for (size_t k = 0; k < d->inodes[i].n; k++)
			n += d->inodes[i].blocks[k].dirty;
	}
	return n;
}

/* What becomes of the at-th unsynced thing: 0 lost, 1 kept, 2 torn, 3 an older version. */
static int choose(enum disk_choice choice, uint64_t *seed, uint64_t pick, unsigned at)
{
	switch (choice) {
	case DISK_FORGET_ALL: return 0;
	case DISK_KEEP_ALL: return 1;
	case DISK_ONE_KEPT: return at == pick;
	case DISK_ONE_LOST: return at != pick;
	default: return (int)(next_random(seed) % 4);
	}
}

static void settle_block(struct block *b, int what, uint64_t *seed)
{
	size_t part = 512 * (1 + next_random(seed) % 7);

	if (what == 1)
		memcpy(b->durable, b->live, BLOCK);
	else if (what == 2 && next_random(seed) % 3 == 0 && memcmp(b->live, b->durable, BLOCK) != 0)
		memset(b->durable, 0xa5, BLOCK); /* cut in the middle of a write: unreadable */
	else if (what == 2 && next_random(seed) % 2 == 0)
		memcpy(b->durable, b->live, part);
	else if (what == 2)
		memcpy(b->durable + part, b->live + part, BLOCK - part);
	else if (what == 3 && b->older != NULL)
		memcpy(b->durable, b->older, BLOCK);
	clean_block(b);
}

void disk_power_cut(struct disk *d, enum disk_choice choice, uint64_t seed)
{
	unsigned total = disk_unsynced(d), at = 0;
	uint64_t pick = total > 0 ? seed % total : 0;

	for (int i = 0; i < d->procs_n; i++)
		disk_kill(d, &d->procs[i]->io);
	for (int i = 0; i < d->ops_n; i++) {
		if (choose(choice, &seed, pick, at++) != 0)
			apply(&d->durable, &d->ops[i]);
	}
	d->ops_n = 0;
	d->live = d->durable;
	for (int i = 1; i < FILES; i++) {
		struct inode *o = &d->inodes[i];

		if (!o->used)
			continue;
		for (size_t k = 0; k < o->n; k++) {
			if (o->blocks[k].dirty)
				settle_block(
					&o->blocks[k], choose(choice, &seed, pick, at++), &seed);
			memcpy(o->blocks[k].live, o->blocks[k].durable, BLOCK);
		}
		if (o->size_dirty && choose(choice, &seed, pick, at++) != 0)
			o->durable_size = o->size;
		o->size = o->durable_size;
		o->size_dirty = false;
	}
	d->stop_at = d->fail_at = 0;
	d->fail_prefix[0] = '\0';
}

struct disk *disk_durable_copy(const struct disk *d)
{
	struct disk *copy = mem_dup(d, sizeof(*d));

	copy->procs_n = 0;
	copy->stop_at = copy->fail_at = 0;
	memset(copy->fds, 0, sizeof(copy->fds));
	copy->fds[ROOT_FD] = (struct fd){.used = true};
	for (int i = 1; i < FILES; i++) {
		struct inode *o = &copy->inodes[i];

		o->blocks = o->n > 0 ? mem_dup(o->blocks, o->n * sizeof(*o->blocks)) : NULL;
		for (size_t k = 0; k < o->n; k++) {
			o->blocks[k].live = mem_dup(o->blocks[k].live, BLOCK);
			o->blocks[k].durable = mem_dup(o->blocks[k].durable, BLOCK);
			o->blocks[k].older = NULL;
		}
	}
	disk_power_cut(copy, DISK_FORGET_ALL, 0);
	return copy;
}

bool disk_damage(struct disk *d, const char *path, uint64_t offset)
{
	int inode = find(&d->live, path);
	struct inode *o;

	if (inode == -1 || offset >= d->inodes[inode].size)
		return false;
	o = &d->inodes[inode];
	o->blocks[offset / BLOCK].live[offset % BLOCK] ^= 1;
	o->blocks[offset / BLOCK].durable[offset % BLOCK] ^= 1;
	return true;
}

int disk_count(const struct disk *d, const char *prefix)
{
	int n = 0;

	for (int i = 0; i < d->live.n; i++)
		n += begins(d->live.at[i].path, prefix) && !d->inodes[d->live.at[i].inode].is_dir;
	return n;
}

int disk_count_suffix(const struct disk *d, const char *suffix)
{
	int n = 0;

	for (int i = 0; i < d->live.n; i++)
		n += slice_ends(slice_str(d->live.at[i].path), suffix);
	return n;
}
