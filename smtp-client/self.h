/* SPDX-License-Identifier: ISC */
#ifndef CLIENT_SELF_H
#define CLIENT_SELF_H

#include "dns/hosts.h"
#include "smtp/reply.h"

/*
 * Which addresses are this system's (inet_interfaces, proxy_interfaces), so that mail for a domain
 * whose best mail exchanger is this one is not sent in a circle.
 */
void self_init(void); /* looks at the interfaces once */
bool self_has(const struct host_addr *a, void *arg);
/* Whether a greeting or a reply to EHLO begins with our own name (myhostname). */
bool self_is_named(const struct reply *r);

#endif
