/* SPDX-License-Identifier: ISC */
#include "queue/kept.h"

#include <errno.h>
#include <fcntl.h>

#include "util/err.h"
#include "util/hash.h"
#include "util/wire.h"

#define MAGIC 0x314b5047u /* "GPK1" */
#define HEAD 16
#define NAME "log/kept"
#define NEW_NAME "log/kept.new"

static int read_file(const struct queue_io *io, int fd, struct buf *out)
{
	char head[HEAD], *room;
	uint64_t len;
	int err = queue_read_full(io, fd, head, sizeof(head), 0, false);

	if (err != 0)
		return err;
	len = wire_get_u64(head + 8);
	if (wire_get_u32(head) != MAGIC || len > QUEUE_KEPT_MAX)
		return ERR_CORRUPT;
	err = buf_room(out, (size_t)len, &room);
	if (err == 0)
		err = queue_read_full(io, fd, room, (size_t)len, HEAD, false);
	if (err == 0 && crc32c(0, room, (size_t)len) != wire_get_u32(head + 4))
		err = ERR_CORRUPT;
	buf_added(out, err == 0 ? (size_t)len : 0);
	return err;
}

int queue_kept_read(const struct queue_root *root, struct buf *out)
{
	int fd = root->io->openat(root->io, root->fd, NAME, O_RDONLY, 0), err;

	if (fd == -1)
		return errno == ENOENT ? ERR_NOT_FOUND : ERR_SYS;
	err = read_file(root->io, fd, out);
	queue_close(root->io, &fd);
	return err == ERR_SHORT ? ERR_CORRUPT : err;
}

int queue_kept_write(const struct queue_root *root, struct slice bytes)
{
	const struct queue_io *io = root->io;
	char head[HEAD];
	struct iovec iov[] = {{head, sizeof(head)}, {(void *)(uintptr_t)bytes.p, bytes.len}};
	int fd, err;

	if (bytes.len > QUEUE_KEPT_MAX)
		return ERR_LIMIT;
	wire_put_u32(head, MAGIC);
	wire_put_u32(head + 4, crc32c(0, bytes.p, bytes.len));
	wire_put_u64(head + 8, bytes.len);
	fd = io->openat(io, root->fd, NEW_NAME, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (fd == -1)
		return queue_errno();
	err = queue_write_full(io, fd, iov, 2, 0);
	if (err == 0 && io->fsync(io, fd) != 0)
		err = queue_errno();
	queue_close(io, &fd);
	if (err == 0 && io->renameat(io, root->fd, NEW_NAME, root->fd, NAME) != 0)
		err = queue_errno();
	if (err == 0)
		err = queue_sync_dir(root, "log");
	else
		(void)io->unlinkat(io, root->fd, NEW_NAME);
	return err;
}
