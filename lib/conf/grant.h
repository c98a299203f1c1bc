/* SPDX-License-Identifier: ISC */
#ifndef CONF_GRANT_H
#define CONF_GRANT_H

#include "conf/set.h"

/*
 * What a worker may ask master for: tables, files and sockets that stand in a parameter of its own
 * program, and next hops of tables below the directories for them. Pure: decides, opens nothing.
 * settings: the worker's, built; programs: what it is (PROG_…).
 */

/* A table ("type:name", "later:" before it or not) or a match list's file. */
bool grant_table(const struct conf *settings, unsigned programs, struct slice spec);
/*
 * "unix:PATH", "inet:host:port": in a parameter as a whole word; what stands before and behind it
 * is no part of a name.
 */
bool grant_socket(const struct conf *settings, unsigned programs, const char *name);
/*
 * real (links followed) is below one of unix_nexthop_directories, their links followed too. Looks
 * at the file system.
 */
bool grant_nexthop(const struct conf *settings, const char *real);

/*
 * The socket that a name stands for: "inet:host:port" or "tcp:host:port" with an address or
 * localhost, "unix:/path". 0; EINVAL: no such form; EDESTADDRREQ, ENAMETOOLONG.
 */
struct net_addr;
int grant_address(const char *name, struct net_addr *a);

#endif
