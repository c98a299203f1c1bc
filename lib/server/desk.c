/* SPDX-License-Identifier: ISC */
#include "server/desk.h"

#include <unistd.h>

#include "net/addr.h"
#include "net/loop.h"
#include "util/fd.h"
#include "util/mem.h"

static const struct desk_spec *spec;
static int listener = -1;
static struct loop_watch *watch;
static bool is_open;
static TAILQ_HEAD(, desk_client) clients = TAILQ_HEAD_INITIALIZER(clients);

static void on_msg(struct ipc *ipc, struct ipc_msg *msg, void *arg)
{
	(void)ipc;
	spec->msg(arg, msg);
}

static void on_end(struct ipc *ipc, int err, void *arg)
{
	struct desk_client *c = arg;

	(void)ipc;
	(void)err;
	spec->gone(c);
	TAILQ_REMOVE(&clients, c, next);
	ipc_free(&c->ipc);
	mem_free(c);
}

static void on_room(struct ipc *ipc, void *arg)
{
	(void)ipc;
	spec->room(arg);
}

static const struct ipc_events events = {on_msg, on_end, on_room};

static bool is_operator(uid_t uid)
{
	return uid == 0 || uid == geteuid();
}

static bool has_place(uid_t uid)
{
	const struct desk_client *c;
	size_t all = 0, others = 0, own = 0;

	TAILQ_FOREACH(c, &clients, next)
	{
		all++;
		others += !is_operator(c->uid);
		own += c->uid == uid;
	}
	if (is_operator(uid))
		return all < DESK_CLIENTS;
	return others < DESK_CLIENTS - DESK_KEPT && own < DESK_EACH;
}

static void admit(int fd)
{
	struct desk_client *c;
	uid_t uid = 0;

	if (net_peer_uid(fd, &uid) != 0 || !has_place(uid)) {
		fd_close(&fd);
		return;
	}
	c = mem_alloc(spec->size);
	c->uid = uid;
	c->ipc = ipc_new(fd, spec->role, ROLE_TOOL, &events, c, 0);
	TAILQ_INSERT_TAIL(&clients, c, next);
}

static void ready(int what, void *arg)
{
	struct net_addr peer;
	int fd = -1;

	(void)what;
	(void)arg;
	while (net_accept(listener, &fd, &peer) == 0)
		admit(fd);
}

static void watch_listener(void)
{
	if (!is_open || listener < 0)
		return;
	watch = loop_watch_new(listener, ready, NULL);
	loop_watch_set(watch, LOOP_READ);
}

void desk_listener(const struct desk_spec *s, int fd, bool is_unix)
{
	if (!is_unix) {
		fd_close(&fd);
		return;
	}
	spec = s;
	loop_watch_free(&watch);
	fd_close(&listener);
	listener = fd;
	(void)fd_set_nonblock(listener, true);
	watch_listener();
}

void desk_open(void)
{
	is_open = true;
	watch_listener();
}

void desk_close(void)
{
	is_open = false;
	loop_watch_free(&watch);
}

bool desk_is_operator(const struct desk_client *c)
{
	return is_operator(c->uid);
}
