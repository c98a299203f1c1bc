/* SPDX-License-Identifier: ISC */
#include "smtpd/proxy.h"

#include "smtp/proxy.h"
#include "smtpd/starttls.h"
#include "util/err.h"
#include "util/log.h"

void proxy_begin(struct session *s)
{
	s->state = PROXY;
	/* The client's handshake may come right behind it, and is for TLS to read. */
	stream_read_most(s->stream, starttls_is_first() ? 1 : 0);
	stream_deadline(s->stream, loop_now() + settings.proxy_timeout);
	stream_read(s->stream, true);
}

static void refuse(struct session *s, const char *why)
{
	log_warning("haproxy read from [%s]:%u: %s", s->addr, s->port, why);
	session_drop(s);
}

static bool use(struct session *s, const struct smtp_proxy *p)
{
	struct net_addr client, server;

	if (net_addr_parse(slice_str(p->client), p->client_port, &client) != 0 ||
		net_addr_parse(slice_str(p->server), p->server_port, &server) != 0)
		return false;
	/* Through this, as a mapped IPv4 address is the IPv4 address. */
	net_addr_text(&client, s->addr);
	net_addr_text(&server, s->server_addr);
	s->port = p->client_port;
	s->server_port = p->server_port;
	return true;
}

void proxy_input(struct session *s)
{
	struct smtp_proxy p;
	size_t used = 0;
	int err = smtp_proxy_parse(stream_input(s->stream), &p, &used);

	if (err == ERR_AGAIN)
		return;
	if (err == 0 && !p.is_own && !use(s, &p))
		err = ERR_SYNTAX;
	if (err != 0) {
		refuse(s, err == ERR_LIMIT ? "header is too long" : "malformed header");
		return;
	}
	stream_consume(s->stream, used);
	stream_deadline(s->stream, CLOCK_NEVER);
	stream_read(s->stream, false);
	stream_read_most(s->stream, 0);
	session_identify(s);
}

void proxy_end(struct session *s, int err)
{
	refuse(s, err == ERR_TIMEOUT ? "timeout" : "lost connection");
}
