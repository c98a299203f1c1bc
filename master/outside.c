/* SPDX-License-Identifier: ISC */
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "master/master.h"
#include "net/addr.h"
#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"

/* Whether text holds name as a whole: what stands before and behind it is no part of a name. */
static bool holds(const char *text, const char *name)
{
	size_t n = strlen(name);

	for (const char *p = strstr(text, name); p != NULL; p = strstr(p + 1, name)) {
		bool begins = p == text || strchr(" ,\t:=[{", p[-1]) != NULL;
		bool ends = p[n] == '\0' || strchr(" ,\t]}", p[n]) != NULL;

		if (begins && ends)
			return true;
	}
	return false;
}

static bool is_in_parameter(const struct worker *w, const char *name)
{
	for (int i = 0; i < P_COUNT; i++) {
		if ((param_row((enum param)i)->programs & w->plan->programs) != 0 &&
			holds(set_str(w->plan->settings, (enum param)i), name))
			return true;
	}
	return false;
}

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

/* A next hop of a table: below one of the directories, links followed first. */
static bool is_below_allowed(const struct worker *w, const char *path)
{
	struct slice rest = slice_str(set_str(w->plan->settings, P_unix_nexthop_directories)), item;
	char real[PATH_MAX], directory[PATH_MAX];
	bool found = false;

	/* What does not exist is told so by connect. */
	if (realpath(path, real) == NULL)
		return errno == ENOENT;
	while (!found && line_item(&rest, &item)) {
		char *name = slice_dup(item);

		found = realpath(name, directory) != NULL &&
			slice_starts(slice_str(real), directory) && real[strlen(directory)] == '/';
		mem_free(name);
	}
	return found && !is_own(path);
}

static int connect_unix(const struct worker *w, const char *name, const char *path, bool allowed)
{
	struct net_addr a;
	int fd = -1;

	if (!allowed && !is_below_allowed(w, path)) {
		log_warning(
			"service %s asks for %s, which no parameter names and which is not below "
			"unix_nexthop_directories",
			w->unit->key, log_qs(name));
		errno = EACCES;
		return -1;
	}
	if (net_addr_unix(path, &a) != 0)
		errno = ENAMETOOLONG;
	else if (net_connect(&a, NULL, &fd) != 0)
		fd = -1;
	return fd;
}

static int connect_inet(const struct worker *w, const char *name, bool allowed)
{
	struct slice host;
	struct net_addr a;
	uint16_t port = 0;
	int fd = -1;

	if (!allowed) {
		log_warning("service %s asks for %s, which no parameter names", w->unit->key,
			log_qs(name));
		errno = EACCES;
	} else if (service_split_address(slice_str(name), &host, &port) != 0 ||
		   net_addr_parse(host, port, &a) != 0) {
		errno = EDESTADDRREQ;
	} else if (net_connect(&a, NULL, &fd) != 0) {
		fd = -1;
	}
	return fd;
}

int outside_connect(const struct worker *w, const char *name)
{
	bool allowed = is_in_parameter(w, name);

	/* The working directory is the queue directory: relative paths start there. */
	if (strncmp(name, "unix:", 5) == 0)
		return connect_unix(w, name, name + 5, allowed || is_in_parameter(w, name + 5));
	if (strncmp(name, "inet:", 5) == 0)
		return connect_inet(w, name + 5, allowed);
	errno = EINVAL;
	return -1;
}
