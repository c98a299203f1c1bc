/* SPDX-License-Identifier: ISC */
#include "conf/conf.h"
#include "policy/restrict.h"
#include "util/err.h"
#include "util/wire.h"

/* Restrictions about the sender: its form, whether it exists here, whether the login owns it. */

/* As the client has given it: what we complete was not qualified. */
static int reject_non_fqdn(
	struct policy_eval *e, struct slice given, const char *class, enum restrict_result *result)
{
	struct slice local, domain;

	if (given.len == 0)
		return 0;
	address_split(given, &local, &domain);
	if (address_is_literal(domain, NULL))
		return 0;
	if (slice_ends(domain, "."))
		domain.len--;
	if (!address_is_domain(domain) || slice_find(domain, '.') < 0)
		*result = policy_reject(e, (int)conf_int(P_non_fqdn_reject_code), "4.5.2",
			"<%.*s>: %s rejected: need fully-qualified address", SLICE_FMT(given),
			class);
	return 0;
}

static int reject_non_fqdn_sender(
	struct policy_eval *e, const struct policy_item *item, enum restrict_result *result)
{
	(void)item;
	return reject_non_fqdn(e, e->facts->sender, policy_sender, result);
}

static int reject_non_fqdn_recipient(
	struct policy_eval *e, const struct policy_item *item, enum restrict_result *result)
{
	(void)item;
	return reject_non_fqdn(e, e->facts->recipient, policy_recipient, result);
}

static int reject_unlisted_sender(
	struct policy_eval *e, const struct policy_item *item, enum restrict_result *result)
{
	(void)item;
	return policy_check_sender(e, result);
}

/* Owners. */

static bool has_login(struct slice owners, struct slice login)
{
	struct slice name;

	while (slice_token(&owners, ", \t\r\n", &name))
		if (slice_case_eq(name, login))
			return true;
	return false;
}

/* 0 with the owners in p->value; ERR_NOT_FOUND: the address belongs to nobody. */
static int find_owners(struct policy *p, struct slice address, struct later *l)
{
	return route_find_address(p->route, p->login_maps, address,
		ROUTE_KEY_FULL | ROUTE_KEY_USER | ROUTE_KEY_DOMAIN, l, &p->value, NULL);
}

static int owns(struct policy_eval *e, struct slice address, bool *result)
{
	struct policy *p = e->policy;
	int err = address_complete(address, &p->rules, &p->sender);

	*result = false;
	if (err != 0)
		return 0;
	err = find_owners(p, buf_slice(&p->sender), e->later);
	*result = err == 0 && has_login(buf_slice(&p->value), e->facts->login);
	return err == ERR_NOT_FOUND ? 0 : err;
}

int policy_check_header_from(struct policy_eval *e)
{
	const struct policy_facts *f = e->facts;
	struct reader in = reader_of(f->header_from);
	bool is_own = false;

	if (f->login.len == 0)
		return 0;
	e->parameter = e->verdict->parameter = "header_from_login_match";
	if (f->header_from_count != 1 || f->header_from.len == 0)
		(void)policy_reject(e, 553, "5.7.1",
			"Message header rejected: exactly one From: with valid addresses is "
			"needed");
	while (in.in.len > 0 && e->verdict->action == POLICY_PERMIT) {
		struct slice address = reader_counted(&in, in.in.len);
		int err = owns(e, address, &is_own);

		if (err == ERR_LATER)
			return err;
		if (err != 0)
			(void)policy_reject_lookup(e, address);
		else if (!is_own)
			(void)policy_reject(e, 553, "5.7.1",
				"<%.*s>: Message header From: rejected: not owned by user %.*s",
				SLICE_FMT(address), SLICE_FMT(f->login));
	}
	return 0;
}

enum { WITH_LOGIN = 1, WITHOUT_LOGIN = 2, KNOWN_ONLY = 4 };

static int mismatch(struct policy_eval *e, unsigned which, enum restrict_result *result)
{
	struct policy *p = e->policy;
	struct slice sender = e->facts->sender, login = e->facts->login;
	bool is_in = login.len > 0;
	int err;

	/* As in Postfix these need AUTH to be there, and leave the null sender alone. */
	if (sender.len == 0 || !p->auth_enabled || map_list_is_empty(p->login_maps) ||
		!(which & (is_in ? WITH_LOGIN : WITHOUT_LOGIN)))
		return 0;
	err = find_owners(p, e->sender, e->later);
	if (err == ERR_LATER)
		return err;
	if (err != 0 && err != ERR_NOT_FOUND) {
		*result = policy_reject_lookup(e, sender);
		return 0;
	}
	if (!is_in && err == 0)
		*result = policy_reject(e, 553, "5.7.1",
			"<%.*s>: Sender address rejected: not logged in", SLICE_FMT(sender));
	else if (is_in &&
		 (err == 0 ? !has_login(buf_slice(&p->value), login) : !(which & KNOWN_ONLY)))
		*result = policy_reject(e, 553, "5.7.1",
			"<%.*s>: Sender address rejected: not owned by user %.*s",
			SLICE_FMT(sender), SLICE_FMT(login));
	return 0;
}

static int reject_mismatch(
	struct policy_eval *e, const struct policy_item *item, enum restrict_result *result)
{
	(void)item;
	return mismatch(e, WITH_LOGIN | WITHOUT_LOGIN, result);
}

static int reject_authenticated_mismatch(
	struct policy_eval *e, const struct policy_item *item, enum restrict_result *result)
{
	(void)item;
	return mismatch(e, WITH_LOGIN, result);
}

static int reject_known_mismatch(
	struct policy_eval *e, const struct policy_item *item, enum restrict_result *result)
{
	(void)item;
	return mismatch(e, WITH_LOGIN | WITHOUT_LOGIN | KNOWN_ONLY, result);
}

static int reject_unauthenticated_mismatch(
	struct policy_eval *e, const struct policy_item *item, enum restrict_result *result)
{
	(void)item;
	return mismatch(e, WITHOUT_LOGIN, result);
}

const struct restriction restrict_sender_rows[] = {
	{"reject_non_fqdn_sender", RESTRICT_NONE, 0, reject_non_fqdn_sender, NULL, NULL},
	{"reject_non_fqdn_recipient", RESTRICT_NONE, 0, reject_non_fqdn_recipient, NULL, NULL},
	{"reject_unlisted_sender", RESTRICT_NONE, 0, reject_unlisted_sender, NULL, NULL},
	{"reject_sender_login_mismatch", RESTRICT_NONE, 0, reject_mismatch, NULL, NULL},
	{"reject_authenticated_sender_login_mismatch", RESTRICT_NONE, 0,
		reject_authenticated_mismatch, NULL, NULL},
	{"reject_known_sender_login_mismatch", RESTRICT_NONE, 0, reject_known_mismatch, NULL, NULL},
	{"reject_unauthenticated_sender_login_mismatch", RESTRICT_NONE, 0,
		reject_unauthenticated_mismatch, NULL, NULL},
	{NULL, RESTRICT_NONE, 0, NULL, NULL, NULL},
};
