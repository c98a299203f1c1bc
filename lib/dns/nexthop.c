/* SPDX-License-Identifier: ISC */
#include "dns/nexthop.h"

#include <arpa/inet.h>
#include <sys/socket.h>

#include <stdlib.h>

#include "util/err.h"
#include "util/wire.h"

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

void hosts_encode(struct buf *out, const struct hosts *h)
{
	struct slice last = SLICE_NONE;
	buf_reset(out);
	wire_u8(out, (uint8_t)h->status);
	wire_u8(out, h->mx ? 1 : 0);
	wire_u32(out, h->ttl);
	wire_u16(out, h->best);
	wire_u16(out, (uint16_t)h->type);
	wire_counted(out, h->name);
	wire_u16(out, (uint16_t)h->n);
	for (unsigned i = 0; i < h->n; i++) {
		const struct host_addr *a = &h->addr[i];
		wire_u16(out, a->pref);
		wire_u8(out, a->family == AF_INET6 ? 16 : 4);
		buf_add(out, a->addr, a->family == AF_INET6 ? 16 : 4);
		/* A host's addresses stand together: its name is said once, then empty. */
		wire_counted(out, i > 0 && slice_eq(last, a->host) ? SLICE_NONE : a->host);
		last = a->host;
	}
}

static void addr_decode(struct reader *r, struct host_addr *a, struct slice *last)
{
	a->pref = reader_u16(r);
	uint8_t len = reader_u8(r);
	if (len != 4 && len != 16) {
		r->err = ERR_SYNTAX;
		return;
	}
	a->family = len == 4 ? AF_INET : AF_INET6;
	struct slice addr = reader_bytes(r, len);
	memcpy(a->addr, addr.len == len ? addr.p : (const char *)a->addr, len);
	a->host = reader_counted(r, DNS_NAME_MAX);
	if (a->host.len == 0) {
		a->host = *last;
	} else if (!slice_is_printable(a->host)) {
		r->err = ERR_SYNTAX;
	}
	*last = a->host;
}

int hosts_decode(struct slice encoded, struct hosts *h)
{
	struct reader r = reader_of(encoded);
	struct slice last = SLICE_NONE;
	*h = (struct hosts){.status = DNS_TEMP};
	uint8_t status = reader_u8(&r);
	h->mx = reader_u8(&r) != 0;
	h->ttl = reader_u32(&r);
	h->best = reader_u16(&r);
	h->type = (enum dns_type)reader_u16(&r);
	h->name = reader_counted(&r, DNS_NAME_MAX);
	uint16_t n = reader_u16(&r);
	if (r.err != 0 || status > DNS_TEMP || n > HOSTS_ADDR_MAX ||
		(status == DNS_OK) != (n > 0)) {
		return ERR_SYNTAX;
	}
	for (unsigned i = 0; i < n && r.err == 0; i++) {
		addr_decode(&r, &h->addr[i], &last);
	}
	reader_end(&r);
	if (r.err != 0) {
		return ERR_SYNTAX;
	}
	h->n = n;
	h->status = (enum dns_status)status;
	return 0;
}

static int family_rank(const struct host_addr *a, int prefer)
{
	return prefer == 0 || a->family == prefer ? 0 : 1;
}

static bool comes_before(const struct host_addr *a, const struct host_addr *b, int prefer)
{
	if (a->pref != b->pref) {
		return a->pref < b->pref;
	}
	return family_rank(a, prefer) < family_rank(b, prefer);
}

static void swap(struct host_addr *a, struct host_addr *b)
{
	struct host_addr t = *a;
	*a = *b;
	*b = t;
}

/* Puts an address of the family that is missing among the first limit at their end. */
static void balance_families(struct hosts *h, unsigned limit)
{
	for (unsigned i = 1; i < limit; i++) {
		if (h->addr[i].family != h->addr[0].family) {
			return;
		}
	}
	for (unsigned i = limit; i < h->n; i++) {
		if (h->addr[i].family != h->addr[0].family) {
			h->addr[limit - 1] = h->addr[i];
			return;
		}
	}
}

void hosts_order(struct hosts *h, bool randomize, int prefer, bool balance, unsigned limit)
{
	for (unsigned i = h->n; randomize && i > 1; i--) {
		swap(&h->addr[i - 1], &h->addr[arc4random_uniform(i)]);
	}
	/* Insertion keeps the order of equals; at most HOSTS_ADDR_MAX. */
	for (unsigned i = 1; i < h->n; i++) {
		for (unsigned j = i; j > 0 && comes_before(&h->addr[j], &h->addr[j - 1], prefer);
			j--) {
			swap(&h->addr[j], &h->addr[j - 1]);
		}
	}
	if (limit == 0 || h->n <= limit) {
		return;
	}
	if (balance && prefer == 0 && limit > 1) {
		balance_families(h, limit);
	}
	h->n = limit;
}

int hosts_cut_self(
	struct hosts *h, bool (*is_self)(const struct host_addr *a, void *arg), void *arg)
{
	uint32_t own = UINT32_MAX;
	for (unsigned i = 0; i < h->n; i++) {
		if (h->addr[i].pref < own && is_self(&h->addr[i], arg)) {
			own = h->addr[i].pref;
		}
	}
	if (own == UINT32_MAX) {
		return 0;
	}
	unsigned kept = 0;
	for (unsigned i = 0; i < h->n; i++) {
		if (h->addr[i].pref < own) {
			h->addr[kept++] = h->addr[i];
		}
	}
	h->n = kept;
	if (kept > 0) {
		return 0;
	}
	return h->best >= own ? ERR_EXISTS : ERR_NOT_FOUND;
}
