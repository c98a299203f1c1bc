/* SPDX-License-Identifier: ISC */
#ifndef NET_POOL_H
#define NET_POOL_H

#include "net/stream.h"

/*
 * Requests to an outside service that answers one after the other on a connection: a table over a
 * socket, a policy server. A pool keeps a few connections to it, made when they are needed, used
 * again while they are fresh, and gives each one request at a time; more requests wait in a bounded
 * line. Every request ends by its absolute deadline, whatever the service does:
 *
 *   0            reply is one whole reply, as frame cut it (borrowed, during the call only)
 *   ERR_LIMIT    too many are waiting, or the reply is longer than reply_limit
 *   ERR_SYNTAX   frame found no reply in what came: the connection is closed
 *   ERR_TIMEOUT  the deadline passed
 *   ERR_CLOSED   the connection was refused or lost, as often as tries says
 *
 * A request that is withdrawn leaves its connection to end or to give the late answer to nobody.
 */
struct pool;
struct pool_request;

struct pool_spec {
	const char *name;   /* "unix:/path" or "inet:host:port"; copied */
	unsigned limit;     /* connections at once */
	unsigned waiting;   /* requests without a connection at once */
	unsigned tries;     /* connections that one request may lose; at least 1 */
	int64_t timeout;    /* microseconds from pool_ask to the end of the request */
	int64_t idle, ttl;  /* microseconds: a connection without request; a connection in all */
	unsigned requests;  /* over one connection; 0: any number */
	size_t reply_limit; /* bytes, with its framing */
	/* Bytes of the first reply in input, 0 when it is not whole yet, ERR_SYNTAX: no reply. */
	ptrdiff_t (*frame)(struct slice input);
};

/*
 * Who makes connections: as server_connect (server/server.h), which every daemon uses; a command
 * connects by itself. done comes from the loop; cancel withdraws.
 */
typedef uint64_t pool_connect_fn(
	const char *name, void (*done)(int err, int fd, void *arg), void *arg);
void pool_set_connector(pool_connect_fn *connect, void (*cancel)(uint64_t handle));

struct pool *pool_new(const struct pool_spec *spec); /* owned */
/* Requests that are under way are withdrawn. */
void pool_free(struct pool **p);
const char *pool_name(const struct pool *p);

/*
 * Sends request (copied, at most 128 KB). done is called once, from the loop and never from inside
 * this call; the request is gone then.
 */
typedef void pool_done_fn(void *arg, int err, struct slice reply);
struct pool_request *pool_ask(struct pool *p, struct slice request, pool_done_fn *done, void *arg);
void pool_cancel(struct pool_request **r); /* *r may be NULL */

#endif
