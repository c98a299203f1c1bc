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

static bool is_allowed(const struct worker *w, const char *name)
{
	const struct plan *p = w->plan;

	return grant_socket(p->settings, p->programs, name) ||
	       (strncmp(name, "unix:", 5) == 0 &&
		       (grant_socket(p->settings, p->programs, name + 5) ||
			       may_be_nexthop(w, name + 5)));
}

/* The working directory is the queue directory: relative paths start there. */
int outside_connect(const struct worker *w, const char *name)
{
	struct net_addr a;
	int fd = -1, err = grant_address(name, &a);

	if (!is_allowed(w, name)) {
		log_warning("service %s asks for %s, which no parameter names and which is not "
			    "below unix_nexthop_directories",
			w->unit->key, log_qs(name));
		err = EACCES;
	}
	if (err == 0 && net_connect(&a, NULL, &fd) == 0)
		return fd;
	if (err != 0)
		errno = err;
	return -1;
}
