/* SPDX-License-Identifier: ISC */
#include "t/client/peer.h"

#include <linux/sockios.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "t/tap.h"
#include "util/err.h"
#include "util/fd.h"
#include "util/mem.h"

struct peer_conn {
	struct peer *peer;
	struct stream *stream;
	bool in_data, held, mailed;
	unsigned accepted;
	char to[64][64];
};

enum { CONNS = 64 };

static void conn_close(struct peer_conn *c)
{
	for (int i = 0; i < CONNS; i++) {
		if (c->peer->conn[i] == c) {
			c->peer->conn[i] = NULL;
		}
	}
	stream_finish(&c->stream);
	mem_free(c);
}

/* False: the connection is gone. */
static bool say(struct peer_conn *c, const char *reply)
{
	if (strcmp(reply, "drop") == 0) {
		conn_close(c);
		return false;
	}
	if (strcmp(reply, "hold") == 0) {
		c->held = true;
		stream_read(c->stream, false);
		return true;
	}
	(void)stream_printf(c->stream, "%s\r\n", reply);
	return true;
}

static bool say_or(struct peer_conn *c, const char *reply, const char *usual)
{
	return say(c, reply != NULL ? reply : usual);
}

static bool say_ehlo(struct peer_conn *c)
{
	struct peer *p = c->peer;
	struct slice rest = slice_str(p->keywords), word;
	if (p->ehlo != NULL) {
		return say(c, p->ehlo);
	}
	(void)stream_printf(c->stream, "250-peer.test\r\n");
	while (slice_token(&rest, ",", &word)) {
		(void)stream_printf(c->stream, "250-%.*s\r\n", SLICE_FMT(word));
	}
	return say(c, "250 HELP");
}

static bool say_rcpt(struct peer_conn *c, struct slice line)
{
	ptrdiff_t at = slice_find(line, '<');
	struct slice to = slice_from(line, (size_t)at + 1);
	if (!c->mailed && c->peer->rcpt == NULL) {
		return say(c, "503 5.5.1 need MAIL");
	}
	if (slice_starts(to, "r4")) {
		return say(c, "450 4.2.1 later");
	}
	if (slice_starts(to, "r5")) {
		return say(c, "550 5.1.1 unknown");
	}
	(void)snprintf(c->to[c->accepted % 64], 64, "%.*s", (int)(to.len < 60 ? to.len : 60), to.p);
	c->accepted++;
	return say_or(c, c->peer->rcpt, "250 2.1.5 Ok");
}

static bool say_dot(struct peer_conn *c)
{
	struct peer *p = c->peer;
	c->in_data = false;
	c->mailed = false;
	p->messages++;
	if (!p->lmtp) {
		return say_or(c, p->dot, "250 2.0.0 Ok: queued as P");
	}
	for (unsigned i = 0; i < c->accepted; i++) {
		const char *to = c->to[i % 64];
		const char *reply = strncmp(to, "d4", 2) == 0   ? "452 4.2.2 full"
				    : strncmp(to, "d5", 2) == 0 ? "552 5.2.2 too full"
								: "250 2.1.5 Saved";
		if (!say(c, reply)) {
			return false;
		}
	}
	return true;
}

static void keep(struct buf *b, struct slice line)
{
	buf_reset(b);
	buf_add_slice(b, line);
}

static bool command(struct peer_conn *c, struct slice line, bool follows)
{
	struct peer *p = c->peer;
	struct slice rest = line, verb;
	(void)slice_token(&rest, " :", &verb);
	buf_add_fmt(&p->commands, "%s%s%.*s", p->commands.len > 0 ? " " : "", follows ? "+" : "",
		SLICE_FMT(verb));
	if (slice_eq_str(verb, "EHLO") || slice_eq_str(verb, "LHLO")) {
		return say_ehlo(c);
	}
	if (slice_eq_str(verb, "HELO")) {
		return say_or(c, p->helo, "250 peer.test");
	}
	if (slice_eq_str(verb, "MAIL")) {
		keep(&p->mail_line, line);
		c->accepted = 0;
		c->mailed = p->mail == NULL || p->mail[0] == '2';
		return say_or(c, p->mail, "250 2.1.0 Ok");
	}
	if (slice_eq_str(verb, "RCPT")) {
		keep(&p->rcpt_line, line);
		return say_rcpt(c, line);
	}
	if (slice_eq_str(verb, "DATA")) {
		bool usual = p->data == NULL;
		c->in_data = usual ? c->accepted > 0 : p->data[0] == '3';
		if (c->in_data) {
			buf_reset(&p->content);
		}
		return usual ? say(c, c->accepted > 0 ? "354 go" : "554 5.5.1 nobody")
			     : say(c, p->data);
	}
	if (slice_eq_str(verb, "RSET")) {
		c->mailed = false;
		return say_or(c, p->rset, "250 2.0.0 Ok");
	}
	if (slice_eq_str(verb, "QUIT")) {
		conn_close(c);
		return false;
	}
	return say(c, "502 5.5.2 what?");
}

/* Content up to the dot; false when it is not whole. */
static bool take_content(struct peer_conn *c, struct slice *in)
{
	struct peer *p = c->peer;
	buf_add_slice(&p->content, *in);
	*in = SLICE_NONE;
	struct slice all = buf_slice(&p->content);
	return slice_eq_str(all, ".\r\n") || slice_ends(all, "\r\n.\r\n");
}

static void on_input(struct stream *s, void *arg)
{
	struct peer_conn *c = arg;
	struct slice in = stream_input(s);
	size_t used = 0;
	bool alive = true;
	for (bool follows = false; alive && !c->held && in.len > used; follows = true) {
		struct slice rest = slice_from(in, used);
		if (c->in_data) {
			used = in.len;
			if (take_content(c, &rest)) {
				alive = say_dot(c);
			}
			continue;
		}
		ptrdiff_t lf = slice_find(rest, '\n');
		if (lf < 0) {
			break;
		}
		used += (size_t)lf + 1;
		alive = command(c, slice_trim(slice_first(rest, (size_t)lf)), follows);
	}
	if (alive) {
		stream_consume(s, used);
	}
}

static void on_end(struct stream *s, int err, void *arg)
{
	conn_close(arg);
}

static void accepted(int what, void *arg)
{
	static const struct stream_events events = {.on_input = on_input, .on_end = on_end};
	struct peer *p = arg;
	struct net_addr from;
	int fd = -1;
	if (net_accept(p->fd, &fd, &from) != 0) {
		return;
	}
	struct peer_conn *c = mem_alloc(sizeof(*c));
	c->peer = p;
	c->stream = stream_new(fd, &events, c, 1 << 20, 1 << 20);
	for (int i = 0; i < CONNS; i++) {
		if (p->conn[i] == NULL) {
			p->conn[i] = c;
			break;
		}
	}
	p->connections++;
	stream_read(c->stream, true);
	(void)say_or(c, p->greeting, "220 peer.test ESMTP");
}

bool peer_start(struct peer *p, const char *address, uint16_t *port)
{
	struct net_addr a;
	int on = 1;
	(void)net_addr_parse(slice_str(address), *port, &a);
	p->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	(void)setsockopt(p->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(p->fd, (struct sockaddr *)&a.ss, a.len) != 0 || listen(p->fd, 50) != 0 ||
		net_local(p->fd, &a) != 0) {
		fd_close(&p->fd);
		return false;
	}
	*port = net_addr_port(&a);
	p->commands = p->mail_line = p->rcpt_line = BUF_INIT(65536);
	p->content = BUF_INIT(64 << 20);
	p->watch = loop_watch_new(p->fd, accepted, p);
	loop_watch_set(p->watch, LOOP_READ);
	peer_reset(p);
	return true;
}

void peer_reset(struct peer *p)
{
	p->greeting = p->ehlo = p->helo = p->mail = p->rcpt = p->data = p->dot = p->rset = NULL;
	p->keywords = "PIPELINING,SIZE 100000000,8BITMIME,SMTPUTF8,DSN";
	p->lmtp = false;
	p->connections = p->messages = 0;
	buf_reset(&p->commands);
	buf_reset(&p->content);
}

void peer_release(struct peer *p, const char *reply)
{
	for (int i = 0; i < CONNS; i++) {
		struct peer_conn *c = p->conn[i];
		if (c != NULL && c->held) {
			c->held = false;
			stream_read(c->stream, true);
			if (say(c, reply)) {
				stream_again(c->stream);
			}
		}
	}
}

/* Until the other end's kernel has what was sent. */
static void arrive(int fd)
{
	int64_t deadline = clock_mono() + 5 * CLOCK_SEC;
	int left = 1;
	while (ioctl(fd, SIOCOUTQ, &left) == 0 && left > 0 && clock_mono() < deadline) {
		loop_once(clock_mono() + CLOCK_MSEC);
	}
}

void peer_say(struct peer *p, const char *text)
{
	for (int i = 0; i < CONNS; i++) {
		if (p->conn[i] != NULL) {
			(void)stream_write_slice(p->conn[i]->stream, slice_str(text));
			stream_flush(p->conn[i]->stream);
			arrive(stream_fd(p->conn[i]->stream));
		}
	}
}

void peer_cut(struct peer *p)
{
	for (int i = 0; i < CONNS; i++) {
		if (p->conn[i] != NULL) {
			conn_close(p->conn[i]);
		}
	}
}

void peer_stop(struct peer *p)
{
	peer_cut(p);
	loop_watch_free(&p->watch);
	fd_close(&p->fd);
}
