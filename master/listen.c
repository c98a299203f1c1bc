/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "master/master.h"
#include "net/addr.h"
#include "util/err.h"
#include "util/fd.h"
#include "util/mem.h"

enum { BACKLOG = 4096, RESOLVE_MSEC = 5000, ADDRESSES_LIMIT = 65536, RETRY_USEC = 50000 };

static struct listener *find(const char *address)
{
	struct listener *l = NULL;

	TAILQ_FOREACH(l, &master.listeners, next)
	{
		if (strcmp(l->address, address) == 0)
			return l;
	}
	return NULL;
}

void listen_release(struct plan *plan)
{
	for (size_t i = 0; i < plan->listeners; i++) {
		struct listener *l = plan->listener[i];

		if (--l->users > 0)
			continue;
		TAILQ_REMOVE(&master.listeners, l, next);
		if (l->is_unix)
			unlink(l->address);
		fd_close(&l->fd);
		mem_free(l->address);
		mem_free(l);
	}
	plan->listeners = 0;
}

static void use(struct plan *plan, struct listener *l)
{
	l->users++;
	l->claimed = plan->generation;
	plan->listener = mem_resize(plan->listener, plan->listeners + 1, sizeof(*plan->listener));
	plan->listener[plan->listeners++] = l;
}

static struct listener *add(const char *address, int fd, bool is_unix)
{
	struct listener *l = mem_alloc(sizeof(*l));

	*l = (struct listener){.address = mem_str(address), .fd = fd, .is_unix = is_unix};
	TAILQ_INSERT_TAIL(&master.listeners, l, next);
	return l;
}

static int bind_once(const struct net_addr *a, int *out)
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
	if (bind(fd, (const struct sockaddr *)&a->ss, a->len) == 0 && listen(fd, BACKLOG) == 0) {
		*out = fd;
		return 0;
	}
	saved = errno;
	fd_close(&fd);
	errno = saved;
	return ERR_SYS;
}

/* A taken address may belong to processes that are about to end. */
static int bind_until(const struct net_addr *a, int64_t wait, int *fd)
{
	int r = bind_once(a, fd);

	while (r != 0 && errno == EADDRINUSE && clock_mono() < wait) {
		usleep(RETRY_USEC);
		r = bind_once(a, fd);
	}
	return r;
}

/* One numeric address. optional: a family that this machine does not have is left out. */
static int listen_inet(struct slice host, uint16_t port, bool optional, int64_t wait,
	struct plan *plan, struct buf *why)
{
	struct net_addr a;
	char text[NET_ADDR_TEXT];
	struct buf name = BUF_INIT(NET_ADDR_TEXT + 16);
	struct listener *l = NULL;
	int fd = -1, r = net_addr_parse(host, port, &a);

	if (r == 0) {
		net_addr_text(&a, text);
		buf_add_fmt(
			&name, net_addr_family(&a) == AF_INET6 ? "[%s]:%u" : "%s:%u", text, port);
		l = find(buf_str(&name));
		if (l == NULL)
			r = bind_until(&a, wait, &fd);
		else if (l->claimed == plan->generation)
			r = ERR_EXISTS; /* two services of this generation want it */
	}
	if (r != 0 && optional && (errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL))
		r = 0;
	else if (r != 0)
		buf_add_fmt(why, "gatepost: cannot listen on %s: %s\n",
			name.len != 0 ? buf_str(&name) : "an address", err_str(r));
	else
		use(plan, l != NULL ? l : add(buf_str(&name), fd, false));
	buf_clear(&name);
	return r;
}

/* The child's part: no rights, addresses of a name to the pipe. */
_Noreturn static void resolve_in_child(const char *host, int family, int out)
{
	struct addrinfo hints = {.ai_family = family, .ai_socktype = SOCK_STREAM}, *all = NULL;
	char text[NI_MAXHOST];

	if (geteuid() == 0 &&
		(setresgid(65534, 65534, 65534) != 0 || setresuid(65534, 65534, 65534) != 0))
		_exit(1);
	if (getaddrinfo(host, NULL, &hints, &all) != 0)
		_exit(1);
	for (const struct addrinfo *a = all; a != NULL; a = a->ai_next) {
		if (getnameinfo(a->ai_addr, a->ai_addrlen, text, sizeof(text), NULL, 0,
			    NI_NUMERICHOST) == 0)
			dprintf(out, "%s\n", text);
	}
	_exit(0);
}

/* Names are not for root to resolve. addresses: one a line. */
static int resolve(const char *host, int family, struct buf *addresses)
{
	int ends[2] = {-1, -1}, status = 0;
	pid_t pid = -1;
	struct pollfd p = {.events = POLLIN};

	if (pipe2(ends, O_CLOEXEC) != 0)
		return ERR_SYS;
	pid = fork();
	if (pid == 0)
		resolve_in_child(host, family, ends[1]);
	fd_close(&ends[1]);
	p.fd = ends[0];
	while (pid > 0 && poll(&p, 1, RESOLVE_MSEC) > 0) {
		char *room = NULL;
		ssize_t n = buf_room(addresses, 512, &room) == 0 ? read(ends[0], room, 512) : -1;

		if (n <= 0)
			break;
		buf_added(addresses, (size_t)n);
	}
	fd_close(&ends[0]);
	if (pid > 0) {
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
	}
	return addresses->len != 0 ? 0 : ERR_NOT_FOUND;
}

struct want {
	uint16_t port;
	bool v4, v6;
	int64_t wait;
	struct plan *plan;
	struct buf *why;
};

static int listen_name(const struct want *w, struct slice host)
{
	struct buf addresses = BUF_INIT(ADDRESSES_LIMIT);
	char *name = slice_dup(host);
	int family = w->v4 && w->v6 ? AF_UNSPEC : w->v4 ? AF_INET : AF_INET6;
	int r = resolve(name, family, &addresses);
	struct slice rest = buf_slice(&addresses), line;

	if (r != 0)
		buf_add_fmt(w->why, "gatepost: cannot listen on %s:%u: the name has no address\n",
			name, w->port);
	while (r == 0 && slice_part(&rest, '\n', &line)) {
		if (line.len != 0)
			r = listen_inet(line, w->port, false, w->wait, w->plan, w->why);
	}
	mem_free(name);
	buf_clear(&addresses);
	return r;
}

/* A host of master.cf or an item of inet_interfaces. */
static int listen_host(const struct want *w, struct slice host)
{
	struct net_addr a;
	int r = 0;

	if (host.len >= 2 && host.p[0] == '[' && host.p[host.len - 1] == ']')
		host = slice_first(slice_from(host, 1), host.len - 2);
	if (slice_case_eq_str(host, "all")) {
		r = w->v4 ? listen_inet(
				    SLICE_LIT("0.0.0.0"), w->port, w->v6, w->wait, w->plan, w->why)
			  : 0;
		return r == 0 && w->v6 ? listen_inet(SLICE_LIT("::"), w->port, w->v4, w->wait,
						 w->plan, w->why)
				       : r;
	}
	if (slice_case_eq_str(host, "loopback-only")) {
		r = w->v4 ? listen_inet(SLICE_LIT("127.0.0.1"), w->port, w->v6, w->wait, w->plan,
				    w->why)
			  : 0;
		return r == 0 && w->v6 ? listen_inet(SLICE_LIT("::1"), w->port, w->v4, w->wait,
						 w->plan, w->why)
				       : r;
	}
	if (net_addr_parse(host, w->port, &a) != 0)
		return listen_name(w, host);
	/* inet_protocols leaves out addresses of the other family. */
	if (net_addr_family(&a) == AF_INET ? w->v4 : w->v6)
		return listen_inet(host, w->port, false, w->wait, w->plan, w->why);
	return 0;
}

static bool has_word(const char *list, const char *a, const char *b)
{
	struct slice rest = slice_str(list), item;

	while (line_item(&rest, &item)) {
		if (slice_case_eq_str(item, a) || slice_case_eq_str(item, b))
			return true;
	}
	return false;
}

static int listen_port(const struct service *v, const struct conf *settings, struct want *w)
{
	const char *protocols = set_str(settings, P_inet_protocols);
	struct slice host, rest, item;
	int r = service_split_address(slice_str(v->name), &host, &w->port);

	w->v4 = has_word(protocols, "all", "ipv4");
	w->v6 = has_word(protocols, "all", "ipv6");
	if (r == 0 && host.len != 0)
		r = listen_host(w, host);
	rest = slice_str(set_str(settings, P_inet_interfaces));
	while (r == 0 && host.len == 0 && line_item(&rest, &item))
		r = listen_host(w, item);
	if (r == 0 && w->plan->listeners == 0) {
		buf_add_fmt(w->why,
			"gatepost: cannot listen on %s: inet_interfaces and inet_protocols leave "
			"no address\n",
			v->name);
		r = ERR_NOT_FOUND;
	}
	return r;
}

/* Below the queue directory, which is master's working directory: paths stay short. */
static int listen_unix(const struct service *v, struct plan *plan, struct buf *why)
{
	char *path = mem_fmt(
		"%s/%s", v->is_private && plan->role == ROLE_SMTPD ? "private" : "public", v->name);
	struct listener *l = find(path);
	struct net_addr a;
	int fd = -1, r = l != NULL ? 0 : net_addr_unix(path, &a);

	if (r == 0 && l == NULL) {
		unlink(path);
		r = bind_once(&a, &fd);
		if (r == 0 && chmod(path, 0666) != 0)
			r = ERR_SYS;
	}
	if (r == 0)
		use(plan, l != NULL ? l : add(path, fd, true));
	else
		buf_add_fmt(why, "gatepost: cannot listen on %s: %s\n", path, err_str(r));
	mem_free(path);
	return r;
}

int listen_for(const struct service *v, const struct conf *settings, int64_t wait,
	struct plan *plan, struct buf *why)
{
	struct want w = {.wait = wait, .plan = plan, .why = why};

	/* gateq asks qmgr at public/qmgr. */
	if (plan->role == ROLE_QMGR && v->type == SERVICE_UNIX)
		return listen_unix(v, plan, why);
	if (plan->role != ROLE_SMTPD)
		return 0;
	return v->type == SERVICE_INET ? listen_port(v, settings, &w) : listen_unix(v, plan, why);
}
