/* SPDX-License-Identifier: ISC */
#ifndef CONF_CAPACITY_H
#define CONF_CAPACITY_H

#include "conf/master_cf.h"

/* How many sessions (deliveries) a service carries in all, by how many workers, and one worker. */
struct capacity {
	uint64_t sessions, limit;
	unsigned workers;
};

/* settings: the service's own, built. */
struct capacity capacity_of(const struct service *v, const struct conf *settings);

/*
 * Where an inet service listens: visit is called for each address or name ("0.0.0.0", "::1",
 * "mx.test"), by its own host or inet_interfaces, and inet_protocols. is_optional: one of a pair,
 * to be left out where the machine does not have that protocol. Goes on while visit returns 0; its
 * result, or ERR_NOT_FOUND when there is none.
 */
int capacity_walk_addresses(const struct service *v, const struct conf *settings,
	int (*visit)(struct slice host, uint16_t port, int family, bool is_optional, void *arg),
	void *arg);

#endif
