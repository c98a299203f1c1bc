/* SPDX-License-Identifier: ISC */
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "conf/line.h"
#include "conf/machine.h"

enum {
	SESSIONS_LEAST = 100,
	SESSIONS_MOST = 20000,
	SESSIONS_A_CORE = 2500,
	SESSION_MEMORY = 256 << 10
};

void machine_hostname(struct buf *out)
{
	char name[256] = "";

	if (gethostname(name, sizeof(name) - 1) != 0 || name[0] == '\0')
		memcpy(name, "localhost", sizeof("localhost"));
	buf_add_lower(out, slice_str(name));
	if (strchr(name, '.') == NULL)
		buf_add_str(out, ".localdomain");
}

void machine_process_limit(struct buf *out)
{
	long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
	long long cores = sysconf(_SC_NPROCESSORS_ONLN), sessions = SESSIONS_A_CORE * cores;

	if (pages > 0 && size > 0 && (long long)pages * size / SESSION_MEMORY < sessions)
		sessions = (long long)pages * size / SESSION_MEMORY;
	if (sessions < SESSIONS_LEAST)
		sessions = SESSIONS_LEAST;
	if (sessions > SESSIONS_MOST)
		sessions = SESSIONS_MOST;
	buf_add_fmt(out, "%lld", sessions);
}

static bool has_word(const char *list, const char *word)
{
	struct slice rest = slice_str(list), item;

	while (line_item(&rest, &item)) {
		if (slice_case_eq_str(item, word))
			return true;
	}
	return false;
}

static bool is_loopback(const struct ifaddrs *i)
{
	return (i->ifa_flags & IFF_LOOPBACK) != 0;
}

/* Whether mail is received on the address. A host name in the list is none of ours to resolve. */
static bool is_wanted(const struct ifaddrs *i, const char *address, const char *interfaces)
{
	struct slice rest = slice_str(interfaces), item;

	while (line_item(&rest, &item)) {
		if (slice_case_eq_str(item, "all") || slice_eq_str(item, address))
			return true;
		if (slice_case_eq_str(item, "loopback-only") && is_loopback(i))
			return true;
		if (item.len > 2 && item.p[0] == '[' &&
			slice_eq_str(slice_first(slice_from(item, 1), item.len - 2), address))
			return true;
	}
	return false;
}

static unsigned mask_bits(const struct sockaddr *mask, int family)
{
	const uint8_t *p =
		family == AF_INET
			? (const void *)&((const struct sockaddr_in *)(const void *)mask)->sin_addr
			: (const void *)&((const struct sockaddr_in6 *)(const void *)mask)
				  ->sin6_addr;
	unsigned bits = 0, total = family == AF_INET ? 32 : 128;

	while (bits < total && (p[bits / 8] & (0x80 >> (bits % 8))) != 0)
		bits++;
	return bits;
}

static void clear_host_part(uint8_t *address, unsigned bits, unsigned total)
{
	for (unsigned i = bits; i < total; i++)
		address[i / 8] &= (uint8_t) ~(0x80 >> (i % 8));
}

static unsigned bits_of(const struct ifaddrs *i, const uint8_t *address, const char *style)
{
	bool v4 = i->ifa_addr->sa_family == AF_INET;

	if (strcmp(style, "host") == 0)
		return v4 ? 32 : 128;
	if (strcmp(style, "class") == 0 && v4)
		return address[0] < 128 ? 8 : address[0] < 192 ? 16 : 24;
	return i->ifa_netmask != NULL ? mask_bits(i->ifa_netmask, i->ifa_addr->sa_family)
				      : (v4 ? 32 : 128);
}

static void add_network(
	const struct ifaddrs *i, const char *style, const char *interfaces, struct buf *out)
{
	bool v4 = i->ifa_addr->sa_family == AF_INET;
	unsigned total = v4 ? 32 : 128, bits = 0;
	char text[INET6_ADDRSTRLEN];
	uint8_t address[16];

	if (v4)
		memcpy(address, &((const struct sockaddr_in *)(const void *)i->ifa_addr)->sin_addr,
			4);
	else
		memcpy(address,
			&((const struct sockaddr_in6 *)(const void *)i->ifa_addr)->sin6_addr, 16);
	if (inet_ntop(i->ifa_addr->sa_family, address, text, sizeof(text)) == NULL ||
		!is_wanted(i, text, interfaces))
		return;
	bits = bits_of(i, address, style);
	clear_host_part(address, bits, total);
	inet_ntop(i->ifa_addr->sa_family, address, text, sizeof(text));
	buf_add_fmt(out, v4 ? "%s%s/%u" : "%s[%s]/%u", out->len != 0 ? " " : "", text, bits);
}

static bool has_protocol(const char *protocols, int family)
{
	return has_word(protocols, "all") || (family == AF_INET && has_word(protocols, "ipv4")) ||
	       (family == AF_INET6 && has_word(protocols, "ipv6"));
}

void machine_networks(
	const char *style, const char *interfaces, const char *protocols, struct buf *out)
{
	struct ifaddrs *all = NULL;

	if (getifaddrs(&all) != 0)
		return;
	for (const struct ifaddrs *i = all; i != NULL; i = i->ifa_next) {
		if (i->ifa_addr != NULL && (i->ifa_flags & IFF_UP) != 0 &&
			(i->ifa_addr->sa_family == AF_INET || i->ifa_addr->sa_family == AF_INET6) &&
			has_protocol(protocols, i->ifa_addr->sa_family))
			add_network(i, style, interfaces, out);
	}
	freeifaddrs(all);
}
