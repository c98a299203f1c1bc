/* SPDX-License-Identifier: ISC */
#include "route/route_priv.h"

#include "conf/conf.h"
#include "queue/envelope.h"
#include "util/err.h"

enum { FOLLOW_LIMIT = 10 };

void route_result_init(struct route_result *out)
{
	*out = (struct route_result){.class = ROUTE_DEFAULT,
		.transport = BUF_INIT(128),
		.nexthop = BUF_INIT(ROUTE_TEXT),
		.address = BUF_INIT(ADDRESS_LIMIT),
		.plan = BUF_INIT(ROUTE_PLAN)};
}

void route_result_clear(struct route_result *out)
{
	buf_clear(&out->transport);
	buf_clear(&out->nexthop);
	buf_clear(&out->address);
	buf_clear(&out->plan);
}

static void set(struct buf *b, struct slice s)
{
	buf_reset(b);
	buf_add_slice(b, s);
}

static bool is_answer(struct slice transport)
{
	return slice_eq_str(transport, "error") || slice_eq_str(transport, "retry");
}

/*
 * "transport:nexthop" over what is there already. Either part may be empty: no transport keeps the
 * present one; a transport without next hop goes to fallback.
 */
static void apply(struct route_result *out, struct slice value, struct slice fallback)
{
	ptrdiff_t colon = slice_find(value, ':');
	struct slice transport = slice_first(value, colon >= 0 ? (size_t)colon : value.len);
	struct slice nexthop = colon >= 0 ? slice_from(value, (size_t)colon + 1) : SLICE_NONE;

	transport = slice_trim(transport);
	nexthop = slice_trim(nexthop);
	if (nexthop.len == 0 && is_answer(transport))
		nexthop = SLICE_LIT("Address is undeliverable");
	if (transport.len > 0 || nexthop.len > 0)
		out->via = 0;
	if (transport.len > 0) {
		set(&out->transport, transport);
		set(&out->nexthop, nexthop.len > 0 ? nexthop : fallback);
	} else if (nexthop.len > 0)
		set(&out->nexthop, nexthop);
}

static struct slice setting(const struct route *r, enum param p)
{
	return slice_str(conf_str(route_param(r, p)));
}

/* What a table says of the sender; the null sender is asked for as empty. Not found: nothing. */
static int find_sender(struct route *r, struct map_list *table, struct slice sender,
	enum param empty, struct later *l, struct buf *value)
{
	struct slice key = sender.len > 0 ? sender : slice_str(conf_str(empty));
	int err;

	if (map_list_is_empty(table))
		return ERR_NOT_FOUND;
	err = route_find_address(r, table, key, ROUTE_KEY_FULL | ROUTE_KEY_DOMAIN, l, value, NULL);
	if (err == 0 && slice_case_eq_str(buf_slice(value), "DUNNO"))
		err = ERR_NOT_FOUND;
	return err;
}

/* relayhost in force for this sender; not found: none. */
static int find_relay(struct route *r, struct slice sender, struct later *l, struct buf *value)
{
	struct slice relayhost = setting(r, P_relayhost);
	int err = find_sender(
		r, r->sender_relay, sender, P_empty_address_relayhost_maps_lookup_key, l, value);

	if (err == ERR_NOT_FOUND && relayhost.len > 0) {
		set(value, relayhost);
		err = 0;
	}
	return err;
}

/* An own next hop in the transport's setting, else a relay, else the domain. */
static int route_off_host(struct route *r, struct slice transport, struct slice domain,
	struct slice sender, struct later *l, struct route_result *out)
{
	struct buf relay = BUF_INIT(MAP_VALUE_LIMIT);
	int err = 0;

	apply(out, transport, SLICE_NONE);
	if (out->nexthop.len == 0) {
		err = find_relay(r, sender, l, &relay);
		if (err == 0) {
			set(&out->nexthop, buf_slice(&relay));
			out->via = 1;
		} else if (err == ERR_NOT_FOUND) {
			set(&out->nexthop, domain);
			err = 0;
		}
	}
	buf_clear(&relay);
	return err;
}

static int route_default(struct route *r, struct slice domain, struct slice sender, struct later *l,
	struct route_result *out)
{
	struct buf own = BUF_INIT(MAP_VALUE_LIMIT);
	int err = find_sender(r, r->sender_transport, sender,
		P_empty_address_default_transport_maps_lookup_key, l, &own);

	if (err == ERR_NOT_FOUND || (err == 0 && own.len == 0)) {
		set(&own, setting(r, P_default_transport));
		err = 0;
	}
	if (err == 0)
		err = route_off_host(r, buf_slice(&own), domain, sender, l, out);
	/* Other than in transport_maps, an entry without transport means nothing. */
	if (err == 0 && out->transport.len == 0)
		err = ERR_TEMP;
	buf_clear(&own);
	return err;
}

static void route_error(struct route_result *out, const char *text)
{
	set(&out->transport, SLICE_LIT("error"));
	set(&out->nexthop, slice_str(text));
	out->via = 0;
}

static int route_by_class(struct route *r, struct slice domain, struct slice sender,
	struct later *l, struct route_result *out)
{
	struct slice fallback = domain.len > 0 ? domain : slice_str(conf_str(P_myhostname));

	switch (out->class) {
	case ROUTE_LOCAL: apply(out, setting(r, P_local_transport), fallback); return 0;
	case ROUTE_VIRTUAL_ALIAS:
		route_error(out, conf_bool(P_show_user_unknown_table_name)
					 ? "5.1.1 User unknown in virtual alias table"
					 : "5.1.1 User unknown");
		return 0;
	case ROUTE_VIRTUAL_MAILBOX: apply(out, setting(r, P_virtual_transport), fallback); return 0;
	case ROUTE_RELAY:
		return route_off_host(r, setting(r, P_relay_transport), domain, sender, l, out);
	case ROUTE_DEFAULT: return route_default(r, domain, sender, l, out);
	}
	return 0;
}

/* via, with so many hosts before. */
static unsigned behind(struct slice hosts, unsigned via)
{
	struct slice host;

	while (via > 0 && via < QUEUE_VIA_RELAY && slice_token(&hosts, ", \t", &host))
		via++;
	return via;
}

/* direct_delivery_maps: the hosts of the entry, then, if asked for, what the rules would say. */
static int apply_direct(struct route *r, struct slice recipient, struct later *l,
	struct route_result *out, struct buf *value)
{
	struct buf rules = BUF_INIT(ROUTE_TEXT);
	int err = route_find_domain(r, r->direct, recipient, false, false, l, value);

	if (err != 0)
		return err;
	set(&rules, buf_slice(&out->nexthop));
	set(&out->nexthop, slice_trim(buf_slice(value)));
	if (conf_bool(P_direct_delivery_fallback)) {
		out->via = behind(buf_slice(value), out->via);
		buf_add_str(&out->nexthop, ", ");
		buf_add_slice(&out->nexthop, buf_slice(&rules));
	} else
		out->via = QUEUE_VIA_ONLY;
	buf_clear(&rules);
	return 0;
}

static int apply_tables(struct route *r, struct slice recipient, struct slice domain,
	struct later *l, struct route_result *out)
{
	bool parents =
		route_list_has(conf_str(P_parent_domain_matches_subdomains), "transport_maps");
	struct buf value = BUF_INIT(MAP_VALUE_LIMIT);
	int err = route_find_domain(r, r->transports, recipient, parents, true, l, &value);

	if (err == 0)
		apply(out, buf_slice(&value), domain);
	else if (err == ERR_NOT_FOUND) {
		err = 0;
		if (out->class == ROUTE_RELAY || out->class == ROUTE_DEFAULT)
			err = apply_direct(r, recipient, l, out, &value);
		if (err == ERR_NOT_FOUND)
			err = 0;
	}
	buf_clear(&value);
	return err;
}

/* Who has moved cannot be reached here any more, whatever the other rules say. */
static int apply_relocated(
	struct route *r, struct slice recipient, struct later *l, struct route_result *out)
{
	const char *prefix = conf_bool(P_relocated_prefix_enable) ? "5.1.6 User has moved to " : "";
	struct buf value = BUF_INIT(MAP_VALUE_LIMIT);
	int err = route_find_address(r, r->relocated, recipient,
		ROUTE_KEY_FULL | ROUTE_KEY_USER | ROUTE_KEY_DOMAIN, l, &value, NULL);

	if (err == 0) {
		out->is_relocated = true;
		route_error(out, prefix);
		buf_add_slice(&out->nexthop, buf_slice(&value));
	}
	buf_clear(&value);
	return err == ERR_NOT_FOUND ? 0 : err;
}

/* user%far@here means user@far: address is replaced until nothing is left to follow. */
static int follow(struct route *r, struct buf *address, struct later *l, enum route_class *class)
{
	struct buf next = BUF_INIT(ADDRESS_LIMIT);
	int err = 0;

	for (int i = 0; err == 0; i++) {
		struct slice local, domain;

		address_split(buf_slice(address), &local, &domain);
		err = route_classify(r, domain, l, class);
		if (err != 0 || *class != ROUTE_LOCAL || domain.len == 0 || i == FOLLOW_LIMIT ||
			!address_has_route(local, &r->rules))
			break;
		err = address_follow_route(local, &r->rules, &next);
		if (err == 0)
			set(address, buf_slice(&next));
	}
	buf_clear(&next);
	return err == ERR_NOT_FOUND ? 0 : err;
}

static bool is_numeric(struct slice domain)
{
	struct buf literal = BUF_INIT(64);
	bool is;

	if (domain.len < 7 || domain.len > 15)
		return false;
	buf_add_fmt(&literal, "[%.*s]", SLICE_FMT(domain));
	is = address_is_literal(buf_slice(&literal), NULL);
	buf_clear(&literal);
	return is;
}

/* "user@" and "user@192.0.2.1" mean something only where parameters say so. False: nothing. */
static bool take_odd(struct slice recipient, struct buf *address)
{
	struct slice local, domain;

	address_split(recipient, &local, &domain);
	if (domain.p != NULL && domain.len == 0 && !conf_bool(P_resolve_null_domain))
		return false;
	if (!is_numeric(domain)) {
		buf_add_slice(address, recipient);
		return true;
	}
	buf_add_fmt(address, "%.*s@[%.*s]", SLICE_FMT(local), SLICE_FMT(domain));
	return conf_bool(P_resolve_numeric_domain);
}

/*
 * What comes back to the sender of notices to the postmaster goes nowhere, or there would be
 * bounces of bounces; nor need there be a user of that name.
 */
static void discard_double_bounce(
	struct slice address, struct slice local, struct route_result *out)
{
	struct slice own = slice_str(conf_str(P_double_bounce_sender));

	if (out->class != ROUTE_LOCAL ||
		!slice_case_eq(slice_find(own, '@') < 0 ? local : address, own))
		return;
	set(&out->transport, SLICE_LIT("discard"));
	set(&out->nexthop, SLICE_LIT("undeliverable postmaster notification discarded"));
	out->via = 0;
}

int route_resolve(struct route *r, struct slice recipient, struct slice sender, struct later *l,
	struct route_result *out)
{
	struct buf address = BUF_INIT(ADDRESS_LIMIT);
	struct slice local, domain;
	int err;

	buf_reset(&out->transport);
	buf_reset(&out->nexthop);
	buf_reset(&out->address);
	buf_reset(&out->plan);
	out->is_relocated = false;
	out->via = 0;
	out->class = ROUTE_DEFAULT;
	if (!take_odd(recipient, &address)) {
		route_error(out, "5.1.3 bad address syntax");
		err = 0;
		goto out;
	}
	err = follow(r, &address, l, &out->class);
	if (err != 0)
		goto out;
	address_split(buf_slice(&address), &local, &domain);
	if (out->class == ROUTE_DEFAULT && !address_is_literal(domain, NULL) &&
		!address_is_domain(domain)) {
		route_error(out, "5.1.3 bad address syntax");
		goto out;
	}
	if (!slice_eq(buf_slice(&address), recipient))
		set(&out->address, buf_slice(&address));
	err = route_by_class(r, domain, sender, l, out);
	if (err == 0 && out->class != ROUTE_VIRTUAL_ALIAS)
		err = apply_tables(r, buf_slice(&address), domain, l, out);
	if (err == 0)
		err = apply_relocated(r, buf_slice(&address), l, out);
	if (err == 0)
		discard_double_bounce(buf_slice(&address), local, out);
	if (err == 0 && !is_answer(buf_slice(&out->transport)))
		err = route_find_plan(r, buf_slice(&out->nexthop), l, &out->plan);
	if (err == 0 && (buf_failed(&out->transport) || buf_failed(&out->nexthop)))
		err = ERR_TEMP;
out:
	buf_clear(&address);
	return err;
}

/* Without any table: a domain that is none. */
static bool is_odd(struct slice recipient)
{
	struct slice local, domain;

	address_split(recipient, &local, &domain);
	return domain.p != NULL && !address_is_literal(domain, NULL) && !address_is_domain(domain);
}

int route_refusal(struct route *r, struct slice recipient, struct slice sender, struct later *l,
	bool *is_temporary, struct buf *text)
{
	struct route_result out;
	int err = ERR_NOT_FOUND;

	buf_reset(text);
	if (r->may_refuse || is_odd(recipient))
		err = route_is_alias(r, recipient, l);
	else
		return ERR_NOT_FOUND;
	if (err != ERR_NOT_FOUND)
		return err == 0 ? ERR_NOT_FOUND : err;
	route_result_init(&out);
	err = route_resolve(r, recipient, sender, l, &out);
	*is_temporary = slice_eq_str(buf_slice(&out.transport), "retry");
	if (err == 0 && (!is_answer(buf_slice(&out.transport)) ||
				(out.class == ROUTE_VIRTUAL_ALIAS && !out.is_relocated)))
		err = ERR_NOT_FOUND;
	if (err == 0)
		set(text, buf_slice(&out.nexthop));
	route_result_clear(&out);
	return err;
}
