/* SPDX-License-Identifier: ISC */
#ifndef SMTP_PROXY_H
#define SMTP_PROXY_H

#include <netinet/in.h>

#include "util/slice.h"

/*
 * The header that a load balancer puts in front of a connection: PROXY protocol (HAProxy), version
 * 1 (a line of text) and 2 (binary). Pure.
 */
enum {
	PROXY_V1_LIMIT = 107, /* bytes of the line with CRLF, as the protocol says */
	PROXY_V2_LIMIT = 4096 /* bytes behind the first 16: addresses and extensions */
};

struct smtp_proxy {
	/*
	 * The connection is the proxy's own (LOCAL), or one whose addresses it does not know: those
	 * of the socket hold. Nothing below is set.
	 */
	bool is_own;
	char client[INET6_ADDRSTRLEN], server[INET6_ADDRSTRLEN];
	uint16_t client_port, server_port;
};

/*
 * 0: *used bytes of in are the header. ERR_AGAIN: it is not complete. ERR_SYNTAX: it is none, or
 * not one for a stream of IPv4 or IPv6. ERR_LIMIT: too long.
 */
int smtp_proxy_parse(struct slice in, struct smtp_proxy *p, size_t *used);

#endif
