/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf/grant.h"
#include "master/master.h"
#include "net/addr.h"
#include "util/log.h"

/* A socket of this instance itself: to it master would be root, not a next hop. */
static bool is_own(const char *path)
{
	const struct listener *l = NULL;
	struct stat st, own;

	if (stat(path, &st) != 0)
		return false;
	TAILQ_FOREACH(l, &master.listeners, next)
	{
		if (l->is_unix && stat(l->address, &own) == 0 && st.st_dev == own.st_dev &&
			st.st_ino == own.st_ino)
			return true;
	}
	return false;
}

/* A next hop of a table. What does not exist is told so by connect. */
static bool may_be_nexthop(const struct worker *w, const char *path)
{
	char real[PATH_MAX];

	if (realpath(path, real) == NULL)
		return errno == ENOENT;
	return grant_nexthop(w->plan->settings, real) && !is_own(path);
}

/* The working directory is the queue directory: relative paths start there. */
static int address_of(const struct worker *w, const char *name, struct net_addr *a)
{
	bool is_unix = strncmp(name, "unix:", 5) == 0;
	const struct plan *p = w->plan;
	struct slice host;
	uint16_t port = 0;
	size_t prefix = strncmp(name, "tcp:", 4) == 0 ? 4 : 5;

	if (!is_unix && prefix == 5 && strncmp(name, "inet:", 5) != 0)
		return EINVAL;
	if (!grant_socket(p->settings, p->programs, name) &&
		!(is_unix && (grant_socket(p->settings, p->programs, name + 5) ||
				     may_be_nexthop(w, name + 5)))) {
		log_warning("service %s asks for %s, which no parameter names%s", w->unit->key,
			log_qs(name + prefix),
			is_unix ? " and which is not below unix_nexthop_directories" : "");
		return EACCES;
	}
	name += prefix;
	if (is_unix)
		return net_addr_unix(name, a) == 0 ? 0 : ENAMETOOLONG;
	if (service_split_address(slice_str(name), &host, &port) != 0)
		return EDESTADDRREQ;
	if (slice_case_eq_str(host, "localhost"))
		host = SLICE_LIT("127.0.0.1");
	return net_addr_parse(host, port, a) == 0 ? 0 : EDESTADDRREQ;
}

int outside_connect(const struct worker *w, const char *name)
{
	struct net_addr a;
	int fd = -1, err = address_of(w, name, &a);

	if (err == 0 && net_connect(&a, NULL, &fd) == 0)
		return fd;
	if (err != 0)
		errno = err;
	return -1;
}
