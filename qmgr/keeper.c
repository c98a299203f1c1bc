/* SPDX-License-Identifier: ISC */
#include "qmgr/keeper.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "priv/priv.h"
#include "qmgr/qmgr.h"
#include "queue/keeper.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/mem.h"
#include "util/wire.h"

/* Output to the keeper is bounded: the store has at most four orders under way. */
#define OUT_LIMIT (5 * (size_t)QUEUE_ORDER_MAX)
#define READ_SIZE 262144

static struct {
	int fd;
	struct loop_watch *watch;
	struct buf out, in;
} keeper = {.fd = -1};

/* ---- The other process. ---- */

static int read_order(int fd, struct buf *order)
{
	char head[4];
	char *room;
	uint32_t len;
	int err = fd_read_full(fd, head, sizeof(head));

	if (err != 0)
		return err;
	len = wire_get_u32(head);
	buf_reset(order);
	if (len > QUEUE_ORDER_MAX || buf_room(order, len, &room) != 0)
		return ERR_CORRUPT;
	err = fd_read_full(fd, room, len);
	buf_added(order, err == 0 ? len : 0);
	return err;
}

_Noreturn static void keep(int fd)
{
	struct queue_keeper *k = queue_keeper_new(&qmgr.root);
	struct buf order = BUF_INIT(QUEUE_ORDER_MAX), reply = BUF_INIT(QUEUE_REPLY_MAX);
	char head[4];

	while (read_order(fd, &order) == 0) {
		buf_reset(&reply);
		if (queue_keeper_run(k, buf_slice(&order), &reply) != 0 || buf_failed(&reply))
			_exit(1);
		wire_put_u32(head, (uint32_t)buf_slice(&reply).len);
		if (fd_write_full(fd, head, sizeof(head)) != 0 ||
			fd_write_full(fd, buf_str(&reply), buf_slice(&reply).len) != 0)
			break;
		if (buf_slice(&reply).len > READ_SIZE)
			buf_clear(&reply);
	}
	_exit(0);
}

/* Everything but what it needs is closed: it must hold no peer's connection open. */
static void close_others(int keep_fd, int root, int lock)
{
	int from = 3;

	while (from <= keep_fd || from <= root || from <= lock) {
		if (from != keep_fd && from != root && from != lock)
			close(from);
		from++;
	}
	closefrom(from);
}

void keeper_start(int lock)
{
	int pair[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		log_fatal("socketpair: %s", err_str(ERR_SYS));
	log_flush();
	pid = fork();
	if (pid < 0)
		log_fatal("fork: %s", err_str(ERR_SYS));
	if (pid == 0) {
		log_set_sink(LOG_SINK_STDERR, -1);
		close_others(pair[1], qmgr.root.fd, lock);
		/* A stop of the service ends qmgr; it then tells the keeper by its end. */
		signal(SIGTERM, SIG_IGN);
		signal(SIGINT, SIG_IGN);
		signal(SIGHUP, SIG_IGN);
		setproctitle("keeper");
		priv_confine(SANDBOX_KEEPER);
		keep(pair[1]);
	}
	close(pair[1]);
	keeper.fd = pair[0];
	fd_set_nonblock(keeper.fd, true);
	buf_init(&keeper.out, OUT_LIMIT);
	buf_init(&keeper.in, (size_t)QUEUE_REPLY_MAX + READ_SIZE);
}

/* ---- qmgr's side. ---- */

_Noreturn static void lost(void)
{
	log_fatal("the keeper has ended; starting anew");
}

static void send_out(void)
{
	while (buf_slice(&keeper.out).len > 0) {
		struct slice s = buf_slice(&keeper.out);
		ssize_t n = send(keeper.fd, s.p, s.len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0)
			lost();
		buf_consume(&keeper.out, (size_t)n);
	}
	loop_watch_set(keeper.watch, LOOP_READ | (buf_slice(&keeper.out).len > 0 ? LOOP_WRITE : 0));
	buf_release(&keeper.out);
}

void keeper_order(void)
{
	static struct buf order = {.limit = QUEUE_ORDER_MAX};
	char head[4];

	if (keeper.watch == NULL)
		return;
	while (buf_slice(&keeper.out).len < OUT_LIMIT / 2 &&
		queue_store_order(qmgr.store, &order)) {
		wire_put_u32(head, (uint32_t)buf_slice(&order).len);
		buf_add(&keeper.out, head, sizeof(head));
		buf_add_slice(&keeper.out, buf_slice(&order));
		if (buf_failed(&keeper.out))
			log_panic("orders to the keeper do not fit");
	}
	send_out();
}

static void take_replies(void)
{
	struct slice in = buf_slice(&keeper.in);
	int err;

	while (in.len >= 4 && in.len - 4 >= wire_get_u32(in.p)) {
		uint32_t len = wire_get_u32(in.p);

		err = queue_store_reply(qmgr.store, slice_of(in.p + 4, len), qmgr_now());
		if (err != 0)
			qmgr_dies("the queue's log", err);
		buf_consume(&keeper.in, (size_t)len + 4);
		in = buf_slice(&keeper.in);
	}
	if (in.len >= 4 && wire_get_u32(in.p) > QUEUE_REPLY_MAX)
		log_panic("the keeper's reply has %u bytes", wire_get_u32(in.p));
	buf_release(&keeper.in);
	/* Only so many are under way: the next ones go now, nobody else calls for them. */
	keeper_order();
	qmgr_work();
}

static void ready(int what, void *arg)
{
	char *room;
	ssize_t n;

	(void)arg;
	if (what & LOOP_WRITE)
		send_out();
	if (!(what & LOOP_READ))
		return;
	if (buf_room(&keeper.in, READ_SIZE, &room) != 0)
		log_panic("the keeper's reply does not fit");
	n = read(keeper.fd, room, READ_SIZE);
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n <= 0)
		lost();
	buf_added(&keeper.in, (size_t)n);
	take_replies();
}

void keeper_attach(void)
{
	keeper.watch = loop_watch_new(keeper.fd, ready, NULL);
	loop_watch_set(keeper.watch, LOOP_READ);
	keeper_order();
}
