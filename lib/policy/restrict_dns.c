/* SPDX-License-Identifier: ISC */
#include "conf/conf.h"
#include "mail/address.h"
#include "policy/access.h"
#include "policy/names.h"
#include "util/err.h"

/*
 * Restrictions that want a name to be in the DNS, and those that look up the servers behind a name
 * in an access table.
 */

/*
 * The worse of several "no": one of no more than temporary effect weighs more, and most that there
 * is something which the administrator does not want to be seen.
 */
static enum dns_status join(enum dns_status a, enum dns_status b)
{
	if (a == DNS_OK || b == DNS_OK)
		return DNS_OK;
	if (a == DNS_FILTERED || b == DNS_FILTERED)
		return DNS_FILTERED;
	return a == DNS_TEMP ? a : b;
}

/* Nothing is decided by that. */
static void note_filtered(struct policy_eval *e, struct slice name, const char *what)
{
	policy_note(e, POLICY_WARNING, SLICE_NONE,
		"%.*s: %s lookup error: DNS reply filter drops all results", SLICE_FMT(name), what);
}

/*
 * Can this host send mail, or take any: has it an address or an MX record, were it one that says
 * that it takes none?
 */
static int find_host(struct policy_eval *e, struct slice name, enum dns_status *status)
{
	struct dns_answer a[2], mx;
	int err = names_ask_addresses(e, name, a);

	if (err != 0)
		return err;
	*status = join(a[0].status, a[1].status);
	if (*status == DNS_OK)
		return 0;
	err = names_ask(e, DNS_MX, name, &mx);
	*status = join(*status, mx.status == DNS_NULLMX ? DNS_OK : mx.status);
	return err;
}

/* The same, as a mail domain: MX first, where a null MX ends the search (RFC 7505), as do records
 * that are filtered. */
static int find_domain(struct policy_eval *e, struct slice name, enum dns_status *status)
{
	struct dns_answer a[2], mx;
	int err = names_ask(e, DNS_MX, name, &mx);

	*status = mx.status;
	if (err != 0 || mx.status == DNS_OK || mx.status == DNS_NULLMX || mx.status == DNS_BAD ||
		mx.status == DNS_FILTERED)
		return err;
	err = names_ask_addresses(e, name, a);
	*status = join(mx.status, join(a[0].status, a[1].status));
	return err;
}

static int reject_unknown_helo(
	struct policy_eval *e, const struct policy_item *item, enum restrict_result *result)
{
	struct slice helo = e->facts->helo;
	enum dns_status status = DNS_OK;

	(void)item;
	if (helo.p == NULL)
		return 0;
	if (slice_starts(helo, "[")) {
		if (!address_is_literal(helo, NULL))
			*result = policy_reject(e, (int)conf_int(P_invalid_hostname_reject_code),
				"5.5.2", "<%.*s>: %s rejected: invalid ip address", SLICE_FMT(helo),
				policy_helo);
		return 0;
	}
	int err = find_host(e, helo, &status);
	if (err != 0 || status == DNS_OK)
		return err;
	if (status == DNS_FILTERED)
		note_filtered(e, helo, "address or MX");
	else if (status == DNS_TEMP)
		*result = names_defer(e, conf_str(P_unknown_helo_hostname_tempfail_action), 450,
			"4.7.1", "<%.*s>: %s rejected: Host not found", SLICE_FMT(helo),
			policy_helo);
	else
		*result = policy_reject(e, (int)conf_int(P_unknown_hostname_reject_code), "4.7.1",
			"<%.*s>: %s rejected: Host not found", SLICE_FMT(helo), policy_helo);
	return 0;
}

static enum restrict_result refuse_domain(
	struct policy_eval *e, struct policy_about about, struct slice domain, enum dns_status why)
{
	bool is_sender = about.class == policy_sender;
	const char *status = is_sender ? "4.1.8" : "4.1.2";

	/* RFC 7505, 4. */
	if (why == DNS_NULLMX)
		return policy_reject(e, is_sender ? 550 : 556, is_sender ? "4.7.27" : "4.1.10",
			"<%.*s>: %s rejected: Domain %.*s does not accept mail (nullMX)",
			SLICE_FMT(about.name), about.class, SLICE_FMT(domain));
	if (why == DNS_TEMP)
		return names_defer(e, conf_str(P_unknown_address_tempfail_action), 450, status,
			"<%.*s>: %s rejected: Domain not found", SLICE_FMT(about.name),
			about.class);
	return policy_reject(e, (int)conf_int(P_unknown_address_reject_code), status,
		"<%.*s>: %s rejected: Domain not found", SLICE_FMT(about.name), about.class);
}

/* Addresses of our own classes need no DNS; those that are relayed for do. */
static int reject_unknown_domain(struct policy_eval *e, struct policy_about about,
	struct slice address, enum restrict_result *result)
{
	enum route_class class = ROUTE_DEFAULT;
	enum dns_status status = DNS_OK;
	struct slice local, domain;

	if (about.name.len == 0)
		return 0;
	address_split(address, &local, &domain);
	if (domain.len == 0)
		return 0;
	int err = route_classify(e->policy->route, domain, e->later, &class);
	if (err != 0 || (class != ROUTE_RELAY && class != ROUTE_DEFAULT) ||
		slice_starts(domain, "["))
		return err;
	err = find_domain(e, domain, &status);
	if (err == 0 && status == DNS_FILTERED)
		note_filtered(e, domain, "MX or address");
	else if (err == 0 && status != DNS_OK)
		*result = refuse_domain(e, about, domain, status);
	return err;
}

static int reject_unknown_sender(
	struct policy_eval *e, const struct policy_item *item, enum restrict_result *result)
{
	(void)item;
	return reject_unknown_domain(
		e, (struct policy_about){e->facts->sender, policy_sender}, e->sender, result);
}

static int reject_unknown_recipient(
	struct policy_eval *e, const struct policy_item *item, enum restrict_result *result)
{
	(void)item;
	return reject_unknown_domain(e,
		(struct policy_about){e->facts->recipient, policy_recipient}, e->recipient, result);
}

/* The servers of a name, in an access table. */

struct server_search {
	struct policy_eval *e;
	const struct policy_item *item;
	struct policy_about about;
	enum dns_type type; /* MX, NS; A: the name itself */
	bool found;
	enum restrict_result *result;
};

static void unable(struct server_search *s, struct slice server, enum dns_status status)
{
	if (s->type != DNS_A)
		policy_note(s->e, POLICY_WARNING, SLICE_NONE,
			"Unable to look up %s host %.*s for %s %.*s: %s", dns_type_str(s->type),
			SLICE_FMT(server), s->about.class, SLICE_FMT(s->about.name),
			dns_status_str(status));
}

static int check_address(struct server_search *s, struct slice address)
{
	return access_address(s->e, s->item->table, address, s->about, &s->found, s->result);
}

/* A server: its name, then each of its addresses. */
static int check_server(struct server_search *s, struct slice server)
{
	struct names_addresses addresses;
	char text[NAMES_ADDRESS_TEXT];
	int err = 0;

	if (s->type != DNS_A)
		err = access_domain(
			s->e, s->item->table, server, true, s->about, &s->found, s->result);
	if (err != 0 || s->found)
		return err;
	err = names_find(s->e, server, &addresses);
	if (err == 0 && addresses.status != DNS_OK)
		unable(s, server, addresses.status);
	while (err == 0 && !s->found && names_next(&addresses, text))
		err = check_address(s, slice_str(text));
	return err;
}

/*
 * The servers' records. A domain without MX is its own server; one without NS records belongs to
 * the zone of a parent that has some.
 */
static int find_servers(
	struct server_search *s, struct slice domain, struct slice *zone, struct dns_answer *a)
{
	int err = names_ask(s->e, s->type, domain, a);

	*zone = domain;
	while (err == 0 && s->type == DNS_NS &&
		(a->status == DNS_NODATA || a->status == DNS_NXDOMAIN)) {
		ptrdiff_t dot = slice_find(*zone, '.');

		if (dot < 0 || (size_t)dot + 1 >= zone->len)
			break;
		*zone = slice_from(*zone, (size_t)dot + 1);
		err = names_ask(s->e, DNS_NS, *zone, a);
	}
	return err;
}

static int check_servers(struct server_search *s, struct slice domain)
{
	struct dns_answer a;
	struct dns_record r;
	struct slice zone;
	int err = find_servers(s, domain, &zone, &a);

	if (err != 0 || a.status == DNS_NULLMX)
		return err;
	if (s->type == DNS_MX && (a.status == DNS_NODATA || a.status == DNS_NXDOMAIN))
		return check_server(s, domain);
	if (a.status != DNS_OK)
		policy_note(s->e, POLICY_WARNING, SLICE_NONE,
			"Unable to look up %s host for %.*s: %s", dns_type_str(s->type),
			SLICE_FMT(zone), dns_status_str(a.status));
	for (int i = 0; i < NAMES_SERVERS_MAX && err == 0 && !s->found; i++) {
		if (!dns_answer_next(&a, &r))
			break;
		err = check_server(s, r.data);
	}
	return err;
}

static int check_name(struct policy_eval *e, const struct policy_item *item, enum dns_type type,
	struct slice name, struct policy_about about, enum restrict_result *result)
{
	struct server_search s = {e, item, about, type, false, result};
	struct slice domain = names_domain(name), ip;
	int err = 0;

	if (domain.len == 0)
		return 0;
	/* An address literal is its own server, but has no name server. */
	if (slice_starts(domain, "[")) {
		if (type != DNS_NS && address_is_literal(domain, &ip))
			err = check_address(&s, ip);
	} else if (type == DNS_A) {
		err = check_server(&s, domain);
	} else {
		err = check_servers(&s, domain);
	}
	if (err == 0)
		names_forbid_ok(e, item, about.name, result);
	return err;
}

/* Which servers a row wants: the word before "_access". */
static enum dns_type row_type(const struct policy_item *item)
{
	struct slice name = slice_str(item->row->name);

	if (slice_ends(name, "_mx_access"))
		return DNS_MX;
	return slice_ends(name, "_ns_access") ? DNS_NS : DNS_A;
}

static int check_client(
	struct policy_eval *e, const struct policy_item *item, enum restrict_result *result)
{
	const struct policy_facts *f = e->facts;
	struct slice shown = f->namaddr.len > 0 ? f->namaddr : f->client_name;

	if (!names_is_known(f->client_name))
		return 0;
	return check_name(e, item, row_type(item), f->client_name,
		(struct policy_about){shown, policy_client}, result);
}

static int check_reverse(
	struct policy_eval *e, const struct policy_item *item, enum restrict_result *result)
{
	struct slice name = e->facts->reverse_name;

	if (!names_is_known(name))
		return 0;
	return check_name(e, item, row_type(item), name,
		(struct policy_about){name, policy_reverse_client}, result);
}

static int check_helo(
	struct policy_eval *e, const struct policy_item *item, enum restrict_result *result)
{
	struct slice helo = e->facts->helo;

	return check_name(
		e, item, row_type(item), helo, (struct policy_about){helo, policy_helo}, result);
}

/* An address as it was given: one without a domain names no servers. */
static int check_mail(struct policy_eval *e, const struct policy_item *item, struct slice given,
	const char *class, enum restrict_result *result)
{
	if (slice_find_last(given, '@') < 0)
		return 0;
	return check_name(
		e, item, row_type(item), given, (struct policy_about){given, class}, result);
}

static int check_sender(
	struct policy_eval *e, const struct policy_item *item, enum restrict_result *result)
{
	return check_mail(e, item, e->facts->sender, policy_sender, result);
}

static int check_recipient(
	struct policy_eval *e, const struct policy_item *item, enum restrict_result *result)
{
	return check_mail(e, item, e->facts->recipient, policy_recipient, result);
}

#define SERVERS(what, run)                                                        \
	{"check_" what "_mx_access", RESTRICT_TABLE, 0, run, NULL, NULL},         \
		{"check_" what "_ns_access", RESTRICT_TABLE, 0, run, NULL, NULL}, \
	{                                                                         \
		"check_" what "_a_access", RESTRICT_TABLE, 0, run, NULL, NULL     \
	}

const struct restriction restrict_dns_rows[] = {
	{"reject_unknown_helo_hostname", RESTRICT_NONE, 0, reject_unknown_helo, NULL, NULL},
	{"reject_unknown_hostname", RESTRICT_NONE, 0, reject_unknown_helo, NULL, NULL},
	{"reject_unknown_sender_domain", RESTRICT_NONE, 0, reject_unknown_sender, NULL, NULL},
	{"reject_unknown_recipient_domain", RESTRICT_NONE, 0, reject_unknown_recipient, NULL, NULL},
	SERVERS("client", check_client),
	SERVERS("reverse_client_hostname", check_reverse),
	SERVERS("helo", check_helo),
	SERVERS("sender", check_sender),
	SERVERS("recipient", check_recipient),
	{NULL, RESTRICT_NONE, 0, NULL, NULL, NULL},
};
