/* SPDX-License-Identifier: ISC */
#include "conf/conf.h"
#include "mail/address.h"
#include "policy/names.h"
#include "util/err.h"

/* permit_mx_backup: domains whose MX records name this host behind others. */

static int open_networks(struct policy *p, struct policy_item *item, struct buf *why)
{
	struct match *networks = NULL;
	int err = match_open(conf_str(P_permit_mx_backup_networks), MATCH_PARENT, why, &networks);

	(void)p;
	item->state = networks;
	return err;
}

static void close_networks(struct policy_item *item)
{
	struct match *networks = item->state;

	match_close(&networks);
	item->state = NULL;
}

struct search {
	struct policy_eval *e;
	struct match *networks;
	struct policy_about about;
	uint16_t best; /* preference of the primary hosts */
	bool own_primary, own_backup, primary_elsewhere;
};

static void remember(struct search *s, const char *what, enum dns_status status)
{
	(void)policy_defer_if_reject(s->e, 450, "4.4.4", "<%.*s>: %s rejected: %s: %s",
		SLICE_FMT(s->about.name), s->about.class, what, dns_status_str(status));
}

static int check_address(struct search *s, const struct dns_record *mx, struct slice address)
{
	bool own = route_is_own_address(s->e->policy->route, address);
	bool primary = mx->pref == s->best;
	int err = ERR_NOT_FOUND;

	s->own_primary |= own && primary;
	s->own_backup |= own && !primary;
	if (!primary)
		return 0;
	err = match_host(s->networks, mx->data, address, s->e->later);
	s->primary_elsewhere |= err == ERR_NOT_FOUND;
	return err == ERR_NOT_FOUND ? 0 : err;
}

static int check_host(struct search *s, const struct dns_record *mx)
{
	struct names_addresses addresses;
	char text[NAMES_ADDRESS_TEXT];
	int err = names_find(s->e, mx->data, &addresses);

	if (err != 0)
		return err;
	if (addresses.status != DNS_OK) {
		s->primary_elsewhere |= mx->pref == s->best;
		remember(s, "Unable to look up mail exchanger host", addresses.status);
	}
	while (err == 0 && names_next(&addresses, text))
		err = check_address(s, mx, slice_str(text));
	return err;
}

static int check_hosts(struct search *s, struct dns_answer a)
{
	struct dns_answer walk = a;
	struct dns_record mx;
	int err = 0;

	s->best = UINT16_MAX;
	while (dns_answer_next(&walk, &mx))
		s->best = mx.pref < s->best ? mx.pref : s->best;
	for (int i = 0; i < NAMES_SERVERS_MAX && err == 0 && dns_answer_next(&a, &mx); i++)
		err = check_host(s, &mx);
	return err;
}

static int permit_backup(struct search *s, struct slice domain, bool *permitted)
{
	struct dns_answer a;
	int err = names_ask(s->e, DNS_MX, domain, &a);

	if (err != 0)
		return err;
	if (a.status == DNS_TEMP || a.status == DNS_BAD || a.status == DNS_FILTERED)
		remember(s, "Unable to look up mail exchanger information", a.status);
	if (a.status != DNS_OK)
		return 0;
	err = check_hosts(s, a);
	*permitted = !s->own_primary && s->own_backup &&
		     (*conf_str(P_permit_mx_backup_networks) == '\0' || !s->primary_elsewhere);
	return err;
}

static int permit_mx_backup(
	struct policy_eval *e, const struct policy_item *item, enum restrict_result *result)
{
	struct search s = {
		.e = e, .networks = item->state, .about = {e->facts->recipient, policy_recipient}};
	enum route_class class = ROUTE_DEFAULT;
	struct slice local, domain;
	bool permitted = false;

	if (e->recipient.len == 0)
		return 0;
	address_split(e->recipient, &local, &domain);
	if (!e->policy->untrusted_routing && address_has_route(local, &e->policy->rules))
		return 0;
	int err = domain.len == 0 ? 0 : route_classify(e->policy->route, domain, e->later, &class);
	if (err != 0)
		return err;
	if (domain.len == 0 || (class != ROUTE_RELAY && class != ROUTE_DEFAULT))
		permitted = true;
	else
		err = permit_backup(&s, domain, &permitted);
	if (err == 0 && permitted)
		*result = policy_permit(e, slice_str(item->row->name), e->about);
	return err;
}

const struct restriction restrict_mx_rows[] = {
	{"permit_mx_backup", RESTRICT_NONE, 0, permit_mx_backup, open_networks, close_networks},
	{NULL, RESTRICT_NONE, 0, NULL, NULL, NULL},
};
