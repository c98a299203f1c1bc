/* SPDX-License-Identifier: ISC */
#include <stdio.h>

#include "conf/value.h"
#include "policy/access.h"
#include "util/err.h"
#include "util/mem.h"

/* Restrictions that an access table decides. */

static int check_client(
	struct policy_eval *e, const struct policy_item *item, enum restrict_result *result)
{
	char text[512];
	bool found = false;
	struct slice namaddr = e->facts->namaddr;

	if (namaddr.len == 0) {
		int n = snprintf(text, sizeof(text), "%.*s[%.*s]", SLICE_FMT(e->facts->client_name),
			SLICE_FMT(e->facts->client_addr));
		namaddr = slice_of(text, n > 0 && n < (int)sizeof(text) ? (size_t)n : 0);
	}
	return access_host(e, item->table, e->facts->client_name, e->facts->client_addr,
		(struct policy_about){namaddr, policy_client}, &found, result);
}

static int check_reverse_client(
	struct policy_eval *e, const struct policy_item *item, enum restrict_result *result)
{
	struct slice name = e->facts->reverse_name;
	bool found = false;
	int err = access_host(e, item->table, name, e->facts->client_addr,
		(struct policy_about){name, policy_reverse_client}, &found, result);

	/* Anybody can give himself such a name: it may refuse, not permit. */
	if (err == 0 && *result == RESTRICT_OK) {
		policy_note(e, POLICY_WARNING, SLICE_NONE,
			"restriction %s returns OK for %.*s; this is not allowed for security "
			"reasons; use DUNNO instead of OK if you want to make an exception",
			item->row->name, SLICE_FMT(name));
		*result = policy_reject_server(e);
	}
	return err;
}

static int check_helo(
	struct policy_eval *e, const struct policy_item *item, enum restrict_result *result)
{
	struct slice helo = e->facts->helo;
	bool found = false;

	if (helo.p == NULL)
		return 0;
	return access_domain(e, item->table, helo, true, (struct policy_about){helo, policy_helo},
		&found, result);
}

static int check_mail(struct policy_eval *e, const struct policy_item *item, struct slice given,
	struct slice address, const char *class, enum restrict_result *result)
{
	struct policy_about about = {given, class};
	bool found = false;

	if (given.p == NULL)
		return 0;
	if (given.len == 0)
		return access_key(e, item->table, slice_str(e->policy->null_key), true, about,
			&found, result);
	return access_mail(e, item->table, address, about, &found, result);
}

static int check_sender(
	struct policy_eval *e, const struct policy_item *item, enum restrict_result *result)
{
	return check_mail(e, item, e->facts->sender, e->sender, policy_sender, result);
}

static int check_recipient(
	struct policy_eval *e, const struct policy_item *item, enum restrict_result *result)
{
	return check_mail(e, item, e->facts->recipient, e->recipient, policy_recipient, result);
}

static int check_etrn(
	struct policy_eval *e, const struct policy_item *item, enum restrict_result *result)
{
	struct slice domain = e->facts->etrn_domain;
	bool found = false;

	if (domain.p == NULL)
		return 0;
	return access_domain(e, item->table, domain, true,
		(struct policy_about){domain, policy_etrn}, &found, result);
}

static int check_sasl(
	struct policy_eval *e, const struct policy_item *item, enum restrict_result *result)
{
	struct slice login = e->facts->login;
	bool found = false;

	if (login.len == 0)
		return 0;
	return access_key(e, item->table, login, true, (struct policy_about){login, policy_login},
		&found, result);
}

/* What a certificate is known by. The names in one that nobody vouches for say nothing. */
static struct slice ccert_key(const struct policy_facts *f, enum value_ccert key)
{
	switch (key) {
	case VALUE_CCERT_FINGERPRINT: return f->ccert_fingerprint;
	case VALUE_CCERT_PUBKEY: return f->ccert_pubkey_fingerprint;
	case VALUE_CCERT_SUBJECT: return f->ccert_is_trusted ? f->ccert_subject : SLICE_NONE;
	default: return f->ccert_is_trusted ? f->ccert_issuer : SLICE_NONE;
	}
}

static int open_ccert(struct policy *p, struct policy_item *item, struct buf *why)
{
	struct value_ccerts *order = mem_alloc(sizeof(*order));

	(void)p;
	item->state = order;
	return value_ccerts(slice_str(item->text), order, why);
}

static void close_ccert(struct policy_item *item)
{
	mem_free(item->state);
	item->state = NULL;
}

/* Decides nothing without a certificate. */
static int check_ccert(
	struct policy_eval *e, const struct policy_item *item, enum restrict_result *result)
{
	const struct value_ccerts *order = item->state;
	struct policy_about about = {e->facts->namaddr, policy_ccert};
	bool found = false;
	int err = 0;

	for (size_t i = 0; i < order->n && err == 0 && !found; i++)
		err = access_key(e, item->table, ccert_key(e->facts, order->keys[i]), true, about,
			&found, result);
	return err;
}

/* Of local_header_rewrite_clients alone. */
static int check_address_map(
	struct policy_eval *e, const struct policy_item *item, enum restrict_result *result)
{
	int err = access_has(e, item->table, e->facts->client_addr);

	if (err == 0)
		*result = RESTRICT_OK;
	return err == ERR_NOT_FOUND ? 0 : err;
}

const struct restriction access_rows[] = {
	{"check_address_map", RESTRICT_TABLE, 0, check_address_map, NULL, NULL},
	{"check_client_access", RESTRICT_TABLE, 0, check_client, NULL, NULL},
	{"check_reverse_client_hostname_access", RESTRICT_TABLE, 0, check_reverse_client, NULL,
		NULL},
	{"check_helo_access", RESTRICT_TABLE, 0, check_helo, NULL, NULL},
	{"check_sender_access", RESTRICT_TABLE, 0, check_sender, NULL, NULL},
	{"check_recipient_access", RESTRICT_TABLE, 0, check_recipient, NULL, NULL},
	{"check_etrn_access", RESTRICT_TABLE, 0, check_etrn, NULL, NULL},
	{"check_sasl_access", RESTRICT_TABLE, 0, check_sasl, NULL, NULL},
	{"check_ccert_access", RESTRICT_TABLE, 0, check_ccert, open_ccert, close_ccert},
	{NULL, RESTRICT_NONE, 0, NULL, NULL, NULL},
};
