/* SPDX-License-Identifier: ISC */
#include "map/peer.h"

#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"

map_peer_asker *map_peer_ask;

static int ask(
	const struct map_peer *p, const struct buf *request, struct later *l, struct buf *reply)
{
	if (map_peer_ask == NULL || buf_failed(request))
		return ERR_TEMP;
	return map_peer_ask(p, buf_slice(request), l, reply);
}

static int failed(const struct map_peer *p, struct slice reason)
{
	log_warning("table %s: %s", p->spec, log_q(slice_first(reason, 200)));
	return ERR_TEMP;
}

static void peer_close(void *state)
{
	struct map_peer *p = state;
	mem_free(p->spec);
	mem_free(p->service);
	mem_free(p->name);
	mem_free(p);
}

/* The end of HOST in "HOST:PORT…", brackets around an IPv6 address; -1: there is none. */
static ptrdiff_t host_end(struct slice s)
{
	ptrdiff_t close = slice_starts(s, "[") ? slice_find(s, ']') : 0;
	ptrdiff_t colon = close < 0 ? -1 : slice_find(slice_from(s, (size_t)close), ':');
	return colon < 0 ? -1 : close + colon;
}

/* The bytes of "HOST:PORT" at the front of s; 0: it does not stand there. */
static size_t host_port(struct slice s)
{
	ptrdiff_t colon = host_end(s);
	uint64_t port;
	if (colon < 1)
		return 0;
	struct slice number = slice_from(s, (size_t)colon + 1);
	ptrdiff_t end = slice_find(number, ':');
	if (end >= 0)
		number = slice_first(number, (size_t)end);
	return slice_u64(number, 1, 65535, &port) == 0 ? (size_t)colon + 1 + number.len : 0;
}

static int peer_new(enum peer_protocol protocol, const struct map_input *in, size_t service_len,
	struct slice name, void **state)
{
	struct map_peer *p = mem_alloc(sizeof(*p));
	p->protocol = protocol;
	p->spec = mem_str(in->spec);
	p->service = protocol == PEER_TCP ? mem_str(in->spec)
					  : slice_dup(slice_first(in->name, service_len));
	p->name = slice_dup(name);
	*state = p;
	return 0;
}

/* socketmap */

static int socketmap_open(const struct map_input *in, void **state)
{
	struct slice rest = slice_from(in->name, 5);
	size_t n = 0;
	if (slice_starts(in->name, "inet:"))
		n = host_port(rest);
	else if (slice_starts(in->name, "unix:"))
		n = slice_find_last(rest, ':') > 0 ? (size_t)slice_find_last(rest, ':') : 0;
	if (n > 0 && n + 1 < rest.len && rest.p[n] == ':')
		return peer_new(PEER_SOCKETMAP, in, 5 + n, slice_from(rest, n + 1), state);
	buf_add_fmt(in->why,
		"bad table \"%s\"; expected socketmap:inet:HOST:PORT:NAME or "
		"socketmap:unix:PATH:NAME",
		in->spec);
	return ERR_SYNTAX;
}

static int socketmap_find(void *state, struct slice key, struct later *l, struct buf *value)
{
	const struct map_peer *p = state;
	struct buf request = BUF_INIT(MAP_VALUE_LIMIT);
	struct buf reply = BUF_INIT(2 * MAP_VALUE_LIMIT);
	buf_add_fmt(&request, "%zu:%s ", strlen(p->name) + 1 + key.len, p->name);
	buf_add_slice(&request, key);
	buf_add_char(&request, ',');
	int r = ask(p, &request, l, &reply);
	struct slice text = buf_slice(&reply);
	if (r == 0 && slice_starts(text, "OK "))
		buf_add_slice(value, slice_from(text, 3));
	else if (r == 0 && (slice_starts(text, "NOTFOUND ") || slice_eq_str(text, "NOTFOUND")))
		r = ERR_NOT_FOUND;
	else if (r == 0)
		r = failed(p, text);
	buf_clear(&request);
	buf_clear(&reply);
	return r;
}

const struct map_driver map_socketmap = {
	"socketmap", MAP_SOURCE_NONE, socketmap_open, socketmap_find, peer_close};

/* tcp */

static int tcp_open(const struct map_input *in, void **state)
{
	if (in->name.len > 0 && host_port(in->name) == in->name.len)
		return peer_new(PEER_TCP, in, 0, SLICE_NONE, state);
	buf_add_fmt(in->why, "bad table \"%s\"; expected tcp:HOST:PORT", in->spec);
	return ERR_SYNTAX;
}

static void add_escaped(struct buf *b, struct slice text)
{
	for (size_t i = 0; i < text.len; i++) {
		unsigned char c = (unsigned char)text.p[i];
		if (c > 32 && c < 127 && c != '%')
			buf_add_char(b, (char)c);
		else
			buf_add_fmt(b, "%%%02X", c);
	}
}

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static int add_unescaped(struct buf *b, struct slice text)
{
	for (size_t i = 0; i < text.len; i++) {
		if (text.p[i] != '%') {
			buf_add_char(b, text.p[i]);
			continue;
		}
		int high = i + 2 < text.len ? hex(text.p[i + 1]) : -1;
		int low = i + 2 < text.len ? hex(text.p[i + 2]) : -1;
		if (high < 0 || low < 0)
			return ERR_SYNTAX;
		buf_add_char(b, (char)(high * 16 + low));
		i += 2;
	}
	return 0;
}

static int tcp_find(void *state, struct slice key, struct later *l, struct buf *value)
{
	const struct map_peer *p = state;
	struct buf request = BUF_INIT(MAP_VALUE_LIMIT);
	struct buf reply = BUF_INIT(4 * MAP_VALUE_LIMIT);
	buf_add_str(&request, "get ");
	add_escaped(&request, key);
	buf_add_char(&request, '\n');
	int r = ask(p, &request, l, &reply);
	struct slice text = slice_trim(buf_slice(&reply));
	if (r == 0 && slice_starts(text, "500"))
		r = ERR_NOT_FOUND;
	else if (r == 0 &&
		 (!slice_starts(text, "200 ") || add_unescaped(value, slice_from(text, 4)) != 0))
		r = failed(p, text);
	buf_clear(&request);
	buf_clear(&reply);
	return r;
}

const struct map_driver map_tcp = {
	"tcp", MAP_SOURCE_NONE, tcp_open, tcp_find, peer_close, NULL, true};
