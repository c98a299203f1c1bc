/* SPDX-License-Identifier: ISC */
#include "route/route_priv.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <netinet/in.h>

#include "conf/conf.h"
#include "util/err.h"
#include "util/mem.h"

static const char separators[] = ", \t\r\n";

bool route_list_has(const char *list, const char *word)
{
	struct slice rest = slice_str(list), item;

	while (slice_token(&rest, separators, &item))
		if (slice_eq_str(item, word))
			return true;
	return false;
}

/* Own addresses: what inet_interfaces and proxy_interfaces name, or all that the machine has. */

static void add_own(struct route *r, struct slice address)
{
	if (r->own_n < OWN_ADDRESSES)
		r->own[r->own_n++] = slice_dup(address);
}

static void add_interfaces(struct route *r)
{
	struct ifaddrs *all = NULL;

	if (getifaddrs(&all) != 0)
		return;
	for (struct ifaddrs *i = all; i != NULL; i = i->ifa_next) {
		char text[INET6_ADDRSTRLEN];
		const void *from;

		if (i->ifa_addr == NULL)
			continue;
		if (i->ifa_addr->sa_family == AF_INET)
			from = &((const struct sockaddr_in *)(const void *)i->ifa_addr)->sin_addr;
		else if (i->ifa_addr->sa_family == AF_INET6)
			from = &((const struct sockaddr_in6 *)(const void *)i->ifa_addr)->sin6_addr;
		else
			continue;
		if (inet_ntop(i->ifa_addr->sa_family, from, text, sizeof(text)) != NULL)
			add_own(r, slice_str(text));
	}
	freeifaddrs(all);
}

static void find_own(struct route *r, enum param p)
{
	struct slice rest = slice_str(conf_str(p)), item;

	while (slice_token(&rest, separators, &item)) {
		if (slice_case_eq_str(item, "all") || slice_case_eq_str(item, "loopback-only"))
			add_interfaces(r);
		else {
			if (item.len > 2 && item.p[0] == '[' && item.p[item.len - 1] == ']')
				item = slice_of(item.p + 1, item.len - 2);
			add_own(r, item);
		}
	}
}

/* Opening. */

static int open_match(const char *name, enum param p, struct buf *why, struct match **m)
{
	int flags = route_list_has(conf_str(P_parent_domain_matches_subdomains), name)
			    ? MATCH_PARENT
			    : 0;
	int err = match_open(conf_str(p), flags, why, m);

	if (err != 0)
		buf_add_fmt(why, " (in %s)", name);
	return err;
}

enum param route_param(const struct route *r, enum param p)
{
	static const enum param probes[][2] = {
		{P_transport_maps, P_address_verify_transport_maps},
		{P_local_transport, P_address_verify_local_transport},
		{P_virtual_transport, P_address_verify_virtual_transport},
		{P_relay_transport, P_address_verify_relay_transport},
		{P_default_transport, P_address_verify_default_transport},
		{P_relayhost, P_address_verify_relayhost},
		{P_sender_dependent_relayhost_maps,
			P_address_verify_sender_dependent_relayhost_maps},
		{P_sender_dependent_default_transport_maps,
			P_address_verify_sender_dependent_default_transport_maps},
	};

	for (size_t i = 0; (r->what & ROUTE_FOR_PROBES) && i < sizeof(probes) / sizeof(*probes);
		i++)
		if (probes[i][0] == p)
			return probes[i][1];
	return p;
}

static int open_list(enum param p, struct buf *why, struct map_list **list)
{
	int err = map_list_open(conf_str(p), why, list);

	if (err != 0)
		buf_add_fmt(why, " (in %s)", conf_name(p));
	return err;
}

static int open_classes(struct route *r, struct buf *why)
{
	int err = open_match("mydestination", P_mydestination, why, &r->local);

	if (r->what & ROUTE_FOR_MAPPING)
		return err;
	if (err == 0)
		err = open_match(
			"virtual_alias_domains", P_virtual_alias_domains, why, &r->alias_domains);
	if (err == 0)
		err = open_match("virtual_mailbox_domains", P_virtual_mailbox_domains, why,
			&r->mailbox_domains);
	if (err == 0)
		err = open_match("relay_domains", P_relay_domains, why, &r->relay);
	return err;
}

static int open_recipients(struct route *r, struct buf *why)
{
	int err = open_list(P_virtual_alias_maps, why, &r->alias);

	if (err == 0)
		err = open_list(P_local_recipient_maps, why, &r->local_recipients);
	if (err == 0)
		err = open_list(P_relay_recipient_maps, why, &r->relay_recipients);
	if (err == 0)
		err = open_list(P_virtual_mailbox_maps, why, &r->mailboxes);
	return err;
}

static int open_routes(struct route *r, struct buf *why)
{
	int err = 0;

	if (r->alias == NULL)
		err = open_list(P_virtual_alias_maps, why, &r->alias);
	if (err == 0)
		err = open_list(route_param(r, P_transport_maps), why, &r->transports);
	if (err == 0)
		err = open_list(P_relocated_maps, why, &r->relocated);
	if (err == 0)
		err = open_list(P_direct_delivery_maps, why, &r->direct);
	if (err == 0 && (r->what & ROUTE_FOR_PLANS))
		err = open_list(P_backoff_plan_maps, why, &r->plans);
	if (err == 0)
		err = open_list(
			route_param(r, P_sender_dependent_relayhost_maps), why, &r->sender_relay);
	if (err == 0)
		err = open_list(route_param(r, P_sender_dependent_default_transport_maps), why,
			&r->sender_transport);
	return err;
}

static bool is_refusing(const char *transport)
{
	struct slice name = slice_first(slice_str(transport), strcspn(transport, ":"));

	return slice_eq_str(slice_trim(name), "error") || slice_eq_str(slice_trim(name), "retry");
}

static bool may_refuse(const struct route *r)
{
	static const enum param transports[] = {
		P_local_transport, P_virtual_transport, P_relay_transport, P_default_transport};

	for (size_t i = 0; i < sizeof(transports) / sizeof(transports[0]); i++)
		if (is_refusing(conf_str(route_param(r, transports[i]))))
			return true;
	return !map_list_is_empty(r->transports) || !map_list_is_empty(r->sender_transport) ||
	       !map_list_is_empty(r->relocated);
}

static void set_rules(struct route *r)
{
	if (conf_bool(P_append_at_myorigin))
		r->rules.origin = slice_str(conf_str(P_myorigin));
	if (conf_bool(P_append_dot_mydomain))
		r->rules.domain = slice_str(conf_str(P_mydomain));
	r->rules.percent_hack = conf_bool(P_allow_percent_hack);
	r->rules.swap_bangpath = conf_bool(P_swap_bangpath);
	r->delimiters = conf_str(P_recipient_delimiter);
}

int route_open(int what, struct buf *why, struct route **out)
{
	struct route *r = mem_alloc(sizeof(*r));
	int err;

	*out = NULL;
	r->what = what;
	set_rules(r);
	find_own(r, P_inet_interfaces);
	find_own(r, P_proxy_interfaces);
	err = open_classes(r, why);
	if (err == 0 && (what & ROUTE_FOR_RECIPIENTS))
		err = open_recipients(r, why);
	if (err == 0 && (what & ROUTE_FOR_ROUTES))
		err = open_routes(r, why);
	if (err == 0 && (what & ROUTE_FOR_ROUTES))
		r->may_refuse = may_refuse(r);
	if (err != 0) {
		route_close(&r);
		return err;
	}
	*out = r;
	return 0;
}

void route_close(struct route **rp)
{
	struct route *r = *rp;

	if (r == NULL)
		return;
	*rp = NULL;
	match_close(&r->local);
	match_close(&r->alias_domains);
	match_close(&r->mailbox_domains);
	match_close(&r->relay);
	map_list_close(&r->alias);
	map_list_close(&r->local_recipients);
	map_list_close(&r->relay_recipients);
	map_list_close(&r->mailboxes);
	map_list_close(&r->transports);
	map_list_close(&r->direct);
	map_list_close(&r->relocated);
	map_list_close(&r->plans);
	map_list_close(&r->sender_relay);
	map_list_close(&r->sender_transport);
	while (r->own_n > 0)
		mem_free(r->own[--r->own_n]);
	mem_free(r);
}

const char *route_class_name(enum route_class c)
{
	static const char *const names[] = {
		"none", "local", "virtual-alias", "virtual-mailbox", "relay", "default"};

	return (unsigned)c < sizeof(names) / sizeof(names[0]) ? names[c] : "none";
}

int route_complete(const struct route *r, struct slice address, struct buf *out)
{
	return address_complete(address, &r->rules, out);
}

const struct address_rules *route_rules(const struct route *r)
{
	return &r->rules;
}

/* Classes. */

bool route_is_own_address(const struct route *r, struct slice ip)
{
	for (size_t i = 0; i < r->own_n; i++)
		if (slice_case_eq_str(ip, r->own[i]))
			return true;
	return false;
}

int route_classify(struct route *r, struct slice domain, struct later *l, enum route_class *class)
{
	const struct {
		struct match *domains;
		enum route_class class;
	} order[] = {
		{r->local, ROUTE_LOCAL},
		{r->alias_domains, ROUTE_VIRTUAL_ALIAS},
		{r->mailbox_domains, ROUTE_VIRTUAL_MAILBOX},
		{r->relay, ROUTE_RELAY},
	};
	struct slice ip;

	*class = ROUTE_DEFAULT;
	if (domain.len == 0) {
		*class = ROUTE_LOCAL;
		return 0;
	}
	if (address_is_literal(domain, &ip)) {
		if (route_is_own_address(r, ip))
			*class = ROUTE_LOCAL;
		return 0;
	}
	for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
		int err = match_domain(order[i].domains, domain, l);

		if (err == ERR_NOT_FOUND)
			continue;
		if (err == 0)
			*class = order[i].class;
		return err;
	}
	return 0;
}

/* Recipients. */

static int exists_in(
	struct route *r, struct map_list *table, struct slice address, int keys, struct later *l)
{
	struct buf value = BUF_INIT(MAP_VALUE_LIMIT);
	int err;

	if (map_list_is_empty(table))
		return 0;
	err = route_find_address(r, table, address, keys, l, &value, NULL);
	buf_clear(&value);
	return err;
}

int route_is_alias(struct route *r, struct slice address, struct later *l)
{
	if (map_list_is_empty(r->alias))
		return ERR_NOT_FOUND;
	return exists_in(
		r, r->alias, address, ROUTE_KEY_FULL | ROUTE_KEY_USER | ROUTE_KEY_DOMAIN, l);
}

int route_recipient_exists(struct route *r, struct slice address, struct later *l,
	enum route_class *class, const char **table)
{
	struct slice local, domain;
	int err;

	*table = "";
	address_split(address, &local, &domain);
	err = route_classify(r, domain, l, class);
	if (err != 0)
		return err;
	err = route_is_alias(r, address, l);
	if (err != ERR_NOT_FOUND)
		return err;
	switch (*class) {
	case ROUTE_LOCAL:
		*table = "local recipient table";
		return exists_in(r, r->local_recipients, address,
			ROUTE_KEY_FULL | ROUTE_KEY_USER | ROUTE_KEY_DOMAIN, l);
	case ROUTE_VIRTUAL_ALIAS: *table = "virtual alias table"; return ERR_NOT_FOUND;
	case ROUTE_VIRTUAL_MAILBOX:
		*table = "virtual mailbox table";
		return exists_in(r, r->mailboxes, address, ROUTE_KEY_FULL | ROUTE_KEY_DOMAIN, l);
	case ROUTE_RELAY:
		*table = "relay recipient table";
		return exists_in(
			r, r->relay_recipients, address, ROUTE_KEY_FULL | ROUTE_KEY_DOMAIN, l);
	case ROUTE_DEFAULT: break;
	}
	return 0;
}
