/* SPDX-License-Identifier: ISC */
#ifndef CLIENT_SOURCE_H
#define CLIENT_SOURCE_H

#include "net/addr.h"
#include "smtp-client/delivery.h"

/*
 * The address that connections come from: smtp_bind_address and smtp_bind_address6, or the one
 * address of that protocol that inet_interfaces names, unless it is a loopback address.
 */

/* A parameter that is no address ends the program. */
void source_init(void);
/*
 * Begins to connect. ERR_SYS: errno says why. With smtp_bind_address_enforce, where the address is
 * not there, errno is 0 and d->why says so; else another one serves, with a warning.
 */
int source_connect(struct delivery *d, const struct net_addr *to, int *fd);

#endif
