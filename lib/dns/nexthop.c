/* SPDX-License-Identifier: ISC */
#include "dns/nexthop.h"

#include <arpa/inet.h>
#include <sys/socket.h>

#include "util/err.h"

int nexthop_port(struct slice s, uint16_t *port)
{
	/* An empty root has no services(5); these never change. */
	static const struct {
		const char *name;
		uint16_t port;
	} names[] = {{"smtp", 25}, {"lmtp", 24}, {"smtps", 465}, {"submissions", 465},
		{"submission", 587}};
	uint64_t n = 0;
	*port = 0;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (slice_eq_str(s, names[i].name)) {
			*port = names[i].port;
			return 0;
		}
	}
	if (slice_u64(s, 1, 65535, &n) != 0) {
		return ERR_SYNTAX;
	}
	*port = (uint16_t)n;
	return 0;
}

static bool is_address(struct slice s)
{
	char text[INET6_ADDRSTRLEN];
	uint8_t addr[16];
	if (s.len >= sizeof(text)) {
		return false;
	}
	memcpy(text, s.p, s.len);
	text[s.len] = '\0';
	return inet_pton(AF_INET, text, addr) == 1 || inet_pton(AF_INET6, text, addr) == 1;
}

static int bracket_parse(struct slice s, struct nexthop *nh)
{
	ptrdiff_t end = slice_find(s, ']');
	if (end < 2) {
		return ERR_SYNTAX;
	}
	struct slice tail = slice_from(s, (size_t)end + 1);
	nh->host = slice_first(slice_from(s, 1), (size_t)end - 1);
	if (slice_case_starts(nh->host, "ipv6:")) {
		nh->host = slice_from(nh->host, 5);
		if (!is_address(nh->host)) {
			return ERR_SYNTAX;
		}
	}
	nh->literal = is_address(nh->host);
	if (tail.len == 0) {
		return 0;
	}
	return tail.p[0] == ':' ? nexthop_port(slice_from(tail, 1), &nh->port) : ERR_SYNTAX;
}

static int plain_parse(struct slice s, bool lmtp, struct nexthop *nh)
{
	ptrdiff_t colon = slice_find(s, ':');
	nh->mx = !lmtp;
	if (is_address(s)) {
		nh->host = s;
		nh->literal = true;
		nh->mx = false;
		return 0;
	}
	nh->host = colon >= 0 ? slice_first(s, (size_t)colon) : s;
	if (colon >= 0 && nexthop_port(slice_from(s, (size_t)colon + 1), &nh->port) != 0) {
		return ERR_SYNTAX;
	}
	if (is_address(nh->host)) {
		nh->literal = true;
		nh->mx = false;
	}
	return nh->host.len > 0 ? 0 : ERR_SYNTAX;
}

int nexthop_next(struct slice *rest, bool lmtp, struct nexthop *nh)
{
	struct slice word = SLICE_NONE;
	*nh = (struct nexthop){0};
	if (!slice_token(rest, ", \t\r\n", &word)) {
		return ERR_NOT_FOUND;
	}
	if (lmtp && slice_starts(word, "unix:")) {
		nh->host = slice_from(word, 5);
		nh->unix_path = true;
		return nh->host.len > 0 ? 0 : ERR_SYNTAX;
	}
	if (lmtp && slice_starts(word, "inet:")) {
		word = slice_from(word, 5);
	}
	return slice_starts(word, "[") ? bracket_parse(word, nh) : plain_parse(word, lmtp, nh);
}
