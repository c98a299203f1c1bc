/* SPDX-License-Identifier: ISC */
#include "tools/gateq_filter.h"

#include <fnmatch.h>
#include <string.h>

#include "util/err.h"

const char *gateq_domain(const char *address)
{
	const char *at = strrchr(address, '@');

	return at != NULL ? at + 1 : "";
}

/* "domain", or ".domain" for what is below it. */
static bool is_in_domain(const char *pattern, const char *domain)
{
	if (pattern[0] != '.')
		return strcasecmp(pattern, domain) == 0;
	return slice_case_ends(slice_str(domain), pattern) && strlen(domain) > strlen(pattern);
}

bool gateq_filter_address(const char *pattern, const char *address)
{
	size_t len = strlen(pattern);

	if (strcmp(pattern, "<>") == 0)
		return address[0] == '\0';
	if (strpbrk(pattern, "*?") != NULL)
		return fnmatch(pattern, address, FNM_CASEFOLD) == 0;
	if (pattern[0] == '@')
		return is_in_domain(pattern + 1, gateq_domain(address));
	if (strchr(pattern, '@') == NULL)
		return is_in_domain(pattern, gateq_domain(address)) ||
		       (strchr(address, '@') == NULL && strcasecmp(pattern, address) == 0);
	if (pattern[len - 1] == '@')
		return strncasecmp(pattern, address, len) == 0 &&
		       strrchr(address, '@') == address + len - 1;
	return strcasecmp(pattern, address) == 0;
}

/* One of the hosts of "mx1.example.com,mx2.example.com:26". */
static bool has_host(const char *site, const char *host)
{
	struct slice rest = slice_str(site), one;

	while (slice_part(&rest, ',', &one))
		if (slice_case_eq_str(one, host))
			return true;
	return false;
}

static bool is_site(const char *pattern, const struct gateq_rcpt *to)
{
	if (strpbrk(pattern, "*?") != NULL)
		return fnmatch(pattern, to->nexthop, FNM_CASEFOLD) == 0 ||
		       fnmatch(pattern, to->site, FNM_CASEFOLD) == 0 ||
		       fnmatch(pattern, gateq_domain(to->address), FNM_CASEFOLD) == 0;
	return strcasecmp(pattern, to->nexthop) == 0 || strcasecmp(pattern, to->site) == 0 ||
	       has_host(to->site, pattern) ||
	       is_in_domain(pattern + (pattern[0] == '@'), gateq_domain(to->address));
}

bool gateq_filter_rcpt(const struct gateq_filter *f, const struct gateq_rcpt *to)
{
	if (f->recipient != NULL && !gateq_filter_address(f->recipient, to->address))
		return false;
	if (f->site != NULL && !is_site(f->site, to))
		return false;
	return f->reason == NULL || strcasestr(to->reason, f->reason) != NULL;
}

/* What Postfix keeps in incoming is active or unread here. */
bool gateq_filter_queue(const char *names, const char *queue)
{
	struct slice rest = slice_str(names), name;

	while (slice_token(&rest, ", ", &name))
		if (slice_eq_str(name, queue) ||
			(slice_eq_str(name, "incoming") && strcmp(queue, "active") == 0))
			return true;
	return false;
}

bool gateq_filter_message(const struct gateq_filter *f, const struct gateq_message *m)
{
	if (f->sender != NULL && !gateq_filter_address(f->sender, m->sender))
		return false;
	if (f->queue != NULL && !gateq_filter_queue(f->queue, m->queue))
		return false;
	if (f->older != 0 && m->arrival >= f->older)
		return false;
	if (f->recipient == NULL && f->site == NULL && f->reason == NULL)
		return true;
	for (size_t i = 0; i < m->count; i++)
		if (gateq_filter_rcpt(f, &m->rcpts[i]))
			return true;
	return false;
}

int gateq_filter_older(const char *text, int64_t now, int64_t *when)
{
	struct slice s = slice_str(text);
	int64_t unit = CLOCK_SEC;
	uint64_t n;

	*when = 0;
	if (s.len > 0 && strchr("smhdw", s.p[s.len - 1]) != NULL) {
		switch (s.p[s.len - 1]) {
		case 'm': unit *= 60; break;
		case 'h': unit *= 3600; break;
		case 'd': unit *= 86400; break;
		case 'w': unit *= 7 * 86400; break;
		default: break;
		}
		s = slice_first(s, s.len - 1);
	}
	if (slice_u64(s, 0, 10000000, &n) != 0)
		return ERR_SYNTAX;
	*when = now - (int64_t)n * unit;
	return 0;
}
