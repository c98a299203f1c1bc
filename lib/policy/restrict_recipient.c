/* SPDX-License-Identifier: ISC */
#include "conf/conf.h"
#include "policy/restrict.h"
#include "util/err.h"

/* Restrictions about the recipient; addresses of our own that do not exist. */

/*
 * An address that hides another destination in its local part is not ours to take, whatever its
 * domain: what we accept here would leave again as an outside address.
 */
int policy_is_own_destination(struct policy_eval *e, bool *own)
{
	struct slice local, domain;
	enum route_class class = ROUTE_DEFAULT;

	*own = false;
	if (e->recipient.len == 0)
		return 0;
	address_split(e->recipient, &local, &domain);
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

static int permit_auth_destination(
	struct policy_eval *e, const struct policy_item *item, enum restrict_result *result)
{
	bool own;
	int err = policy_is_own_destination(e, &own);

	if (err == 0 && own)
		*result = policy_permit(e, slice_str(item->row->name), e->about);
	return err;
}

static int deny(struct policy_eval *e, int code, const char *status, enum restrict_result *result)
{
	bool own;
	int err = e->recipient.p == NULL ? 0 : policy_is_own_destination(e, &own);

	if (err == 0 && e->recipient.p != NULL && !own)
		*result = policy_reject(e, code, status, "<%.*s>: Relay access denied",
			SLICE_FMT(e->facts->recipient));
	return err;
}

static int reject_unauth_destination(
	struct policy_eval *e, const struct policy_item *item, enum restrict_result *result)
{
	(void)item;
	return deny(e, (int)conf_int(P_relay_domains_reject_code), "5.7.1", result);
}

static int defer_unauth_destination(
	struct policy_eval *e, const struct policy_item *item, enum restrict_result *result)
{
	(void)item;
	return deny(e, 454, "4.7.1", result);
}

/* Unknown addresses. */

static int reject_code(enum route_class class)
{
	switch (class) {
	case ROUTE_LOCAL: return (int)conf_int(P_unknown_local_recipient_reject_code);
	case ROUTE_VIRTUAL_ALIAS: return (int)conf_int(P_unknown_virtual_alias_reject_code);
	case ROUTE_VIRTUAL_MAILBOX: return (int)conf_int(P_unknown_virtual_mailbox_reject_code);
	case ROUTE_RELAY: return (int)conf_int(P_unknown_relay_recipient_reject_code);
	default: return 550;
	}
}

/*
 * Mail to the postmaster must be taken (RFC 5321, 4.5.1), and what we send notices from exists,
 * whatever the tables know.
 */
static bool is_always_there(struct slice address)
{
	struct slice local, domain;

	address_split(address, &local, &domain);
	return slice_case_eq_str(local, "postmaster") ||
	       slice_case_eq_str(local, "mailer-daemon") ||
	       slice_case_eq_str(local, conf_str(P_double_bounce_sender));
}

/* A sender in a virtual alias domain is an address that is bad; any other is but refused. */
static const char *unknown_status(const char *class, enum route_class address_class)
{
	if (class == policy_recipient)
		return "5.1.1";
	return address_class == ROUTE_VIRTUAL_ALIAS ? "5.1.7" : "5.1.0";
}

static void decided(struct policy_eval *e, const char *class)
{
	if (*e->verdict->restriction != '\0')
		return;
	e->verdict->parameter = e->parameter;
	e->verdict->restriction =
		class == policy_sender ? "reject_unlisted_sender" : "reject_unlisted_recipient";
}

/*
 * A route to the transport error or retry says what the client can be told at once. 0: said;
 * ERR_NOT_FOUND: nothing to say; ERR_TEMP; ERR_LATER.
 */
static int check_route(struct policy_eval *e, struct slice given, struct slice address,
	const char *class, enum restrict_result *result)
{
	struct buf *text = &e->policy->value;
	struct slice rest;
	bool is_temporary = false;
	char status[16], fitted[16];
	int err =
		route_refusal(e->policy->route, address, e->sender, e->later, &is_temporary, text);

	if (err != 0)
		return err;
	rest = buf_slice(text);
	policy_split_status(&rest, class == policy_sender ? "5.1.0" : "5.1.1", status);
	*result = policy_reject(e, is_temporary ? 450 : 550, policy_status(class, status, fitted),
		"<%.*s>: %s rejected: %.*s", SLICE_FMT(given), class, SLICE_FMT(rest));
	return 0;
}

static int check(struct policy_eval *e, struct slice given, struct slice address, const char *class,
	enum route_class *address_class, enum restrict_result *result)
{
	const struct policy *p = e->policy;
	const char *table = "";
	int err;

	*result = RESTRICT_DUNNO;
	err = check_route(e, given, address, class, result);
	if (err == 0 && *result == RESTRICT_REFUSED)
		decided(e, class);
	if (err == 0)
		return 0;
	if (err == ERR_NOT_FOUND)
		err = route_recipient_exists(p->route, address, e->later, address_class, &table);
	if (err == 0 || err == ERR_LATER ||
		(err == ERR_NOT_FOUND && *address_class == ROUTE_LOCAL && is_always_there(address)))
		return err == ERR_LATER ? err : 0;
	if (err != ERR_NOT_FOUND)
		*result = policy_reject_lookup(e, given);
	else
		*result = policy_reject(e, reject_code(*address_class),
			unknown_status(class, *address_class),
			"<%.*s>: %s rejected: User unknown%s%s", SLICE_FMT(given), class,
			p->show_table ? " in " : "", p->show_table ? table : "");
	if (*result == RESTRICT_REFUSED)
		decided(e, class);
	e->verdict->unknown_user =
		err == ERR_NOT_FOUND && *result == RESTRICT_REFUSED && class == policy_recipient;
	return 0;
}

int policy_check_recipient(struct policy_eval *e, enum restrict_result *result)
{
	enum route_class class = ROUTE_DEFAULT;
	int err;

	*result = RESTRICT_DUNNO;
	if (e->recipient.len == 0 || e->recipient_is_checked)
		return 0;
	/* With warn_if_reject it will be asked again in earnest. */
	e->recipient_is_checked = e->warn_depth == 0;
	err = check(e, e->facts->recipient, e->recipient, policy_recipient, &class, result);
	e->verdict->own = class != ROUTE_DEFAULT;
	return err;
}

int policy_check_sender(struct policy_eval *e, enum restrict_result *result)
{
	enum route_class class = ROUTE_DEFAULT;

	*result = RESTRICT_DUNNO;
	if (e->sender.len == 0 || e->sender_is_checked)
		return 0;
	e->sender_is_checked = e->warn_depth == 0;
	return check(e, e->facts->sender, e->sender, policy_sender, &class, result);
}

static int reject_unlisted_recipient(
	struct policy_eval *e, const struct policy_item *item, enum restrict_result *result)
{
	(void)item;
	return policy_check_recipient(e, result);
}

const struct restriction restrict_recipient_rows[] = {
	{"permit_auth_destination", RESTRICT_NONE, 0, permit_auth_destination, NULL, NULL},
	{"reject_unauth_destination", RESTRICT_NONE, RESTRICT_GUARDS_RELAY,
		reject_unauth_destination, NULL, NULL},
	{"defer_unauth_destination", RESTRICT_NONE, RESTRICT_GUARDS_RELAY, defer_unauth_destination,
		NULL, NULL},
	{"check_recipient_maps", RESTRICT_NONE, 0, reject_unlisted_recipient, NULL, NULL},
	{"reject_unlisted_recipient", RESTRICT_NONE, 0, reject_unlisted_recipient, NULL, NULL},
	{NULL, RESTRICT_NONE, 0, NULL, NULL, NULL},
};
