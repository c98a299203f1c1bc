/* SPDX-License-Identifier: ISC */
#ifndef ROUTE_ROUTE_PRIV_H
#define ROUTE_ROUTE_PRIV_H

#include "mail/address.h"
#include "map/match.h"
#include "route/route.h"

/* What route.c opens and the other files of this folder use. */
enum { OWN_ADDRESSES = 256, ROUTE_TEXT = 4096, ROUTE_PLAN = 64 };

struct route {
	int what;
	struct match *local, *alias_domains, *mailbox_domains, *relay;
	struct map_list *alias, *local_recipients, *relay_recipients, *mailboxes;
	struct map_list *transports, *direct, *sender_relay, *sender_transport, *relocated, *plans;
	char *own[OWN_ADDRESSES]; /* addresses of inet_interfaces, as text */
	size_t own_n;
	struct address_rules rules;
	const char *delimiters;
	bool may_refuse; /* some setting may lead to error or retry */
};

/* The parameter, or what stands in its place for probes. */
enum param route_param(const struct route *r, enum param p);
/* A domain in tables that hold domains, ".parent" and "*": transport_maps, direct_delivery_maps. */
int route_find_domain(struct route *r, struct map_list *table, struct slice address, bool parents,
	bool star, struct later *l, struct buf *value);
/* The plan of a next hop, by backoff_plan_maps; none leaves *plan empty. 0, ERR_TEMP, ERR_LATER. */
int route_find_plan(struct route *r, struct slice nexthop, struct later *l, struct buf *plan);
/* Is it found in the table of virtual aliases? 0, ERR_NOT_FOUND, ERR_TEMP or ERR_LATER. */
int route_is_alias(struct route *r, struct slice address, struct later *l);
/*
 * What a right-hand side means for the address that it was found for: "@domain" keeps the local
 * part, an unmatched extension is carried over, myorigin and its kin complete it. ERR_SYNTAX,
 * ERR_LIMIT.
 */
int route_complete_entry(struct route *r, struct slice item, struct slice from,
	struct slice extension, struct buf *out);
/* Whether propagate_unmatched_extensions holds the word. */
bool route_list_has(const char *list, const char *word);

#endif
