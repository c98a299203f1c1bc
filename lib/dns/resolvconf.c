/* SPDX-License-Identifier: ISC */
#include "dns/resolvconf.h"

#include <arpa/inet.h>
#include <net/if.h>

#include <string.h>

#include "util/err.h"

enum { DNS_PORT = 53 };

/* "ADDR", "ADDR%scope" or "[ADDR]:PORT". */
static int server_parse(struct slice s, struct resolvconf_server *out)
{
	*out = (struct resolvconf_server){0};
	uint64_t port = DNS_PORT;
	char host[INET6_ADDRSTRLEN + IF_NAMESIZE + 1];
	if (slice_starts(s, "[")) {
		ptrdiff_t end = slice_find(s, ']');
		if (end < 0 || slice_from(s, (size_t)end + 1).len < 2 || s.p[end + 1] != ':' ||
			slice_u64(slice_from(s, (size_t)end + 2), 1, 65535, &port) != 0) {
			return ERR_SYNTAX;
		}
		s = slice_first(slice_from(s, 1), (size_t)end - 1);
	}
	if (s.len == 0 || s.len >= sizeof(host)) {
		return ERR_SYNTAX;
	}
	memcpy(host, s.p, s.len);
	host[s.len] = '\0';
	char *scope = strchr(host, '%');
	if (scope != NULL) {
		*scope++ = '\0';
	}
	struct sockaddr_in *v4 = (struct sockaddr_in *)&out->addr;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&out->addr;
	if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons((uint16_t)port);
		out->len = sizeof(*v4);
	} else if (inet_pton(AF_INET6, host, &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons((uint16_t)port);
		v6->sin6_scope_id = scope != NULL ? if_nametoindex(scope) : 0;
		out->len = sizeof(*v6);
	} else {
		return ERR_SYNTAX;
	}
	strlcpy(out->text, host, sizeof(out->text));
	return 0;
}

static void option_parse(struct slice word, struct resolvconf *rc)
{
	uint64_t n = 0;
	if (slice_starts(word, "timeout:") && slice_u64(slice_from(word, 8), 0, 1000000, &n) == 0) {
		rc->timeout = n < 1 ? 1 : n > 30 ? 30 : (unsigned)n;
	} else if (slice_starts(word, "attempts:") &&
		   slice_u64(slice_from(word, 9), 0, 1000000, &n) == 0) {
		rc->attempts = n < 1 ? 1 : n > 5 ? 5 : (unsigned)n;
	} else if (slice_eq_str(word, "rotate")) {
		rc->rotate = true;
	} else if (slice_eq_str(word, "use-vc")) {
		rc->tcp = true;
	} else if (slice_eq_str(word, "trust-ad")) {
		rc->trust_ad = true;
	}
}

/* The last such line counts. */
static void search_parse(struct slice line, struct resolvconf *rc)
{
	struct dns_question q;
	struct slice word;
	rc->searches = 0;
	while (rc->searches < RESOLVCONF_SEARCH && slice_token(&line, " \t\r", &word)) {
		if (dns_question_set(&q, DNS_A, word) == 0) {
			strlcpy(rc->search[rc->searches++], q.name, sizeof(rc->search[0]));
		}
	}
}

void resolvconf_parse(struct slice text, struct resolvconf *rc)
{
	*rc = (struct resolvconf){.timeout = 5, .attempts = 2};
	struct slice rest = text, line, word;
	while (slice_part(&rest, '\n', &line)) {
		if (!slice_token(&line, " \t\r", &word)) {
			continue;
		}
		if (slice_eq_str(word, "nameserver") && rc->servers < RESOLVCONF_SERVERS) {
			if (slice_token(&line, " \t\r", &word) &&
				server_parse(word, &rc->server[rc->servers]) == 0) {
				rc->servers++;
			}
		} else if (slice_eq_str(word, "search") || slice_eq_str(word, "domain")) {
			search_parse(line, rc);
		} else if (slice_eq_str(word, "options")) {
			while (slice_token(&line, " \t\r", &word)) {
				option_parse(word, rc);
			}
		}
	}
	if (rc->servers == 0 && server_parse(SLICE_LIT("127.0.0.1"), &rc->server[0]) == 0) {
		rc->servers = 1;
	}
}
