/* SPDX-License-Identifier: ISC */
#ifndef MAP_NSS_CLIENT_H
#define MAP_NSS_CLIENT_H

#include "ipc/ipc.h"

/*
 * The tables unix:passwd.byname and unix:group.byname for a program that may open nothing: each
 * lookup is a question to the process that asks NSS (ROLE_NSS). A question whose process is away or
 * dies waits for the next one, at most NSS_WAIT_SEC; then the table has failed (ERR_TEMP).
 *
 * The program's server_spec calls these for its peers of that role; the first call of
 * nss_client_init names this client to lib/map.
 */
enum { NSS_WAIT_SEC = 10 };

void nss_client_init(void);
void nss_client_add(struct ipc *c);
void nss_client_msg(struct ipc *c, struct ipc_msg *msg);
void nss_client_remove(struct ipc *c);

#endif
