/* SPDX-License-Identifier: ISC */
#include "conf/grant.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>

#include "conf/vault.h"
#include "net/addr.h"
#include "util/err.h"
#include "util/mem.h"

static struct slice without_later(struct slice spec)
{
	return slice_starts(spec, "later:") ? slice_from(spec, strlen("later:")) : spec;
}

struct named {
	struct slice spec;
	bool found;
};

static void compare(enum param p, struct slice spec, struct place where, void *arg)
{
	struct named *n = arg;

	n->found = n->found || slice_eq(n->spec, without_later(spec));
}

bool grant_table(const struct conf *settings, unsigned programs, struct slice spec)
{
	struct named n = {.spec = without_later(spec)};

	if (slice_starts(spec, VAULT_FILE))
		return (programs & PROG_VAULT) != 0 && vault_grants(settings, spec);
	check_walk_tables(settings, programs, compare, &n);
	return n.found;
}

static bool holds(const char *text, const char *name)
{
	size_t n = strlen(name);

	for (const char *p = strstr(text, name); p != NULL; p = strstr(p + 1, name)) {
		bool begins = p == text || strchr(" ,\t:=[{", p[-1]) != NULL;
		bool ends = p[n] == '\0' || strchr(" ,\t:]}", p[n]) != NULL;

		if (begins && ends)
			return true;
	}
	return false;
}

/* In a list of smtpd_restriction_classes, for who reads these. */
static bool class_holds(const struct conf *settings, unsigned programs, const char *name)
{
	struct slice rest = slice_str(set_str(settings, P_smtpd_restriction_classes)), class;

	if ((param_row(P_smtpd_restriction_classes)->programs & programs) == 0)
		return false;
	while (line_item(&rest, &class)) {
		const char *text = set_other(settings, class);

		if (text != NULL && holds(text, name))
			return true;
	}
	return false;
}

bool grant_socket(const struct conf *settings, unsigned programs, const char *name)
{
	for (int i = 0; *name != '\0' && i < P_COUNT; i++) {
		if ((param_row((enum param)i)->programs & programs) != 0 &&
			holds(set_str(settings, (enum param)i), name))
			return true;
	}
	return *name != '\0' && class_holds(settings, programs, name);
}

bool grant_nexthop(const struct conf *settings, const char *real)
{
	struct slice rest = slice_str(set_str(settings, P_unix_nexthop_directories)), item;
	char directory[PATH_MAX];
	bool found = false;

	while (!found && line_item(&rest, &item)) {
		char *name = slice_dup(item);

		found = realpath(name, directory) != NULL &&
			slice_starts(slice_str(real), directory) && real[strlen(directory)] == '/';
		mem_free(name);
	}
	return found;
}

int grant_address(const char *name, struct net_addr *a)
{
	const char *colon = strchr(name, ':');
	struct slice host,
		type = slice_first(slice_str(name), colon != NULL ? (size_t)(colon - name) : 0);
	uint16_t port = 0;

	if (slice_eq_str(type, "unix"))
		return net_addr_unix(colon + 1, a) == 0 ? 0 : ENAMETOOLONG;
	if (!slice_eq_str(type, "inet") && !slice_eq_str(type, "tcp"))
		return EINVAL;
	if (service_split_address(slice_str(colon + 1), &host, &port) != 0)
		return EDESTADDRREQ;
	if (slice_case_eq_str(host, "localhost"))
		host = SLICE_LIT("127.0.0.1");
	return net_addr_parse(host, port, a) == 0 ? 0 : EDESTADDRREQ;
}
