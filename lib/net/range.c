/* SPDX-License-Identifier: ISC */
#include "net/range.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "util/aged.h"
#include "util/err.h"
#include "util/mem.h"

static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

bool net_range_is_ipv4(const struct net_range *r)
{
	return r->bits >= NET_RANGE_IPV4 && memcmp(r->addr, mapped, sizeof(mapped)) == 0;
}

static void cut(struct net_range *r, unsigned bits)
{
	size_t whole = bits / 8;

	if (bits >= r->bits)
		return;
	r->bits = (uint8_t)bits;
	if (bits % 8 != 0)
		r->addr[whole++] &= (uint8_t)(0xff << (8 - bits % 8));
	memset(r->addr + whole, 0, sizeof(r->addr) - whole);
}

void net_range_mask(struct net_range *r, unsigned ipv4, unsigned ipv6)
{
	cut(r, net_range_is_ipv4(r) ? NET_RANGE_IPV4 + ipv4 : ipv6);
}

int net_range_parse(struct slice text, struct net_range *r)
{
	char copy[INET6_ADDRSTRLEN + 1];
	ptrdiff_t slash = slice_find(text, '/');
	struct slice host = slash >= 0 ? slice_first(text, (size_t)slash) : text;
	uint64_t bits = 0;
	bool is_ipv6 = slice_find(host, ':') >= 0;

	memset(r, 0, sizeof(*r));
	r->bits = 128;
	if (host.len >= sizeof(copy) || memchr(host.p != NULL ? host.p : "", 0, host.len) != NULL)
		return ERR_SYNTAX;
	memcpy(copy, host.p != NULL ? host.p : "", host.len);
	copy[host.len] = '\0';
	if (!is_ipv6)
		memcpy(r->addr, mapped, sizeof(mapped));
	if (inet_pton(is_ipv6 ? AF_INET6 : AF_INET, copy, r->addr + (is_ipv6 ? 0 : 12)) != 1)
		return ERR_SYNTAX;
	if (slash >= 0) {
		int err = slice_u64(
			slice_from(text, (size_t)slash + 1), 0, is_ipv6 ? 128 : 32, &bits);

		if (err != 0)
			return err;
		cut(r, (unsigned)bits + (is_ipv6 ? 0 : NET_RANGE_IPV4));
	}
	return 0;
}

void net_range_text(const struct net_range *r, char text[NET_RANGE_TEXT])
{
	bool is_ipv4 = net_range_is_ipv4(r);
	size_t len = 0;

	text[0] = '\0';
	(void)inet_ntop(
		is_ipv4 ? AF_INET : AF_INET6, r->addr + (is_ipv4 ? 12 : 0), text, INET6_ADDRSTRLEN);
	len = strlen(text);
	if (r->bits < 128)
		(void)snprintf(text + len, NET_RANGE_TEXT - len, "/%u",
			r->bits - (is_ipv4 ? (unsigned)NET_RANGE_IPV4 : 0));
}

/* ---- sets ---- */

struct range_set {
	struct aged *records;
	void (*gone)(void *record, void *arg);
	void *arg;
	uint32_t lengths[129]; /* how many of each */
};

static void forget(void *record, void *arg)
{
	struct range_set *s = arg;

	s->lengths[((const struct net_range *)record)->bits]--;
	if (s->gone != NULL)
		s->gone(record, s->arg);
}

struct range_set *range_set_new(
	size_t record, size_t limit, void (*gone)(void *record, void *arg), void *arg)
{
	struct range_set *s = mem_alloc(sizeof(*s));

	s->gone = gone;
	s->arg = arg;
	s->records = aged_new(record, sizeof(struct net_range), limit, forget, s);
	return s;
}

void range_set_free(struct range_set **s)
{
	if (*s != NULL)
		aged_free(&(*s)->records);
	mem_free(*s);
	*s = NULL;
}

void range_set_limit(struct range_set *s, size_t limit)
{
	aged_set_limit(s->records, limit);
}

void *range_set_get(const struct range_set *s, const struct net_range *r)
{
	return aged_get(s->records, r);
}

void *range_set_add(struct range_set *s, const struct net_range *r)
{
	void *record = aged_add(s->records, r);

	if (record != NULL)
		s->lengths[r->bits]++;
	return record;
}

void range_set_remove(struct range_set *s, void *record)
{
	aged_remove(s->records, record);
}

void *range_set_find(const struct range_set *s, const struct net_range *r, int *bits)
{
	struct net_range net = *r;

	for (int length = *bits < r->bits ? *bits : r->bits; length >= 0; length--) {
		void *record = NULL;

		if (s->lengths[length] == 0)
			continue;
		cut(&net, (unsigned)length);
		record = aged_get(s->records, &net);
		if (record != NULL) {
			*bits = length - 1;
			return record;
		}
	}
	*bits = -1;
	return NULL;
}

void *range_set_oldest(const struct range_set *s)
{
	return aged_oldest(s->records);
}

void *range_set_younger(const struct range_set *s, const void *record)
{
	return aged_younger(s->records, record);
}

size_t range_set_count(const struct range_set *s)
{
	return aged_count(s->records);
}

size_t range_set_bytes(const struct range_set *s)
{
	return sizeof(*s) + aged_bytes(s->records);
}
