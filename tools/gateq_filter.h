/* SPDX-License-Identifier: ISC */
#ifndef TOOLS_GATEQ_FILTER_H
#define TOOLS_GATEQ_FILTER_H

#include "tools/gateq.h"

/*
 * Which messages a command is about. All conditions must hold; those of recipients (recipient,
 * site, reason) for one and the same recipient that is not done.
 *
 * A pattern of addresses is, without regard to case:
 *   <>             the null sender
 *   user@domain    that address
 *   user@          that local part, in any domain
 *   @domain, domain  every address of that domain
 *   .domain        every address of its subdomains
 *   one with * or ?  the whole address, as the shell matches names
 * A site is a next hop as the queue has it, a pattern of domains (as above) for the recipient's
 * domain, or a host or the whole name of the site: all next hops behind the same hosts.
 */
struct gateq_filter {
	const char *sender, *recipient, *site, *reason;
	const char *queue; /* names, separated by commas */
	int64_t older;     /* arrived before this; 0: any */
	bool is_set;
};

bool gateq_filter_address(const char *pattern, const char *address);
bool gateq_filter_rcpt(const struct gateq_filter *f, const struct gateq_rcpt *to);
bool gateq_filter_queue(const char *names, const char *queue);
bool gateq_filter_message(const struct gateq_filter *f, const struct gateq_message *m);
/* "90", "15m", "2h", "3d", "1w" before now, as a time. ERR_SYNTAX. */
int gateq_filter_older(const char *text, int64_t now, int64_t *when);
/* The domain of an address; empty: it has none. */
const char *gateq_domain(const char *address);

#endif
