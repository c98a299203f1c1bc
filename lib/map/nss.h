/* SPDX-License-Identifier: ISC */
#ifndef MAP_NSS_H
#define MAP_NSS_H

#include "util/buf.h"

/*
 * What stands behind unix:passwd.byname and unix:group.byname, asked of NSS in this process: for
 * commands and for the process that answers all daemons. It may open files and sockets and take
 * its time. The value is a line of passwd(5) or group(5), with "x" for the password.
 *
 * name is "passwd.byname" or "group.byname". 0, ERR_NOT_FOUND (certainly no such user), ERR_TEMP.
 */
int map_nss_find(struct slice name, struct slice key, struct buf *value);

#endif
