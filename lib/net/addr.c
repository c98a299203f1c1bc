/* SPDX-License-Identifier: ISC */
#include "net/addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/un.h>

#include "util/err.h"
#include "util/fd.h"

static const struct sockaddr_in *in4(const struct net_addr *a)
{
	return (const struct sockaddr_in *)&a->ss;
}

static const struct sockaddr_in6 *in6(const struct net_addr *a)
{
	return (const struct sockaddr_in6 *)&a->ss;
}

static bool is_mapped(const struct net_addr *a)
{
	return a->ss.ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&in6(a)->sin6_addr);
}

int net_addr_parse(struct slice text, uint16_t port, struct net_addr *a)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)&a->ss;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&a->ss;
	char copy[INET6_ADDRSTRLEN];

	*a = (struct net_addr){0};
	if (slice_case_starts(text, "IPv6:"))
		text = slice_from(text, 5);
	if (text.len == 0 || text.len >= sizeof(copy) || memchr(text.p, 0, text.len) != NULL)
		return ERR_SYNTAX;
	memcpy(copy, text.p, text.len);
	copy[text.len] = '\0';
	if (inet_pton(AF_INET, copy, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(port);
		a->len = sizeof(*v4);
		return 0;
	}
	if (inet_pton(AF_INET6, copy, &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons(port);
		a->len = sizeof(*v6);
		return 0;
	}
	*a = (struct net_addr){0};
	return ERR_SYNTAX;
}

int net_addr_unix(const char *path, struct net_addr *a)
{
	struct sockaddr_un *un = (struct sockaddr_un *)&a->ss;
	size_t len = strlen(path);

	*a = (struct net_addr){0};
	if (len >= sizeof(un->sun_path))
		return ERR_LIMIT;
	un->sun_family = AF_UNIX;
	memcpy(un->sun_path, path, len + 1);
	a->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + 1);
	return 0;
}

void net_addr_text(const struct net_addr *a, char text[NET_ADDR_TEXT])
{
	text[0] = '\0';
	if (a->len == 0)
		return;
	if (a->ss.ss_family == AF_INET)
		inet_ntop(AF_INET, &in4(a)->sin_addr, text, NET_ADDR_TEXT);
	else if (is_mapped(a))
		inet_ntop(AF_INET, &in6(a)->sin6_addr.s6_addr[12], text, NET_ADDR_TEXT);
	else if (a->ss.ss_family == AF_INET6)
		inet_ntop(AF_INET6, &in6(a)->sin6_addr, text, NET_ADDR_TEXT);
	else if (a->ss.ss_family == AF_UNIX && a->len > offsetof(struct sockaddr_un, sun_path))
		snprintf(text, NET_ADDR_TEXT, "%.107s",
			((const struct sockaddr_un *)&a->ss)->sun_path);
}

uint16_t net_addr_port(const struct net_addr *a)
{
	if (a->ss.ss_family == AF_INET)
		return ntohs(in4(a)->sin_port);
	if (a->ss.ss_family == AF_INET6)
		return ntohs(in6(a)->sin6_port);
	return 0;
}

int net_addr_family(const struct net_addr *a)
{
	if (a->len == 0)
		return AF_UNSPEC;
	return is_mapped(a) ? AF_INET : a->ss.ss_family;
}

bool net_addr_eq(const struct net_addr *a, const struct net_addr *b)
{
	char x[NET_ADDR_TEXT], y[NET_ADDR_TEXT];

	net_addr_text(a, x);
	net_addr_text(b, y);
	return net_addr_family(a) == net_addr_family(b) && net_addr_port(a) == net_addr_port(b) &&
	       strcmp(x, y) == 0;
}

int net_peer_uid(int fd, uid_t *uid)
{
	struct ucred peer = {0};
	socklen_t len = sizeof(peer);

	*uid = (uid_t)-1;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0)
		return ERR_SYS;
	*uid = peer.uid;
	return 0;
}

int net_peer(int fd, struct net_addr *a)
{
	*a = (struct net_addr){.len = sizeof(a->ss)};
	return getpeername(fd, (struct sockaddr *)&a->ss, &a->len) == 0 ? 0 : ERR_SYS;
}

int net_local(int fd, struct net_addr *a)
{
	*a = (struct net_addr){.len = sizeof(a->ss)};
	return getsockname(fd, (struct sockaddr *)&a->ss, &a->len) == 0 ? 0 : ERR_SYS;
}

int net_connect(const struct net_addr *to, const struct net_addr *from, int *fd)
{
	int s = socket(to->ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int saved, on = 1;

	*fd = -1;
	if (s < 0)
		return ERR_SYS;
	if (to->ss.ss_family != AF_UNIX)
		setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (from != NULL && from->len != 0 &&
		bind(s, (const struct sockaddr *)&from->ss, from->len) != 0)
		goto fail;
	if (connect(s, (const struct sockaddr *)&to->ss, to->len) != 0 && errno != EINPROGRESS &&
		errno != EINTR)
		goto fail;
	*fd = s;
	return 0;
fail:
	saved = errno;
	fd_close(&s);
	errno = saved;
	return ERR_SYS;
}

int net_connect_result(int fd)
{
	int value = 0;
	socklen_t len = sizeof(value);

	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &value, &len) != 0)
		return ERR_SYS;
	if (value == 0)
		return 0;
	errno = value;
	return ERR_SYS;
}

int net_accept(int listener, int *fd, struct net_addr *peer)
{
	*peer = (struct net_addr){.len = sizeof(peer->ss)};
	*fd = accept4(
		listener, (struct sockaddr *)&peer->ss, &peer->len, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (*fd >= 0)
		return 0;
	if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR || errno == ECONNABORTED)
		return ERR_AGAIN;
	return ERR_SYS;
}
