/* SPDX-License-Identifier: ISC */
#include "local/spawner.h"

#include <errno.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "local/target.h"
#include "server/server.h"
#include "util/err.h"
#include "util/fd.h"
#include "util/log.h"

enum { SUMS_MAX = IPC_FRAME_LIMIT };

static bool is_text(const char *s, size_t size)
{
	return memchr(s, '\0', size) != NULL && slice_is_printable(slice_str(s));
}

static bool is_valid(const struct request *q, const int fds[REQUEST_FDS])
{
	return is_text(q->id, sizeof(q->id)) && strchr(q->id, '/') == NULL &&
	       is_text(q->address, sizeof(q->address)) && is_text(q->orig_to, sizeof(q->orig_to)) &&
	       is_text(q->sender, sizeof(q->sender)) && is_text(q->user, sizeof(q->user)) &&
	       fds[REQUEST_PIPE] >= 0 && fds[REQUEST_CONTENT] >= 0;
}

static void take_fds(struct msghdr *m, int fds[REQUEST_FDS])
{
	for (int i = 0; i < REQUEST_FDS; i++)
		fds[i] = -1;
	struct cmsghdr *c = CMSG_FIRSTHDR(m);
	if (c != NULL && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
		memcpy(fds, CMSG_DATA(c), c->cmsg_len - CMSG_LEN(0));
}

/* Whether it was a new log. */
static bool take_log(struct msghdr *m, ssize_t n, const char *is_file)
{
	int fds[REQUEST_FDS];
	if (n != 1)
		return false;
	take_fds(m, fds);
	if (fds[0] < 0)
		return false;
	log_set_sink(*is_file ? LOG_SINK_FILE : LOG_SINK_SYSLOG, fds[0]);
	return true;
}

/* The next request; false at the front's end, or when it breaks the form. */
static bool receive(int from, struct request *q, char *sums, size_t *sums_len, int fds[REQUEST_FDS])
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(REQUEST_FDS * sizeof(int))];
	} control;
	struct iovec parts[2] = {{q, sizeof(*q)}, {sums, SUMS_MAX}};
	struct msghdr m = {.msg_iov = parts, .msg_iovlen = 2, .msg_control = control.room};
	ssize_t n;
	do {
		m.msg_controllen = sizeof(control.room);
		n = recvmsg(from, &m, MSG_CMSG_CLOEXEC);
	} while ((n < 0 && errno == EINTR) || take_log(&m, n, (const char *)q));
	if (n <= 0)
		return false;
	take_fds(&m, fds);
	if ((size_t)n < sizeof(*q) || (m.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) ||
		!is_valid(q, fds)) {
		log_error("delivery request is malformed");
		return false;
	}
	*sums_len = (size_t)n - sizeof(*q);
	return true;
}

_Noreturn static void serve(int from)
{
	static struct request q;
	static char sums[SUMS_MAX];
	size_t sums_len = 0;
	int fds[REQUEST_FDS];
	const pid_t self = getpid();
	while (receive(from, &q, sums, &sums_len, fds)) {
		target_refresh();
		/* Without a child the pipe ends unanswered: the front puts the recipient off. */
		if (fork() == 0)
			child_run(&q, slice_of(sums, sums_len), fds, self);
		for (int i = 0; i < REQUEST_FDS; i++)
			fd_close(&fds[i]);
	}
	log_flush();
	_exit(0);
}

int spawner_start(void)
{
	struct buf why = BUF_INIT(8192);
	int ends[2];
	char ready = 0;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
		log_fatal("socketpair: %s", err_str(ERR_SYS));
	log_flush();
	pid_t pid = fork();
	if (pid < 0)
		log_fatal("fork: %s", err_str(ERR_SYS));
	if (pid == 0) {
		/* master's connection is the front's alone; nobody waits for children. */
		(void)close(SERVER_CONTROL_FD);
		fd_close(&ends[0]);
		signal(SIGCHLD, SIG_IGN);
		if (target_open(&why) != 0)
			log_fatal("%s", buf_str(&why));
		log_flush();
		if (send(ends[1], &ready, 1, 0) != 1)
			_exit(1);
		serve(ends[1]);
	}
	fd_close(&ends[1]);
	if (recv(ends[0], &ready, 1, 0) != 1)
		log_fatal("the spawner did not start");
	return ends[0];
}
