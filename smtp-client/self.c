/* SPDX-License-Identifier: ISC */
#include "smtp-client/self.h"

#include <ifaddrs.h>
#include <netinet/in.h>

#include "conf/conf.h"
#include "net/addr.h"
#include "util/log.h"

enum { SELF_MAX = 256 };

static struct host_addr own[SELF_MAX];
static unsigned count;

static void add(const struct sockaddr *sa)
{
	if (sa == NULL || count == SELF_MAX) {
		return;
	}
	struct host_addr *a = &own[count];
	if (sa->sa_family == AF_INET) {
		const struct sockaddr_in *v4 = (const struct sockaddr_in *)sa;
		memcpy(a->addr, &v4->sin_addr, 4);
	} else if (sa->sa_family == AF_INET6) {
		const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)sa;
		memcpy(a->addr, &v6->sin6_addr, 16);
	} else {
		return;
	}
	a->family = (uint8_t)sa->sa_family;
	count++;
}

static void add_interfaces(void)
{
	struct ifaddrs *list = NULL;
	if (getifaddrs(&list) != 0) {
		log_warning("the system's addresses cannot be listed");
		return;
	}
	for (const struct ifaddrs *i = list; i != NULL; i = i->ifa_next) {
		add(i->ifa_addr);
	}
	freeifaddrs(list);
}

/* Host names in the list are resolved by master for its listeners; here addresses count alone. */
static void add_list(const char *text)
{
	struct slice rest = slice_str(text), word;
	struct net_addr a;
	while (slice_token(&rest, ", \t", &word)) {
		if (slice_case_eq_str(word, "all")) {
			add_interfaces();
		} else if (slice_case_eq_str(word, "loopback-only")) {
			add_list("127.0.0.1, ::1");
		} else {
			bool bracket = slice_starts(word, "[") && slice_ends(word, "]");
			word = bracket ? slice_first(slice_from(word, 1), word.len - 2) : word;
			if (net_addr_parse(word, 0, &a) == 0) {
				add((const struct sockaddr *)&a.ss);
			}
		}
	}
}

void self_init(void)
{
	count = 0;
	add_list(conf_str(P_inet_interfaces));
	add_list(conf_str(P_proxy_interfaces));
}

bool self_has(const struct host_addr *a, void *arg)
{
	size_t len = a->family == AF_INET ? 4 : 16;
	for (unsigned i = 0; i < count; i++) {
		if (own[i].family == a->family && memcmp(own[i].addr, a->addr, len) == 0) {
			return true;
		}
	}
	return false;
}

bool self_is_named(const struct reply *r)
{
	struct slice rest = buf_slice(&r->text), line, word;
	return reply_next_line(&rest, &line) && slice_token(&line, " \t", &word) &&
	       slice_case_eq_str(word, conf_str(P_myhostname));
}
