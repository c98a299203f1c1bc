/* SPDX-License-Identifier: ISC */
#include <arpa/inet.h>
#include <string.h>

#include "map/net.h"
#include "util/err.h"

int net_parse_address(struct slice text, struct net *n)
{
	*n = (struct net){0};
	char copy[INET6_ADDRSTRLEN];
	if (text.len == 0 || text.len >= sizeof(copy) || slice_find(text, '\0') >= 0)
		return ERR_SYNTAX;
	memcpy(copy, text.p, text.len);
	copy[text.len] = '\0';
	bool is_v6 = slice_find(text, ':') >= 0;
	if (inet_pton(is_v6 ? AF_INET6 : AF_INET, copy, n->addr) != 1)
		return ERR_SYNTAX;
	n->bytes = is_v6 ? 16 : 4;
	n->bits = (uint8_t)(n->bytes * 8);
	return 0;
}

static bool is_host_part_zero(const struct net *n)
{
	for (unsigned bit = n->bits; bit < n->bytes * 8u; bit++)
		if (n->addr[bit / 8] & (0x80 >> (bit % 8)))
			return false;
	return true;
}

static void mask(struct net *n)
{
	for (unsigned bit = n->bits; bit < n->bytes * 8u; bit++)
		n->addr[bit / 8] &= (uint8_t) ~(0x80 >> (bit % 8));
}

static void add_network(struct buf *out, const struct net *n)
{
	char text[INET6_ADDRSTRLEN] = "";
	inet_ntop(n->bytes == 4 ? AF_INET : AF_INET6, n->addr, text, sizeof(text));
	buf_add_fmt(out, "%s/%u", text, n->bits);
}

/* "127.0.3.*": each '*' at the end stands for a whole part of an IPv4 address. */
static int parse_stars(struct slice text, struct buf *why, struct net *n)
{
	struct buf full = BUF_INIT(64);
	struct slice rest = text, part;
	unsigned parts = 0, stars = 0;
	bool good = true;
	while (good && slice_part(&rest, '.', &part)) {
		bool star = slice_eq_str(part, "*");
		good = ++parts <= 4 && (star || stars == 0);
		stars += star;
		buf_add_fmt(&full, "%s%.*s", parts > 1 ? "." : "",
			SLICE_FMT(star ? SLICE_LIT("0") : part));
	}
	for (; good && parts < 4; parts++, stars++)
		buf_add_str(&full, ".0");
	if (good && stars < 4 && net_parse_address(buf_slice(&full), n) == 0)
		n->bits = (uint8_t)(32 - 8 * stars);
	else
		good = false;
	buf_clear(&full);
	if (good)
		return 0;
	buf_add_fmt(why,
		"bad address pattern \"%.*s\"; expected '*' for whole parts at the end, "
		"as in 127.0.3.*",
		SLICE_FMT(slice_first(text, 100)));
	return ERR_SYNTAX;
}

static struct slice without_brackets(struct slice text)
{
	if (text.len > 2 && text.p[0] == '[' && text.p[text.len - 1] == ']')
		return slice_of(text.p + 1, text.len - 2);
	return text;
}

int net_parse(struct slice text, struct buf *why, struct net *n)
{
	*n = (struct net){0};
	ptrdiff_t slash = slice_find_last(text, '/');
	struct slice address = slash < 0 ? text : slice_first(text, (size_t)slash);
	if (slash < 0 && slice_find(text, '*') >= 0)
		return parse_stars(text, why, n);
	if (net_parse_address(without_brackets(address), n) != 0) {
		buf_add_fmt(why,
			"bad address \"%.*s\"; expected an IPv4 or IPv6 address or network",
			SLICE_FMT(slice_first(text, 100)));
		return ERR_SYNTAX;
	}
	uint64_t bits = n->bits;
	if (slash >= 0 && slice_u64(slice_from(text, (size_t)slash + 1), 0, n->bits, &bits) != 0) {
		buf_add_fmt(why, "bad network length in \"%.*s\"; expected a number from 0 to %u",
			SLICE_FMT(slice_first(text, 100)), n->bits);
		return ERR_SYNTAX;
	}
	n->bits = (uint8_t)bits;
	if (!is_host_part_zero(n)) {
		mask(n);
		buf_add_fmt(why, "non-null host address bits in \"%.*s\"; expected ",
			SLICE_FMT(slice_first(text, 100)));
		add_network(why, n);
		return ERR_SYNTAX;
	}
	return 0;
}

bool net_has(const struct net *n, const struct net *address)
{
	if (n->bytes != address->bytes)
		return false;
	unsigned whole = n->bits / 8, left = n->bits % 8;
	if (memcmp(n->addr, address->addr, whole) != 0)
		return false;
	uint8_t m = (uint8_t)(0xff00 >> left);
	return left == 0 || ((n->addr[whole] ^ address->addr[whole]) & m) == 0;
}
