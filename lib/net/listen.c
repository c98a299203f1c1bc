/* SPDX-License-Identifier: ISC */
#include "net/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util/clock.h"
#include "util/err.h"
#include "util/fd.h"

enum { BACKLOG = 4096, RETRY_USEC = 50000, NOBODY = 65534 };

static int listen_once(const struct net_addr *a, int *out)
{
	int fd = socket(a->ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int on = 1, saved = 0;

	*out = -1;
	if (fd < 0)
		return ERR_SYS;
	if (a->ss.ss_family != AF_UNIX)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (a->ss.ss_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	/* Connections inherit it. A stream gathers by itself; of TLS two writes may follow each
	 * other. */
	if (a->ss.ss_family != AF_UNIX)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (bind(fd, (const struct sockaddr *)&a->ss, a->len) == 0 && listen(fd, BACKLOG) == 0) {
		*out = fd;
		return 0;
	}
	saved = errno;
	fd_close(&fd);
	errno = saved;
	return ERR_SYS;
}

int net_listen(const struct net_addr *a, int64_t until, int *fd)
{
	int r = listen_once(a, fd);

	while (r != 0 && errno == EADDRINUSE && clock_mono() < until) {
		usleep(RETRY_USEC);
		r = listen_once(a, fd);
	}
	return r;
}

int net_listen_unix(const char *path, mode_t mode, int *fd)
{
	struct net_addr a;
	int r = net_addr_unix(path, &a);

	*fd = -1;
	unlink(path);
	if (r == 0)
		r = net_listen(&a, 0, fd);
	if (r == 0 && chmod(path, mode) != 0) {
		r = ERR_SYS;
		fd_close(fd);
	}
	return r;
}

_Noreturn static void resolve_in_child(const char *host, int family, int out)
{
	struct addrinfo hints = {.ai_family = family, .ai_socktype = SOCK_STREAM}, *all = NULL;
	char text[NI_MAXHOST];

	if (geteuid() == 0 && (setgroups(0, NULL) != 0 || setresgid(NOBODY, NOBODY, NOBODY) != 0 ||
				      setresuid(NOBODY, NOBODY, NOBODY) != 0))
		_exit(1);
	if (getaddrinfo(host, NULL, &hints, &all) != 0) {
		/* RFC 6761, 6.3. A bare container may have no /etc/hosts to say so. */
		if (strcasecmp(host, "localhost") == 0)
			dprintf(out, "%s%s", family != AF_INET6 ? "127.0.0.1\n" : "",
				family != AF_INET ? "::1\n" : "");
		_exit(0);
	}
	for (const struct addrinfo *a = all; a != NULL; a = a->ai_next) {
		if (getnameinfo(a->ai_addr, a->ai_addrlen, text, sizeof(text), NULL, 0,
			    NI_NUMERICHOST) == 0)
			dprintf(out, "%s\n", text);
	}
	_exit(0);
}

/* What comes until the other end is closed or the time is over; a signal is no reason to stop. */
static void read_all(int fd, int64_t deadline, struct buf *out)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	int64_t left = 0;
	char text[512];
	ssize_t n = 1;

	while (n != 0 && (left = (deadline - clock_mono()) / CLOCK_MSEC) > 0) {
		n = poll(&p, 1, (int)left);
		if (n > 0)
			n = read(fd, text, sizeof(text));
		if ((n < 0 && errno != EINTR) || (n > 0 && buf_add(out, text, (size_t)n) != 0))
			return;
	}
}

int net_resolve(const char *host, int family, struct buf *out)
{
	int64_t deadline = clock_mono() + NET_RESOLVE_MSEC * CLOCK_MSEC;
	int ends[2] = {-1, -1};
	size_t before = out->len;
	pid_t pid = -1;
	struct net_addr a;

	if (net_addr_parse(slice_str(host), 0, &a) == 0)
		return buf_add_fmt(out, "%s\n", host);
	if (pipe2(ends, O_CLOEXEC) != 0)
		return ERR_SYS;
	pid = fork();
	if (pid == 0)
		resolve_in_child(host, family, ends[1]);
	fd_close(&ends[1]);
	if (pid > 0) {
		read_all(ends[0], deadline, out);
		kill(pid, SIGKILL);
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	fd_close(&ends[0]);
	return out->len > before ? 0 : ERR_NOT_FOUND;
}
