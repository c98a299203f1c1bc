/* SPDX-License-Identifier: ISC */
#ifndef NET_ADDR_H
#define NET_ADDR_H

#include <sys/socket.h>

#include "util/buf.h"

/* Internet and UNIX addresses, and the sockets made from them. No name is looked up here. */
struct net_addr {
	struct sockaddr_storage ss;
	socklen_t len; /* 0: none */
};

enum { NET_ADDR_TEXT = 112 };

/* "192.0.2.1", "2001:db8::1" (an "IPv6:" prefix is accepted). ERR_SYNTAX. */
int net_addr_parse(struct slice text, uint16_t port, struct net_addr *a);
int net_addr_unix(const char *path, struct net_addr *a); /* ERR_LIMIT: too long */
/* Without port; IPv6-mapped IPv4 as IPv4; UNIX: the path. Terminated. */
void net_addr_text(const struct net_addr *a, char text[NET_ADDR_TEXT]);
uint16_t net_addr_port(const struct net_addr *a);
int net_addr_family(const struct net_addr *a); /* AF_INET for mapped addresses */
bool net_addr_eq(const struct net_addr *a, const struct net_addr *b); /* ports too */
/* ERR_SYS. */
int net_peer(int fd, struct net_addr *a);
int net_local(int fd, struct net_addr *a);
/* Who is at the other end of a UNIX socket, from the kernel. ERR_SYS. */
int net_peer_uid(int fd, uid_t *uid);

/*
 * Begins to connect, non-blocking; from may be NULL. 0 even while in progress: writable when done,
 * then net_connect_result gives 0 or ERR_SYS with errno set.
 */
int net_connect(const struct net_addr *to, const struct net_addr *from, int *fd);
int net_connect_result(int fd);
/* accept4, close-on-exec and non-blocking. ERR_AGAIN; ERR_SYS. */
int net_accept(int listener, int *fd, struct net_addr *peer);

#endif
