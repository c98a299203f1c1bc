/* SPDX-License-Identifier: ISC */
#ifndef ROUTE_ROUTE_H
#define ROUTE_ROUTE_H

#include "map/map.h"

/*
 * Address classes and routes. Pure but for table lookups: every function may return ERR_TEMP (a
 * table failed) or ERR_LATER (util/later.h: call again when woken), and holds no state between
 * calls. Opened once per process from the settings in force (conf_*); the tables are those of
 * mydestination, relay_domains, virtual_alias_domains, virtual_mailbox_domains,
 * local_recipient_maps, relay_recipient_maps, virtual_alias_maps, virtual_mailbox_maps,
 * transport_maps, direct_delivery_maps, and their kin. Addresses are in internal form
 * (mail/address.h).
 */
enum route_class {
	ROUTE_LOCAL = 1,       /* mydestination, inet_interfaces literals, no domain */
	ROUTE_VIRTUAL_ALIAS,   /* virtual_alias_domains */
	ROUTE_VIRTUAL_MAILBOX, /* virtual_mailbox_domains */
	ROUTE_RELAY,           /* relay_domains */
	ROUTE_DEFAULT,         /* everything else */
};

struct route;

/* what: ROUTE_FOR_* below. why: the parameter and what is wrong with it. ERR_SYNTAX. */
enum {
	ROUTE_FOR_CLASS = 1,
	ROUTE_FOR_RECIPIENTS = 2,
	ROUTE_FOR_ROUTES = 4,
	ROUTE_FOR_ALL = 7,
	ROUTE_FOR_PROBES = 8, /* with ROUTES: by address_verify_transport_maps and its kin */
	ROUTE_FOR_PLANS = 16, /* with ROUTES: plans of backoff_plan_maps, too */
	/* Alone, for tables of addresses: mydestination is the only list; the rest is default. */
	ROUTE_FOR_MAPPING = 32,
};
int route_open(int what, struct buf *why, struct route **r);
void route_close(struct route **r);

const char *route_class_name(enum route_class c); /* "local", "virtual-alias", … */

/* The class of a domain (internal form, any case; a literal with its brackets). */
int route_classify(struct route *r, struct slice domain, struct later *l, enum route_class *class);

/* Whether the address (text without brackets) is one of this machine's, by inet_interfaces and
 * proxy_interfaces. */
bool route_is_own_address(const struct route *r, struct slice ip);

/* Completes a configured address by myorigin and its kin. ERR_LIMIT. */
int route_complete(const struct route *r, struct slice address, struct buf *out);
const struct address_rules *route_rules(const struct route *r);

/*
 * Whether the recipient exists, as far as the tables of its class know (ROUTE_FOR_RECIPIENTS): 0
 * yes, or the class keeps no list; ERR_NOT_FOUND certainly not. Looks in virtual_alias_maps first,
 * for every class, as smtpd does at RCPT; recipient_delimiter is honoured. *table is set to
 * Postfix's words for the reply ("local recipient table"), a constant.
 */
int route_recipient_exists(struct route *r, struct slice address, struct later *l,
	enum route_class *class, const char **table);

/* The buffers are reset first. */
struct route_result {
	enum route_class class;
	struct buf transport; /* name as in master.cf: "smtp", "relay", "local", "error", … */
	struct buf nexthop;   /* "[host]:port", "domain", "host1, host2"; empty for local */
	/* What user%far@here and its kin mean, user@far, and who is to be named to the next hop;
	 * empty: the recipient as it is. */
	struct buf address;
	struct buf plan;   /* name of a back-off plan (backoff_plan_maps), or empty */
	unsigned via;      /* QUEUE_VIA_*: a relay, or hosts of direct_delivery_maps */
	bool is_relocated; /* from relocated_maps */
};
void route_result_init(struct route_result *out);
void route_result_clear(struct route_result *out);

/*
 * Where a recipient goes (ROUTE_FOR_ALL): transport_maps, direct_delivery_maps, the class's
 * transport, sender-independent relayhost, the domain; relocated_maps stands before them. An
 * unknown recipient of an own class, or an address with routing tricks, is a route to "error" with
 * its text as next hop ("5.1.1 User unknown …").
 */
int route_resolve(struct route *r, struct slice recipient, struct slice sender, struct later *l,
	struct route_result *out);

/*
 * Would the recipient be answered at once, by the transport error or retry, and no alias of
 * virtual_alias_maps leads it elsewhere (ROUTE_FOR_ALL)? That an address of a virtual alias domain
 * is unknown is for route_recipient_exists to say. 0 with the text ("5.1.1 User …"; text is reset
 * first) and whether it is retry; ERR_NOT_FOUND: it would not. Asks nothing where the settings make
 * no such route.
 */
int route_refusal(struct route *r, struct slice recipient, struct slice sender, struct later *l,
	bool *is_temporary, struct buf *text);

/*
 * Virtual aliasing of one recipient (virtual_alias_maps): recursively, at most
 * virtual_alias_expansion_limit results and virtual_alias_recursion_limit levels, without
 * duplicates. Calls add for each final address. ERR_LIMIT: over a limit (5.x or 4.x as Postfix: see
 * why).
 */
int route_expand(struct route *r, struct slice recipient, struct later *l,
	void (*add)(struct slice address, void *arg), void *arg, struct buf *why);

/*
 * A table of addresses: user+ext@domain, user@domain, user+ext, user (own domains), @domain, as the
 * flags say. value is reset first.
 */
enum {
	ROUTE_KEY_FULL = 1,   /* user@domain, with and without extension */
	ROUTE_KEY_USER = 2,   /* user alone, where the domain is local */
	ROUTE_KEY_DOMAIN = 4, /* @domain */
};
int route_find_address(struct route *r, struct map_list *table, struct slice address, int keys,
	struct later *l, struct buf *value, struct buf *extension);
/*
 * One address to another by such a table, as in canonical(5) and generic(5), once: all keys, the
 * extension carried over when propagate says so, the result completed. out is reset.
 * ERR_NOT_FOUND: it stays as it is; ERR_SYNTAX, ERR_LIMIT: what was found is no address.
 */
int route_map_address(struct route *r, struct map_list *table, struct slice address, bool propagate,
	struct later *l, struct buf *out);

#endif
