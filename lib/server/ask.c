/* SPDX-License-Identifier: ISC */
#include "server/server_priv.h"

#include <errno.h>
#include <unistd.h>

#include "util/err.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/mem.h"

/* A TABLE_OPEN or CONNECT that waits for master's answer. */
struct asked {
	uint64_t id;
	void (*done)(int err, int fd, void *arg);
	void *arg;
};

void server_answered(struct ipc_msg *m)
{
	struct asked *a = m->arg;
	int code = (int)ipc_u64(m, FIELD_CODE);
	int fd = ipc_take_fd(m);

	if (a == NULL) {
		fd_close(&fd);
		return;
	}
	errno = code;
	if (a->done != NULL)
		a->done(fd >= 0 ? 0 : ERR_SYS, fd, a->arg);
	else
		fd_close(&fd);
	mem_free(a);
}

static uint64_t ask_master(
	enum proto_msg type, const char *name, void (*done)(int err, int fd, void *arg), void *arg)
{
	struct asked *a = mem_alloc(sizeof(*a));
	uint64_t id = ipc_ask(server_self.control);

	*a = (struct asked){id, done, arg};
	ipc_begin(server_self.control, type, id);
	ipc_put_str(server_self.control, FIELD_NAME, name);
	if (ipc_end(server_self.control) != 0)
		log_fatal("master cannot be asked for %s", name);
	ipc_set_arg(server_self.control, id, true, a);
	return id;
}

uint64_t server_connect(const char *name, void (*done)(int err, int fd, void *arg), void *arg)
{
	return ask_master(PROTO_CONNECT, name, done, arg);
}

static bool cancel_one(uint64_t id, void *request, void *arg)
{
	struct asked *a = request;

	if (id != *(const uint64_t *)arg)
		return true;
	if (a != NULL)
		a->done = NULL;
	return false;
}

void server_connect_cancel(uint64_t handle)
{
	if (server_self.control != NULL)
		ipc_walk(server_self.control, true, cancel_one, &handle);
}

struct opened {
	int err, fd, saved;
	bool done;
};

static void table_opened(int err, int fd, void *arg)
{
	struct opened *o = arg;

	*o = (struct opened){err, fd, errno, true};
}

/* Tables are opened while the program starts, so this may wait. */
int server_open_table(const char *spec, int *fd)
{
	struct opened o = {.fd = -1};

	*fd = -1;
	if (server_self.started || server_self.control == NULL)
		return ERR_DENIED;
	ask_master(PROTO_TABLE_OPEN, spec, table_opened, &o);
	while (!o.done)
		if (ipc_pump(server_self.control, CLOCK_NEVER) != 0)
			_exit(1);
	errno = o.saved;
	*fd = o.fd;
	if (o.err == 0)
		return 0;
	return errno == ENOENT ? ERR_NOT_FOUND : errno == EACCES ? ERR_DENIED : ERR_SYS;
}

int server_open_file(const char *name, int *fd)
{
	return server_open_table(name, fd);
}
