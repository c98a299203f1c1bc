/* SPDX-License-Identifier: ISC */
#include "smtp-client/source.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

#include "conf/conf.h"
#include "smtp-client/setting.h"
#include "util/err.h"
#include "util/fd.h"
#include "util/log.h"

static struct net_addr v4, v6; /* len 0: any */

static bool is_loopback(const struct net_addr *a)
{
	if (net_addr_family(a) == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)&a->ss;
		return ntohl(in->sin_addr.s_addr) >> 24 == 127;
	}
	return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)&a->ss)->sin6_addr);
}

/* Without the brackets that an address may stand in. */
static struct slice bare(struct slice word)
{
	return slice_starts(word, "[") && slice_ends(word, "]")
		       ? slice_first(slice_from(word, 1), word.len - 2)
		       : word;
}

/* The only address of this protocol in the list; what is no address may be any number of them. */
static void only_interface(int family, struct net_addr *found)
{
	struct slice rest = slice_str(conf_str(P_inet_interfaces)), word;
	unsigned n = 0;
	while (slice_token(&rest, ", \t\r\n", &word)) {
		struct net_addr a;
		if (net_addr_parse(bare(word), 0, &a) != 0) {
			n += 2;
		} else if (net_addr_family(&a) == family) {
			*found = a;
			n++;
		}
	}
	if (n != 1 || is_loopback(found)) {
		*found = (struct net_addr){0};
	}
}

static void read_address(enum param p, int family, struct net_addr *a)
{
	const char *text = conf_str(p);
	if (text[0] == '\0') {
		only_interface(family, a);
	} else if (net_addr_parse(bare(slice_str(text)), 0, a) != 0 ||
		   net_addr_family(a) != family) {
		log_fatal("%s: \"%s\" is no %s address", conf_name(p), text,
			family == AF_INET ? "IPv4" : "IPv6");
	}
}

void source_init(void)
{
	read_address(setting_of(P_smtp_bind_address), AF_INET, &v4);
	read_address(setting_of(P_smtp_bind_address6), AF_INET6, &v6);
}

static bool is_ours(const struct net_addr *a)
{
	int fd = socket(a->ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	bool good = fd >= 0 && bind(fd, (const struct sockaddr *)&a->ss, a->len) == 0;
	int saved = errno;
	fd_close(&fd);
	errno = saved;
	return good;
}

int source_connect(struct delivery *d, const struct net_addr *to, int *fd)
{
	const struct net_addr *from = net_addr_family(to) == AF_INET ? &v4 : &v6;
	char text[NET_ADDR_TEXT];
	int r = net_connect(to, from, fd);
	int saved = errno;
	if (r == 0 || from->len == 0 || is_ours(from)) {
		errno = saved;
		return r;
	}
	net_addr_text(from, text);
	log_warning("smtp_connect_addr: bind %s: %s", text, strerror(errno));
	if (conf_bool(setting_of(P_smtp_bind_address_enforce))) {
		problem_set(&d->why, "4.4.0", "server configuration error");
		d->why.stage = STAGE_CONNECT;
		errno = 0;
		return ERR_SYS;
	}
	return net_connect(to, NULL, fd);
}
