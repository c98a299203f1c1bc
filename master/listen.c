/* SPDX-License-Identifier: ISC */
#include <errno.h>
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

		/* A plan that came to nothing leaves what it shares with others to the next one. */
		if (l->claimed == plan->generation)
			l->claimed = 0;
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

struct want {
	int64_t wait;
	struct plan *plan;
	struct buf *why;
};

/* The listener at this address (NULL: a UNIX socket's path): the one that is there, or a new one.
 */
static int listen_at(
	const struct want *w, const char *name, const struct net_addr *a, bool is_optional)
{
	struct listener *l = find(name);
	int fd = -1, r = 0;

	/* Two services of this generation want it. */
	if (l != NULL && l->claimed == w->plan->generation)
		r = ERR_EXISTS;
	else if (l == NULL)
		r = a != NULL ? net_listen(a, w->wait, &fd) : net_listen_unix(name, 0666, &fd);
	if (r == ERR_SYS && is_optional && (errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL))
		return 0;
	if (l == NULL && r == 0) {
		l = mem_alloc(sizeof(*l));
		*l = (struct listener){.address = mem_str(name), .fd = fd, .is_unix = a == NULL};
		TAILQ_INSERT_TAIL(&master.listeners, l, next);
	}
	if (r == 0)
		use(w->plan, l);
	else
		buf_add_fmt(w->why, "gatepost: cannot listen on %s: %s\n", name, err_str(r));
	return r;
}

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
	r = listen_at(w, name, &a, is_optional);
	mem_free(name);
	return r;
}

static int listen_host(struct slice host, uint16_t port, int family, bool is_optional, void *arg)
{
	const struct want *w = arg;
	struct buf addresses = BUF_INIT(ADDRESSES_LIMIT);
	struct slice rest, line;
	char *name = slice_dup(host);
	int r = net_resolve(name, family, &addresses);

	if (r != 0)
		buf_add_fmt(w->why, "gatepost: cannot listen on %s:%u: the name has no address\n",
			name, port);
	rest = buf_slice(&addresses);
	while (r == 0 && slice_part(&rest, '\n', &line)) {
		if (line.len != 0)
			r = listen_inet(w, line, port, is_optional);
	}
	mem_free(name);
	buf_clear(&addresses);
	return r;
}

/* Below the queue directory, which is master's working directory: paths stay short. */
static int listen_unix(const struct want *w, const struct service *v)
{
	bool is_private = v->is_private && w->plan->role == ROLE_SMTPD;
	char *path = mem_fmt("%s/%s", is_private ? "private" : "public", v->name);
	int r = listen_at(w, path, NULL, false);

	mem_free(path);
	return r;
}

int listen_for(const struct service *v, const struct conf *settings, int64_t wait,
	struct plan *plan, struct buf *why)
{
	struct want w = {.wait = wait, .plan = plan, .why = why};
	int r = 0;

	/* gateq asks qmgr at public/qmgr, gatepost tally at public/tally. */
	if (plan->role == ROLE_QMGR || plan->role == ROLE_TALLY ||
		(plan->role == ROLE_SMTPD && v->type != SERVICE_INET))
		return v->type == SERVICE_INET ? 0 : listen_unix(&w, v);
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
