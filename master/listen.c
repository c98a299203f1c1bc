/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf/capacity.h"
#include "master/master.h"
#include "net/listen.h"
#include "util/err.h"
#include "util/fd.h"
#include "util/mem.h"

enum { ADDRESSES_LIMIT = 65536 };

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

/* The listener at this address: the one that is there, or a new one. */
static int listen_at(const char *name, const struct net_addr *a, int64_t wait, struct plan *plan)
{
	struct listener *l = find(name);
	int fd = -1, r = 0;

	if (l != NULL && l->claimed == plan->generation)
		return ERR_EXISTS; /* two services of this generation want it */
	if (l == NULL) {
		r = net_listen(a, wait, &fd);
		if (r != 0)
			return r;
		l = mem_alloc(sizeof(*l));
		*l = (struct listener){
			.address = mem_str(name), .fd = fd, .is_unix = a->ss.ss_family == AF_UNIX};
		TAILQ_INSERT_TAIL(&master.listeners, l, next);
	}
	use(plan, l);
	return 0;
}

struct want {
	int64_t wait;
	struct plan *plan;
	struct buf *why;
};

static int listen_inet(const struct want *w, struct slice host, uint16_t port, bool is_optional)
{
	struct net_addr a;
	char text[NET_ADDR_TEXT];
	char *name = NULL;
	int r = net_addr_parse(host, port, &a);

	if (r != 0)
		return r;
	net_addr_text(&a, text);
	name = mem_fmt(net_addr_family(&a) == AF_INET6 ? "[%s]:%u" : "%s:%u", text, port);
	r = listen_at(name, &a, w->wait, w->plan);
	if (r == ERR_SYS && is_optional && (errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL))
		r = 0;
	if (r != 0)
		buf_add_fmt(w->why, "gatepost: cannot listen on %s: %s\n", name, err_str(r));
	mem_free(name);
	return r;
}

static int listen_host(struct slice host, uint16_t port, int family, bool is_optional, void *arg)
{
	const struct want *w = arg;
	struct buf addresses = BUF_INIT(ADDRESSES_LIMIT);
	struct net_addr a;
	struct slice rest, line;
	char *name = NULL;
	int r = 0;

	if (net_addr_parse(host, port, &a) == 0)
		return listen_inet(w, host, port, is_optional);
	name = slice_dup(host);
	r = net_resolve(name, family, &addresses);
	if (r != 0)
		buf_add_fmt(w->why, "gatepost: cannot listen on %s:%u: the name has no address\n",
			name, port);
	rest = buf_slice(&addresses);
	while (r == 0 && slice_part(&rest, '\n', &line)) {
		if (line.len != 0)
			r = listen_inet(w, line, port, false);
	}
	mem_free(name);
	buf_clear(&addresses);
	return r;
}

/* Below the queue directory, which is master's working directory: paths stay short. */
static int listen_unix(const struct service *v, struct plan *plan, struct buf *why)
{
	bool is_private = v->is_private && plan->role == ROLE_SMTPD;
	char *path = mem_fmt("%s/%s", is_private ? "private" : "public", v->name);
	struct net_addr a;
	int r = net_addr_unix(path, &a);

	if (r == 0 && find(path) == NULL)
		unlink(path);
	if (r == 0)
		r = listen_at(path, &a, 0, plan);
	if (r == 0 && chmod(path, 0666) != 0)
		r = ERR_SYS;
	if (r != 0)
		buf_add_fmt(why, "gatepost: cannot listen on %s: %s\n", path, err_str(r));
	mem_free(path);
	return r;
}

int listen_for(const struct service *v, const struct conf *settings, int64_t wait,
	struct plan *plan, struct buf *why)
{
	struct want w = {.wait = wait, .plan = plan, .why = why};
	int r = 0;

	/* gateq asks qmgr at public/qmgr. */
	if (plan->role == ROLE_QMGR || (plan->role == ROLE_SMTPD && v->type != SERVICE_INET))
		return v->type == SERVICE_INET ? 0 : listen_unix(v, plan, why);
	if (plan->role != ROLE_SMTPD)
		return 0;
	r = capacity_walk_addresses(v, settings, listen_host, &w);
	if (r == ERR_NOT_FOUND && why->len == 0)
		buf_add_fmt(why,
			"gatepost: cannot listen on %s: inet_interfaces and inet_protocols leave "
			"no address\n",
			v->name);
	return r;
}
