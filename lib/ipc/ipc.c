/* SPDX-License-Identifier: ISC */
#include "ipc/ipc_priv.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <sys/socket.h>

#include "util/err.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/mem.h"
#include "util/wire.h"

enum { SCRATCH = 262144, FD_LIMIT = 1024, OUT_LIMIT = 4 << 20, FLAG_FD = 1 };

/* What comes is read here first; what is not a whole frame yet moves to the connection's buffer. */
static char scratch[SCRATCH];
static bool scratch_busy;

/* Ends the connection for both sides of the code; the owner frees it. */
static void end(struct ipc *c, int err)
{
	if (c->ended)
		return;
	c->ended = true;
	loop_watch_set(c->watch, 0);
	c->events->on_end(c, err, c->arg);
}

static void destroy(struct ipc *c);

static void enter(struct ipc *c)
{
	c->busy++;
}

/* False when the connection was freed meanwhile: then it is gone now. */
static bool leave(struct ipc *c)
{
	if (--c->busy > 0 || !c->freed)
		return !c->freed;
	destroy(c);
	return false;
}

static void update_watch(struct ipc *c)
{
	if (!c->ended)
		loop_watch_set(
			c->watch, (c->reading ? LOOP_READ : 0) | (c->blocked ? LOOP_WRITE : 0));
}

/* Input. */

static int handle(struct ipc *c, struct ipc_msg *m)
{
	const struct proto_row *row = proto_row(m->type);
	struct buf why = BUF_INIT(256);
	bool drop = false;
	int err;

	if (row == NULL || !(row->from & (1u << c->peer)) || !(row->to & (1u << c->self)))
		return ipc_refuse(c, m, "it is not for this pair of processes");
	err = proto_check(m->type, m->body, &why);
	if (err != 0) {
		ipc_refuse(c, m, buf_str(&why));
		buf_clear(&why);
		return err;
	}
	err = ipc_admit(c, m, row, &drop);
	if (err == 0 && !drop)
		c->events->on_msg(c, m, c->arg);
	return err;
}

static int take_arrived(struct ipc *c)
{
	int fd;

	if (c->arrived_n == 0)
		return -1;
	fd = c->arrived[0];
	c->arrived_n--;
	memmove(c->arrived, c->arrived + 1, c->arrived_n * sizeof(int));
	return fd;
}

/* One frame off the front of in. ERR_SHORT: not whole yet. */
static int next_frame(struct ipc *c, struct slice *in)
{
	struct ipc_msg m = {.fd = -1};
	unsigned flags;
	size_t len;
	int err;

	if (in->len < IPC_HEAD)
		return ERR_SHORT;
	len = wire_get_u32(in->p);
	m.type = wire_get_u16(in->p + 4);
	flags = wire_get_u16(in->p + 6);
	m.id = wire_get_u64(in->p + 8);
	if (len > IPC_FRAME_LIMIT - IPC_HEAD)
		return ipc_refuse(c, &m, "it is too long");
	if ((flags & ~(unsigned)FLAG_FD) != 0)
		return ipc_refuse(c, &m, "it has unknown flags");
	if (in->len - IPC_HEAD < len)
		return ERR_SHORT;
	m.body = slice_first(slice_from(*in, IPC_HEAD), len);
	*in = slice_from(*in, IPC_HEAD + len);
	if (flags & FLAG_FD) {
		m.fd = take_arrived(c);
		if (m.fd < 0)
			return ipc_refuse(c, &m, "its descriptor is missing");
	}
	err = handle(c, &m);
	fd_close(&m.fd);
	return err;
}

/* Handles the whole frames in the slice; false when the connection is gone or ended. */
static bool handle_frames(struct ipc *c, struct slice *in)
{
	int err = 0;

	enter(c);
	while (c->reading && !c->ended && err == 0)
		err = next_frame(c, in);
	if (!leave(c))
		return false;
	if (err != 0 && err != ERR_SHORT)
		end(c, err);
	else if (!c->ended)
		return true;
	return false;
}

static void wipe(struct ipc *c, struct slice done)
{
	if (c->secret && done.len > 0)
		explicit_bzero((void *)(uintptr_t)done.p, done.len);
}

static void handle_kept(struct ipc *c)
{
	struct slice in = buf_slice(&c->in);
	size_t before = in.len;

	if (!handle_frames(c, &in))
		return;
	wipe(c, slice_first(buf_slice(&c->in), before - in.len));
	buf_consume(&c->in, before - in.len);
	buf_release(&c->in);
}

static void handle_fresh(struct ipc *c, size_t n)
{
	struct slice in = slice_of(scratch, n);
	bool alive, secret = c->secret;

	if (c->in.len > 0) {
		if (buf_add_slice(&c->in, in) != 0)
			log_panic("ipc: input over its limit");
		wipe(c, in);
		handle_kept(c);
		return;
	}
	scratch_busy = true;
	alive = handle_frames(c, &in);
	scratch_busy = false;
	if (alive && in.len > 0 && buf_add_slice(&c->in, in) != 0)
		log_panic("ipc: input over its limit");
	if (secret)
		explicit_bzero(scratch, n);
}

static void keep_fds(struct ipc *c, struct msghdr *msg)
{
	for (struct cmsghdr *cm = CMSG_FIRSTHDR(msg); cm != NULL; cm = CMSG_NXTHDR(msg, cm)) {
		size_t n;

		if (cm->cmsg_level != SOL_SOCKET || cm->cmsg_type != SCM_RIGHTS)
			continue;
		n = (cm->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(cm) + i * sizeof(int), sizeof(int));
			if (c->arrived_n == FD_LIMIT) {
				fd_close(&fd);
				continue;
			}
			if (c->arrived_n == c->arrived_cap) {
				c->arrived_cap = c->arrived_cap ? c->arrived_cap * 2 : 4;
				c->arrived = mem_resize(c->arrived, c->arrived_cap, sizeof(int));
			}
			c->arrived[c->arrived_n++] = fd;
		}
	}
}

static void receive(struct ipc *c)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(8 * sizeof(int))];
	} control;
	size_t room = c->in.limit - c->in.len;
	struct iovec iov = {scratch, room < sizeof(scratch) ? room : sizeof(scratch)};
	struct msghdr msg = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.space,
		.msg_controllen = sizeof(control.space)};
	ssize_t n;

	if (scratch_busy)
		log_panic("ipc: read inside a handler");
	n = recvmsg(c->fd, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	if (n > 0) {
		keep_fds(c, &msg);
		handle_fresh(c, (size_t)n);
	} else if (n == 0)
		end(c, ERR_CLOSED);
	else if (errno != EAGAIN && errno != EINTR)
		end(c, errno == ECONNRESET ? ERR_CLOSED : ERR_SYS);
}

/* Output. */

static ssize_t send_part(struct ipc *c)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int))];
	} control = {.space = {0}};
	struct slice out = buf_slice(&c->out);
	size_t next = c->leaving_n > 0 ? 0 : SIZE_MAX;
	struct iovec iov;
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	if (c->leaving_n > 0 && c->leaving[0].at == c->sent) {
		struct cmsghdr *cm;

		msg.msg_control = control.space;
		msg.msg_controllen = sizeof(control.space);
		cm = CMSG_FIRSTHDR(&msg);
		cm->cmsg_level = SOL_SOCKET;
		cm->cmsg_type = SCM_RIGHTS;
		cm->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(cm), &c->leaving[0].fd, sizeof(int));
		next = 1;
	}
	if (next < c->leaving_n)
		out = slice_first(out, (size_t)(c->leaving[next].at - c->sent));
	iov = (struct iovec){(void *)(uintptr_t)out.p, out.len};
	return sendmsg(c->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void sent_part(struct ipc *c, size_t n)
{
	if (c->leaving_n > 0 && c->leaving[0].at == c->sent) {
		fd_close(&c->leaving[0].fd);
		c->leaving_n--;
		memmove(c->leaving, c->leaving + 1, c->leaving_n * sizeof(c->leaving[0]));
	}
	c->sent += n;
	wipe(c, slice_first(buf_slice(&c->out), n));
	buf_consume(&c->out, n);
}

int ipc_flush(struct ipc *c)
{
	if (c->ended)
		return ERR_CLOSED;
	while (c->out.len > 0) {
		ssize_t n = send_part(c);

		if (n < 0) {
			if (errno == EINTR)
				continue;
			if (errno != EAGAIN) {
				/* The reading side learns it in order, behind the last input. */
				buf_clear(&c->out);
				return ERR_SYS;
			}
			c->blocked = true;
			update_watch(c);
			return ERR_AGAIN;
		}
		sent_part(c, (size_t)n);
	}
	buf_release(&c->out);
	if (c->blocked) {
		c->blocked = false;
		update_watch(c);
	}
	return 0;
}

static void run_flush(void *arg)
{
	struct ipc *c = arg;

	ipc_flush(c);
	if (c->overrun) {
		log_warning("%s: %s does not read what it is sent", role_name(c->self),
			role_name(c->peer));
		end(c, ERR_LIMIT);
		return;
	}
	if (c->over && !c->ended && c->out.len < c->out_limit / 2) {
		c->over = false;
		if (c->events->on_room != NULL)
			c->events->on_room(c, c->arg);
	}
}

static void run_again(void *arg)
{
	struct ipc *c = arg;

	if (c->reading && !c->ended)
		handle_kept(c);
}

static void ready(int what, void *arg)
{
	struct ipc *c = arg;

	if (what & LOOP_WRITE) {
		enter(c);
		run_flush(c);
		if (!leave(c))
			return;
	}
	if ((what & LOOP_READ) && c->reading && !c->ended)
		receive(c);
}

/* Life. */

struct ipc *ipc_new(int fd, enum role self, enum role peer, const struct ipc_events *events,
	void *arg, size_t out_limit)
{
	struct ipc *c = mem_alloc(sizeof(*c));

	c->fd = fd;
	c->self = self;
	c->peer = peer;
	c->events = events;
	c->arg = arg;
	c->out_limit = out_limit != 0 ? out_limit : OUT_LIMIT;
	buf_init(&c->in, SCRATCH + IPC_FRAME_LIMIT);
	buf_init(&c->out, c->out_limit + 2 * IPC_FRAME_LIMIT);
	c->mine = dict_new(IPC_REQUEST_LIMIT, mem_free);
	c->theirs = dict_new(IPC_REQUEST_LIMIT, mem_free);
	fd_set_nonblock(fd, true);
	c->watch = loop_watch_new(fd, ready, c);
	loop_task_init(&c->flush, run_flush, c);
	loop_task_init(&c->again, run_again, c);
	c->reading = true;
	update_watch(c);
	return c;
}

void ipc_free(struct ipc **cp)
{
	struct ipc *c = *cp;

	if (c == NULL)
		return;
	*cp = NULL;
	ipc_flush(c);
	c->freed = c->ended = true;
	loop_watch_set(c->watch, 0);
	if (c->busy == 0)
		destroy(c);
}

static void destroy(struct ipc *c)
{
	loop_task_cancel(&c->flush);
	loop_task_cancel(&c->again);
	loop_watch_free(&c->watch);
	while (c->leaving_n > 0)
		fd_close(&c->leaving[--c->leaving_n].fd);
	while (c->arrived_n > 0)
		fd_close(&c->arrived[--c->arrived_n]);
	mem_free(c->leaving);
	mem_free(c->arrived);
	fd_close(&c->fd);
	dict_free(&c->mine);
	dict_free(&c->theirs);
	buf_clear(&c->in);
	buf_clear(&c->out);
	mem_free(c);
}

void ipc_set_secret(struct ipc *c)
{
	c->secret = c->in.secret = c->out.secret = true;
}

enum role ipc_peer(const struct ipc *c)
{
	return c->peer;
}

void ipc_set_events(struct ipc *c, const struct ipc_events *events, void *arg)
{
	c->events = events;
	c->arg = arg;
}

void ipc_read(struct ipc *c, bool on)
{
	c->reading = on;
	update_watch(c);
	if (on && c->in.len > 0)
		loop_soon(&c->again);
}

int ipc_pump(struct ipc *c, int64_t deadline)
{
	struct pollfd p = {.fd = c->fd, .events = POLLIN};
	int64_t wait;
	int err = ipc_flush(c);

	if (err != 0 && err != ERR_AGAIN)
		return err;
	if (err == ERR_AGAIN)
		p.events |= POLLOUT;
	wait = deadline == CLOCK_NEVER ? -1 : (deadline - clock_mono() + 999) / CLOCK_MSEC;
	if (deadline != CLOCK_NEVER && wait < 0)
		wait = 0;
	switch (poll(&p, 1, (int)wait)) {
	case 0: return ERR_TIMEOUT;
	case -1: return errno == EINTR ? 0 : ERR_SYS;
	default: break;
	}
	if (p.revents & POLLOUT)
		ipc_flush(c);
	if (p.revents & (POLLIN | POLLHUP | POLLERR))
		receive(c);
	return 0;
}

/* Frames that are complete. */

static void add_leaving(struct ipc *c, uint64_t at, int fd)
{
	if (c->leaving_n == FD_LIMIT)
		log_panic("ipc: too many descriptors on their way");
	if (c->leaving_n == c->leaving_cap) {
		c->leaving_cap = c->leaving_cap ? c->leaving_cap * 2 : 4;
		c->leaving = mem_resize(c->leaving, c->leaving_cap, sizeof(c->leaving[0]));
	}
	c->leaving[c->leaving_n++] = (struct passing){at, fd};
}

int ipc_end_fd(struct ipc *c, int *fd)
{
	struct slice frame = slice_from(buf_slice(&c->out), c->frame);
	const struct proto_row *row = proto_row(c->type);
	char *head = c->out.data + c->out.start + c->frame;
	int err;

	if (buf_failed(&c->out) || frame.len > IPC_FRAME_LIMIT)
		log_panic("ipc: %s is too long", proto_name(c->type));
	err = c->ended || c->overrun ? ERR_CLOSED
				     : ipc_check_outgoing(c, row, slice_from(frame, IPC_HEAD));
	c->type = 0;
	if (err != 0) {
		buf_truncate(&c->out, c->frame);
		if (fd != NULL)
			fd_close(fd);
		return err;
	}
	wire_put_u32(head, (uint32_t)(frame.len - IPC_HEAD));
	if (fd != NULL) {
		wire_put_u16(head + 6, FLAG_FD);
		add_leaving(c, c->put, *fd);
		*fd = -1;
	}
	c->put += frame.len;
	if (c->out.len > c->out_limit) {
		ipc_flush(c);
		if (c->out.len > c->out_limit) {
			/* Told later: the caller is in the middle of something. */
			c->overrun = true;
		}
	}
	if (c->out.len > c->out_limit / 2)
		c->over = true;
	if (!c->blocked || c->overrun)
		loop_soon(&c->flush);
	return 0;
}

int ipc_end(struct ipc *c)
{
	return ipc_end_fd(c, NULL);
}

int ipc_send(struct ipc *c, enum proto_msg type, uint64_t id)
{
	ipc_begin(c, type, id);
	return ipc_end(c);
}

size_t ipc_room(const struct ipc *c)
{
	return c->ended || c->out.len >= c->out_limit ? 0 : c->out_limit - c->out.len;
}

size_t ipc_unsent(const struct ipc *c)
{
	return c->out.len;
}
