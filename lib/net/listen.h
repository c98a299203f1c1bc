/* SPDX-License-Identifier: ISC */
#ifndef NET_LISTEN_H
#define NET_LISTEN_H

#include <sys/types.h>

#include "net/addr.h"

/*
 * A listening stream socket, non-blocking and close-on-exec. IPv6 sockets take no IPv4; a UNIX
 * socket's name must be free. A taken address is tried until the time (monotonic; 0: once). Blocks:
 * for the start of a program. ERR_SYS with errno.
 */
int net_listen(const struct net_addr *a, int64_t until, int *fd);

/*
 * The same at a UNIX socket's path, whose old socket is removed; mode: who may connect. ERR_LIMIT.
 */
int net_listen_unix(const char *path, mode_t mode, int *fd);

/*
 * The addresses of a host name, one a line, appended to out; of an address, itself. A child without
 * rights asks the system and is given NET_RESOLVE_MSEC; localhost needs no answer (RFC 6761, 6.3).
 * Blocks. ERR_NOT_FOUND: none in time; ERR_SYS. family: AF_UNSPEC, AF_INET or AF_INET6.
 */
enum { NET_RESOLVE_MSEC = 5000 };
int net_resolve(const char *host, int family, struct buf *out);

#endif
