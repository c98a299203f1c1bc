/* SPDX-License-Identifier: ISC */
#include "conf/conf.h"
#include "mail/address.h"
#include "policy/names.h"

/* Restrictions about the name in HELO. What a HELO was not given for is not looked at. */

static struct slice without_dot(struct slice name)
{
	return slice_ends(name, ".") ? slice_first(name, name.len - 1) : name;
}

static int refuse(struct policy_eval *e, int code, const char *text, enum restrict_result *result)
{
	*result = policy_reject(e, code, "5.5.2", "<%.*s>: %s rejected: %s",
		SLICE_FMT(e->facts->helo), policy_helo, text);
	return 0;
}

static int refuse_literal(struct policy_eval *e, enum restrict_result *result)
{
	if (address_is_literal(e->facts->helo, NULL))
		return 0;
	return refuse(
		e, (int)conf_int(P_invalid_hostname_reject_code), "invalid ip address", result);
}

static int reject_invalid(
	struct policy_eval *e, const struct policy_item *item, enum restrict_result *result)
{
	struct slice helo = e->facts->helo, ip;
	char literal[64];

	(void)item;
	if (helo.p == NULL)
		return 0;
	if (slice_starts(helo, "["))
		return refuse_literal(e, result);
	/* A bare address is one too. */
	if (helo.len + 2 <= sizeof(literal) && helo.len > 0) {
		literal[0] = '[';
		memcpy(literal + 1, helo.p, helo.len);
		literal[helo.len + 1] = ']';
		if (address_is_literal(slice_of(literal, helo.len + 2), &ip))
			return 0;
	}
	if (names_is_host(without_dot(helo)))
		return 0;
	return refuse(e, (int)conf_int(P_invalid_hostname_reject_code), "Invalid name", result);
}

static int reject_non_fqdn(
	struct policy_eval *e, const struct policy_item *item, enum restrict_result *result)
{
	struct slice helo = e->facts->helo;

	(void)item;
	if (helo.p == NULL)
		return 0;
	if (slice_starts(helo, "["))
		return refuse_literal(e, result);
	helo = without_dot(helo);
	if (names_is_host(helo) && slice_find(helo, '.') >= 0)
		return 0;
	return refuse(
		e, (int)conf_int(P_non_fqdn_reject_code), "need fully-qualified hostname", result);
}

const struct restriction restrict_helo_rows[] = {
	{"reject_invalid_helo_hostname", RESTRICT_NONE, 0, reject_invalid, NULL, NULL},
	{"reject_invalid_hostname", RESTRICT_NONE, 0, reject_invalid, NULL, NULL},
	{"reject_non_fqdn_helo_hostname", RESTRICT_NONE, 0, reject_non_fqdn, NULL, NULL},
	{"reject_non_fqdn_hostname", RESTRICT_NONE, 0, reject_non_fqdn, NULL, NULL},
	{NULL, RESTRICT_NONE, 0, NULL, NULL, NULL},
};
