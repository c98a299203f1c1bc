/* SPDX-License-Identifier: ISC */
#ifndef CLIENT_LEVEL_H
#define CLIENT_LEVEL_H

#include "smtp-client/delivery.h"

/*
 * How much of TLS a delivery's next hop gets, and each of its hosts: the policy, what the message
 * itself asks for (RFC 8689), and for the DANE levels the host's records.
 */

/*
 * The policy of d's present site, into d->policy. 0; ERR_LATER: d->later wakes; else d->why says
 * why nothing may be sent there now.
 */
int level_find(struct delivery *d);
/*
 * d->level and d->plain for a host of it. False: d->why says why nothing may be sent to it now.
 */
bool level_choose(struct delivery *d, const char *host, uint16_t port);

/*
 * The message must not travel without TLS, and only to servers that promise the same (REQUIRETLS,
 * RFC 8689). Not where requiretls_enable is no, for servers of one's own, nor to a UNIX socket.
 */
bool level_is_required(const struct delivery *d);

#endif
