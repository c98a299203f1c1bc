/* SPDX-License-Identifier: ISC */
#include "conf/capacity.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "util/err.h"
#include "util/mem.h"

enum { NO_LIMIT = 100000, DELIVERIES_A_CORE = 25, WORKERS_MOST = 100, VAULTS_MOST = 8 };

static unsigned cores(void)
{
	long n = sysconf(_SC_NPROCESSORS_ONLN);

	return n < 1 ? 1 : n > WORKERS_MOST ? WORKERS_MOST : (unsigned)n;
}

static bool is_program(const struct service *v, const char *name)
{
	return strcmp(v->program, name) == 0;
}

static uint64_t sessions_of(const struct service *v, const struct conf *settings)
{
	bool forks = is_program(v, "local") || is_program(v, "virtual");

	if (v->maxproc > 0)
		return (uint64_t)v->maxproc;
	if (v->maxproc == 0)
		return NO_LIMIT;
	if (set_is_set(settings, P_default_process_limit))
		return (uint64_t)set_int(settings, P_default_process_limit);
	/* A delivery of these is a process. */
	if (forks)
		return DELIVERIES_A_CORE * cores();
	/* Idle clients are many, deliveries are not: as many as a worker a core carries. */
	if (is_program(v, "smtp-client"))
		return (uint64_t)set_int(settings, P_session_limit) * cores();
	return (uint64_t)set_int(settings, P_default_process_limit);
}

struct capacity capacity_of(const struct service *v, const struct conf *settings)
{
	/* Who signs for others has no sessions: its processes are what is counted. */
	bool is_vault = is_program(v, "vault");
	uint64_t each = is_vault ? 1 : (uint64_t)set_int(settings, P_session_limit);
	struct capacity c = {.sessions = sessions_of(v, settings), .workers = 1};
	bool is_port = is_program(v, "smtpd") && v->type == SERVICE_INET;
	bool grows = is_port || is_program(v, "smtp-client");

	/* One worker is enough for sendmail's listener. */
	if (is_program(v, "smtpd") && !is_port && c.sessions > each)
		c.sessions = each;
	if (grows || is_program(v, "cleanup"))
		c.workers = cores();
	if (grows && v->maxproc != 0 && c.sessions > each * c.workers)
		c.workers = (unsigned)((c.sessions + each - 1) / each);
	if (is_vault)
		c.workers = cores() < VAULTS_MOST ? cores() : VAULTS_MOST;
	if (c.workers > c.sessions)
		c.workers = (unsigned)c.sessions;
	if (c.workers > WORKERS_MOST)
		c.workers = WORKERS_MOST;
	if (is_vault)
		c.sessions = c.workers;
	c.limit = each < c.sessions ? each : c.sessions;
	return c;
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

struct walk {
	int (*visit)(struct slice host, uint16_t port, int family, bool is_optional, void *arg);
	void *arg;
	uint16_t port;
	bool v4, v6;
	size_t count;
};

static int give(struct walk *w, const char *host, int family, bool is_optional)
{
	w->count++;
	return w->visit(slice_str(host), w->port, family, is_optional, w->arg);
}

static int give_pair(struct walk *w, const char *v4, const char *v6)
{
	int r = w->v4 ? give(w, v4, AF_INET, w->v6) : 0;

	return r == 0 && w->v6 ? give(w, v6, AF_INET6, w->v4) : r;
}

static int walk_host(struct walk *w, struct slice host)
{
	char *text = NULL;
	struct in_addr v4;
	struct in6_addr v6;
	int r = 0;

	if (host.len >= 2 && host.p[0] == '[' && host.p[host.len - 1] == ']')
		host = slice_first(slice_from(host, 1), host.len - 2);
	if (slice_case_eq_str(host, "all"))
		return give_pair(w, "0.0.0.0", "::");
	if (slice_case_eq_str(host, "loopback-only"))
		return give_pair(w, "127.0.0.1", "::1");
	text = slice_dup(host);
	/* inet_protocols leaves out addresses of the other family. */
	if (inet_pton(AF_INET, text, &v4) == 1)
		r = w->v4 ? give(w, text, AF_INET, false) : 0;
	else if (inet_pton(AF_INET6, text, &v6) == 1)
		r = w->v6 ? give(w, text, AF_INET6, false) : 0;
	else
		r = give(w, text, w->v4 && w->v6 ? AF_UNSPEC : w->v4 ? AF_INET : AF_INET6, false);
	mem_free(text);
	return r;
}

int capacity_walk_addresses(const struct service *v, const struct conf *settings,
	int (*visit)(struct slice host, uint16_t port, int family, bool is_optional, void *arg),
	void *arg)
{
	const char *protocols = set_str(settings, P_inet_protocols);
	struct walk w = {.visit = visit,
		.arg = arg,
		.v4 = has_word(protocols, "all", "ipv4"),
		.v6 = has_word(protocols, "all", "ipv6")};
	struct slice host, rest = slice_str(set_str(settings, P_inet_interfaces)), item;
	int r = service_split_address(slice_str(v->name), &host, &w.port);

	if (r == 0 && host.len != 0)
		r = walk_host(&w, host);
	while (r == 0 && host.len == 0 && line_item(&rest, &item))
		r = walk_host(&w, item);
	return r == 0 && w.count == 0 ? ERR_NOT_FOUND : r;
}
