/* SPDX-License-Identifier: ISC */
#include "policy/restrict.h"

#include "conf/conf.h"
#include "util/err.h"

static int permit(struct policy_eval *e, enum restrict_result *result)
{
	(void)e;
	*result = RESTRICT_OK;
	return 0;
}

static int reject(struct policy_eval *e, enum restrict_result *result)
{
	policy_refuse(e, (int)conf_int(P_reject_code), "5.7.1",
		"Recipient address rejected: Access denied");
	*result = RESTRICT_REFUSED;
	return 0;
}

static int defer(struct policy_eval *e, enum restrict_result *result)
{
	policy_refuse(e, (int)conf_int(P_defer_code), "4.3.2",
		"Recipient address rejected: Try again later");
	*result = RESTRICT_REFUSED;
	return 0;
}

static int permit_mynetworks(struct policy_eval *e, enum restrict_result *result)
{
	int err = match_host(
		e->policy->mynetworks, e->facts->client_name, e->facts->client_addr, e->later);

	if (err == 0)
		*result = RESTRICT_OK;
	return err == ERR_NOT_FOUND ? 0 : err;
}

static int permit_sasl_authenticated(struct policy_eval *e, enum restrict_result *result)
{
	if (e->facts->login.len > 0)
		*result = RESTRICT_OK;
	return 0;
}

/*
 * Is the recipient ours to take from anybody? An address that hides another destination in its
 * local part is not, whatever its domain: what we accept here would leave again as an outside
 * address.
 */
static int is_own_destination(struct policy_eval *e, bool *own)
{
	struct slice local, domain;
	enum route_class class = ROUTE_DEFAULT;

	*own = false;
	address_split(buf_slice(&e->recipient), &local, &domain);
	if (!e->policy->untrusted_routing && address_has_route(local, &e->policy->rules))
		return 0;
	if (domain.p == NULL) {
		*own = true;
		return 0;
	}
	int err = route_classify(e->policy->route, domain, e->later, &class);
	if (err == 0)
		*own = class != ROUTE_DEFAULT;
	return err;
}

static int reject_unauth_destination(struct policy_eval *e, enum restrict_result *result)
{
	bool own;
	int err = is_own_destination(e, &own);

	if (err == 0 && !own) {
		policy_refuse(e, (int)conf_int(P_relay_domains_reject_code), "5.7.1",
			"Relay access denied");
		*result = RESTRICT_REFUSED;
	}
	return err;
}

static int defer_unauth_destination(struct policy_eval *e, enum restrict_result *result)
{
	bool own;
	int err = is_own_destination(e, &own);

	if (err == 0 && !own) {
		policy_refuse(e, 454, "4.7.1", "Relay access denied");
		*result = RESTRICT_REFUSED;
	}
	return err;
}

static const struct restriction rows[] = {
	{"permit", false, permit},
	{"reject", true, reject},
	{"defer", true, defer},
	{"permit_mynetworks", false, permit_mynetworks},
	{"permit_sasl_authenticated", false, permit_sasl_authenticated},
	{"reject_unauth_destination", true, reject_unauth_destination},
	{"defer_unauth_destination", true, defer_unauth_destination},
};

const struct restriction *restriction_find(struct slice name)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (slice_case_eq_str(name, rows[i].name))
			return &rows[i];
	return NULL;
}
