/* SPDX-License-Identifier: ISC */
#include "smtp/proxy.h"

#include <arpa/inet.h>

#include "util/err.h"

enum {
	V2_HEAD = 16,
	V2_VERSION = 0x20,
	V2_LOCAL = 0,
	V2_PROXY = 1,
	V2_UNSPEC = 0x00, /* family and transport, in one byte */
	V2_TCP4 = 0x11,
	V2_TCP6 = 0x21
};

static const char v2_signature[12] = "\r\n\r\n\0\r\nQUIT\n";

static unsigned u16_at(struct slice in, size_t at)
{
	return (unsigned)(unsigned char)in.p[at] << 8 | (unsigned char)in.p[at + 1];
}

/* Version 1: "PROXY TCP4 client server client-port server-port". */

static int take_address(struct slice *rest, int family, char text[INET6_ADDRSTRLEN])
{
	struct slice word;
	unsigned char bytes[16];

	if (!slice_part(rest, ' ', &word) || word.len == 0 || word.len >= INET6_ADDRSTRLEN ||
		!slice_is_printable(word))
		return ERR_SYNTAX;
	memcpy(text, word.p, word.len);
	text[word.len] = '\0';
	return inet_pton(family, text, bytes) == 1 ? 0 : ERR_SYNTAX;
}

static int take_port(struct slice *rest, uint16_t *port)
{
	struct slice word;
	uint64_t n = 0;

	if (!slice_part(rest, ' ', &word) || slice_u64(word, 0, UINT16_MAX, &n) != 0)
		return ERR_SYNTAX;
	*port = (uint16_t)n;
	return 0;
}

static int parse_line(struct slice line, struct smtp_proxy *p)
{
	struct slice word;
	int family;

	if (!slice_part(&line, ' ', &word) || !slice_eq_str(word, "PROXY") ||
		!slice_part(&line, ' ', &word))
		return ERR_SYNTAX;
	/* What stands behind it is to be ignored. */
	if (slice_eq_str(word, "UNKNOWN")) {
		p->is_own = true;
		return 0;
	}
	if (slice_eq_str(word, "TCP4"))
		family = AF_INET;
	else if (slice_eq_str(word, "TCP6"))
		family = AF_INET6;
	else
		return ERR_SYNTAX;
	if (take_address(&line, family, p->client) != 0 ||
		take_address(&line, family, p->server) != 0 ||
		take_port(&line, &p->client_port) != 0 || take_port(&line, &p->server_port) != 0)
		return ERR_SYNTAX;
	return line.p == NULL ? 0 : ERR_SYNTAX;
}

static int parse_v1(struct slice in, struct smtp_proxy *p, size_t *used)
{
	static const char word[] = "PROXY ";
	ptrdiff_t lf = slice_find(in, '\n');
	size_t known = in.len < sizeof(word) - 1 ? in.len : sizeof(word) - 1;

	if (memcmp(in.p, word, known) != 0)
		return ERR_SYNTAX;
	if (lf < 0)
		return in.len < PROXY_V1_LIMIT ? ERR_AGAIN : ERR_LIMIT;
	if (lf >= PROXY_V1_LIMIT)
		return ERR_LIMIT;
	if (lf == 0 || in.p[lf - 1] != '\r')
		return ERR_SYNTAX;
	*used = (size_t)lf + 1;
	return parse_line(slice_first(in, (size_t)lf - 1), p);
}

/* Version 2. */

static int parse_addresses(struct slice in, int family, struct smtp_proxy *p)
{
	size_t size = family == AF_INET ? 4 : 16;

	if (in.len < 2 * size + 4)
		return ERR_SYNTAX;
	if (inet_ntop(family, in.p, p->client, sizeof(p->client)) == NULL ||
		inet_ntop(family, in.p + size, p->server, sizeof(p->server)) == NULL)
		return ERR_SYNTAX;
	p->client_port = (uint16_t)u16_at(in, 2 * size);
	p->server_port = (uint16_t)u16_at(in, 2 * size + 2);
	return 0;
}

static int parse_v2(struct slice in, struct smtp_proxy *p, size_t *used)
{
	size_t known = in.len < sizeof(v2_signature) ? in.len : sizeof(v2_signature), len;
	int command, family;

	if (memcmp(in.p, v2_signature, known) != 0)
		return ERR_SYNTAX;
	if (in.len < V2_HEAD)
		return ERR_AGAIN;
	command = (unsigned char)in.p[12] - V2_VERSION;
	family = (unsigned char)in.p[13];
	len = u16_at(in, 14);
	if (command != V2_LOCAL && command != V2_PROXY)
		return ERR_SYNTAX;
	if (len > PROXY_V2_LIMIT)
		return ERR_LIMIT;
	if (in.len < V2_HEAD + len)
		return ERR_AGAIN;
	*used = V2_HEAD + len;
	in = slice_first(slice_from(in, V2_HEAD), len);
	p->is_own = command == V2_LOCAL || family == V2_UNSPEC;
	if (p->is_own)
		return 0;
	switch (family) {
	case V2_TCP4: return parse_addresses(in, AF_INET, p);
	case V2_TCP6: return parse_addresses(in, AF_INET6, p);
	default: return ERR_SYNTAX;
	}
}

int smtp_proxy_parse(struct slice in, struct smtp_proxy *p, size_t *used)
{
	*p = (struct smtp_proxy){0};
	*used = 0;
	if (in.len == 0)
		return ERR_AGAIN;
	return in.p[0] == '\r' ? parse_v2(in, p, used) : parse_v1(in, p, used);
}
