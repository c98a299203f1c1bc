/* SPDX-License-Identifier: ISC */
#ifndef CLIENT_SERVERS_H
#define CLIENT_SERVERS_H

#include "smtp-client/delivery.h"

/*
 * The servers that a delivery's present next hop leads to: its hosts and their addresses, and where
 * its policy is of DANE what they are known by, as the resolver says it in one answer; without what
 * smtp_dns_reply_filter takes out. With smtp_cname_overrides_servername a host goes by the name
 * behind its aliases.
 */

/* smtp_dns_support_level (lmtp_dns_support_level), disable_dns_lookups. */
enum dns_support { DNS_SUPPORT_DISABLED, DNS_SUPPORT_ENABLED, DNS_SUPPORT_DNSSEC };
enum dns_support servers_dns_support(void);
/* smtp_host_lookup (lmtp_host_lookup) names dns. */
bool servers_use_dns(void);

/* Opens tables; at start, as long as there are rights for it. */
void servers_init(void);
/* Before the first use: how the tables' late answers wake a delivery. */
void servers_attach(struct delivery *d);
/*
 * Finds them. Later, from the event loop, d->hosts is there and delivery_found is called, or d->why
 * says why not and delivery_not_found is.
 */
void servers_find(struct delivery *d);
/* The next hop is an address: d->hosts is there at once. */
void servers_literal(struct delivery *d);
/* Withdraws the question, forgets the answer. */
void servers_forget(struct delivery *d);

#endif
