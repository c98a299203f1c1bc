/* SPDX-License-Identifier: ISC */
#include "conf/conf.h"
#include "policy/direct.h"
#include "policy/restrict.h"
#include "util/err.h"

/* Restrictions about the client. */

static int permit_mynetworks(
	struct policy_eval *e, const struct policy_item *item, enum restrict_result *result)
{
	int err = match_host(
		e->policy->mynetworks, e->facts->client_name, e->facts->client_addr, e->later);

	if (err == 0)
		*result = policy_permit(e, slice_str(item->row->name), e->about);
	return err == ERR_NOT_FOUND ? 0 : err;
}

static bool is_own_address(const struct policy_eval *e)
{
	return route_is_own_address(e->policy->route, e->facts->client_addr);
}

static int permit_inet_interfaces(
	struct policy_eval *e, const struct policy_item *item, enum restrict_result *result)
{
	if (is_own_address(e))
		*result = policy_permit(e, slice_str(item->row->name), e->about);
	return 0;
}

static int reject_inet_interfaces(
	struct policy_eval *e, const struct policy_item *item, enum restrict_result *result)
{
	(void)item;
	if (is_own_address(e))
		*result = policy_reject(e, 554, "5.7.1",
			"<%.*s[%.*s]>: Client host rejected: Access denied",
			SLICE_FMT(e->facts->client_name), SLICE_FMT(e->facts->client_addr));
	return 0;
}

/* A name that cannot be looked up now: what would be a refusal comes later. */
static int permit_direct(
	struct policy_eval *e, const struct policy_item *item, enum restrict_result *result)
{
	int err = direct_find(e->policy->direct, e->facts, e->later);

	if (err == 0)
		*result = policy_permit(e, slice_str(item->row->name), e->about);
	else if (err == ERR_TEMP)
		*result = policy_defer_if_reject(e, 450, "4.4.3",
			"<%.*s>: %s rejected: Temporary lookup failure", SLICE_FMT(e->about.name),
			e->about.class);
	return err == ERR_LATER ? err : 0;
}

static int open_direct(struct policy *p, struct policy_item *item, struct buf *why)
{
	(void)item;
	return p->direct != NULL ? 0 : direct_open(why, &p->direct);
}

static int permit_sasl_authenticated(
	struct policy_eval *e, const struct policy_item *item, enum restrict_result *result)
{
	if (e->facts->login.len > 0)
		*result = policy_permit(e, slice_str(item->row->name), e->about);
	return 0;
}

/* One that relay_clientcerts lists, whoever has signed it. */
static int permit_tls_clientcerts(
	struct policy_eval *e, const struct policy_item *item, enum restrict_result *result)
{
	const struct slice prints[] = {
		e->facts->ccert_fingerprint, e->facts->ccert_pubkey_fingerprint};
	int err = ERR_NOT_FOUND;

	for (size_t i = 0; i < 2 && err == ERR_NOT_FOUND; i++)
		if (prints[i].len > 0)
			err = map_list_find(
				e->policy->clientcerts, prints[i], e->later, &e->policy->value);
	if (err == 0)
		*result = policy_permit(e, slice_str(item->row->name), e->about);
	return err == ERR_NOT_FOUND ? 0 : err;
}

/* Any that a trusted authority has signed, and these. */
static int permit_tls_all_clientcerts(
	struct policy_eval *e, const struct policy_item *item, enum restrict_result *result)
{
	if (!e->facts->ccert_is_trusted)
		return permit_tls_clientcerts(e, item, result);
	*result = policy_permit(e, slice_str(item->row->name), e->about);
	return 0;
}

static int reject_name(struct policy_eval *e, enum policy_name_status status, const char *enhanced,
	const char *what, enum restrict_result *result)
{
	int code =
		status == POLICY_NAME_UNKNOWN ? (int)conf_int(P_unknown_client_reject_code) : 450;

	if (status != POLICY_NAME_OK)
		*result = policy_reject(e, code, enhanced,
			"Client host rejected: cannot find your %s, [%.*s]", what,
			SLICE_FMT(e->facts->client_addr));
	return 0;
}

static int reject_unknown_client(
	struct policy_eval *e, const struct policy_item *item, enum restrict_result *result)
{
	(void)item;
	return reject_name(e, e->facts->name_status, "4.7.25", "hostname", result);
}

static int reject_unknown_reverse(
	struct policy_eval *e, const struct policy_item *item, enum restrict_result *result)
{
	(void)item;
	return reject_name(e, e->facts->reverse_status, "4.7.1", "reverse hostname", result);
}

static int reject_unknown_forward(
	struct policy_eval *e, const struct policy_item *item, enum restrict_result *result)
{
	(void)item;
	return reject_name(e, e->facts->forward_status, "4.7.1", "hostname", result);
}

const struct restriction restrict_client_rows[] = {
	{"permit_mynetworks", RESTRICT_NONE, 0, permit_mynetworks, NULL, NULL},
	{"permit_inet_interfaces", RESTRICT_NONE, 0, permit_inet_interfaces, NULL, NULL},
	{"reject_inet_interfaces", RESTRICT_NONE, 0, reject_inet_interfaces, NULL, NULL},
	{"permit_direct_delivery_hosts", RESTRICT_NONE, 0, permit_direct, open_direct, NULL},
	{"permit_sasl_authenticated", RESTRICT_NONE, 0, permit_sasl_authenticated, NULL, NULL},
	{"permit_tls_clientcerts", RESTRICT_NONE, 0, permit_tls_clientcerts, NULL, NULL},
	{"permit_tls_all_clientcerts", RESTRICT_NONE, 0, permit_tls_all_clientcerts, NULL, NULL},
	{"reject_unknown_client_hostname", RESTRICT_NONE, 0, reject_unknown_client, NULL, NULL},
	{"reject_unknown_client", RESTRICT_NONE, 0, reject_unknown_client, NULL, NULL},
	{"reject_unknown_reverse_client_hostname", RESTRICT_NONE, 0, reject_unknown_reverse, NULL,
		NULL},
	{"reject_unknown_forward_client_hostname", RESTRICT_NONE, 0, reject_unknown_forward, NULL,
		NULL},
	{NULL, RESTRICT_NONE, 0, NULL, NULL, NULL},
};
