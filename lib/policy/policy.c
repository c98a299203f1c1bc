/* SPDX-License-Identifier: ISC */
#include "policy/restrict.h"

#include <stdio.h>

#include "conf/conf.h"
#include "util/err.h"
#include "util/mem.h"

enum { TEXT_LIMIT = 4096, RESTRICTIONS_MAX = 1000 };

void policy_verdict_init(struct policy_verdict *v)
{
	*v = (struct policy_verdict){.parameter = "", .restriction = ""};
	buf_init(&v->text, TEXT_LIMIT);
}

void policy_verdict_clear(struct policy_verdict *v)
{
	buf_clear(&v->text);
}

static void verdict_reset(struct policy_verdict *v)
{
	struct buf text = v->text;

	buf_reset(&text);
	*v = (struct policy_verdict){.parameter = "", .restriction = "", .text = text};
}

/* Lists. */

static int compile(enum param param, struct buf *why, struct policy_list *list)
{
	struct slice rest = slice_str(conf_str(param)), word;

	*list = (struct policy_list){.parameter = conf_name(param)};
	while (slice_token(&rest, ", \t\r\n", &word)) {
		const struct restriction *r = restriction_find(word);

		if (r == NULL) {
			(void)buf_add_fmt(why, "%s: \"%.*s\" is not supported", conf_name(param),
				SLICE_FMT(word));
			return ERR_SYNTAX;
		}
		if (list->n == RESTRICTIONS_MAX) {
			(void)buf_add_fmt(why, "%s: more than %d restrictions", conf_name(param),
				RESTRICTIONS_MAX);
			return ERR_SYNTAX;
		}
		list->rows = mem_resize(list->rows, list->n + 1, sizeof(*list->rows));
		list->rows[list->n++] = r;
	}
	return 0;
}

static bool decides_relay(const struct policy_list *list)
{
	for (size_t i = 0; i < list->n; i++)
		if (list->rows[i]->guards_relay)
			return true;
	return false;
}

static int check_relay_control(const struct policy *p, struct buf *why)
{
	if (decides_relay(&p->relay) || decides_relay(&p->recipient))
		return 0;
	(void)buf_add_str(why, "parameter \"smtpd_relay_restrictions\" or "
			       "\"smtpd_recipient_restrictions\": specify at "
			       "least one working instance of: reject_unauth_destination, "
			       "defer_unauth_destination, "
			       "reject, defer");
	return ERR_SYNTAX;
}

static int open_all(struct policy *p, struct buf *why)
{
	int err = compile(P_smtpd_relay_restrictions, why, &p->relay);

	if (err == 0)
		err = compile(P_smtpd_recipient_restrictions, why, &p->recipient);
	if (err == 0)
		err = check_relay_control(p, why);
	if (err == 0)
		err = match_open(conf_str(P_mynetworks), MATCH_PARENT, why, &p->mynetworks);
	if (err == 0)
		err = match_open(conf_str(P_smtpd_safe_clients), 0, why, &p->safe);
	if (err == 0)
		err = route_open(ROUTE_FOR_CLASS | ROUTE_FOR_RECIPIENTS, why, &p->route);
	return err;
}

int policy_open(struct buf *why, struct policy **out)
{
	struct policy *p = mem_alloc(sizeof(*p));
	int err = open_all(p, why);

	*out = NULL;
	if (err != 0) {
		policy_close(&p);
		return err;
	}
	p->rules = (struct address_rules){
		.origin = conf_bool(P_append_at_myorigin) ? slice_str(conf_str(P_myorigin))
							  : SLICE_NONE,
		.domain = conf_bool(P_append_dot_mydomain) ? slice_str(conf_str(P_mydomain))
							   : SLICE_NONE,
		.percent_hack = conf_bool(P_allow_percent_hack),
		.swap_bangpath = conf_bool(P_swap_bangpath),
	};
	p->relay_first = conf_bool(P_smtpd_relay_before_recipient_restrictions);
	p->untrusted_routing = conf_bool(P_allow_untrusted_routing);
	p->reject_unlisted = conf_bool(P_smtpd_reject_unlisted_recipient);
	p->show_table = conf_bool(P_show_user_unknown_table_name);
	p->outgoing_limit = (uint64_t)conf_int(P_outgoing_message_size_limit);
	*out = p;
	return 0;
}

void policy_close(struct policy **pp)
{
	struct policy *p = *pp;

	*pp = NULL;
	if (p == NULL)
		return;
	mem_free(p->relay.rows);
	mem_free(p->recipient.rows);
	match_close(&p->mynetworks);
	match_close(&p->safe);
	route_close(&p->route);
	mem_free(p);
}

const struct address_rules *policy_rules(const struct policy *p)
{
	return &p->rules;
}

bool policy_is_trusted(struct policy *p, const struct policy_facts *f)
{
	return match_host(p->mynetworks, f->client_name, f->client_addr, NULL) == 0;
}

bool policy_is_safe(struct policy *p, const struct policy_facts *f)
{
	return match_host(p->safe, f->client_name, f->client_addr, NULL) == 0;
}

/* Evaluation. */

void policy_refuse(struct policy_eval *e, int code, const char *status, const char *text)
{
	struct policy_verdict *v = e->verdict;
	/* A code that the administrator has set as 4xx or 5xx decides the class of the status. */
	char class = status[0] == '2' ? '2' : (char)('0' + code / 100);

	v->action = POLICY_REJECT;
	v->code = code;
	(void)snprintf(v->status, sizeof(v->status), "%c%s", class, status + 1);
	buf_reset(&v->text);
	(void)buf_add_char(&v->text, '<');
	(void)buf_add_slice(&v->text, e->facts->recipient);
	(void)buf_add_fmt(&v->text, ">: %s", text);
}

/* What a lookup gave that is neither "found" nor "not there". */
static int lookup_failed(struct policy_eval *e, int err)
{
	if (err == ERR_LATER)
		return ERR_LATER;
	policy_refuse(e, 451, "4.3.0", "Temporary lookup failure");
	return 0;
}

/* The first restriction that decides. *permitted says that it was a permission. */
static int run_list(struct policy_eval *e, const struct policy_list *list, bool *decided)
{
	*decided = false;
	for (size_t i = 0; i < list->n; i++) {
		enum restrict_result result = RESTRICT_DUNNO;
		int err = list->rows[i]->run(e, &result);

		e->verdict->parameter = list->parameter;
		e->verdict->restriction = list->rows[i]->name;
		if (err != 0) {
			*decided = true;
			return lookup_failed(e, err);
		}
		if (result == RESTRICT_OK)
			return 0;
		if (result == RESTRICT_REFUSED) {
			*decided = true;
			return 0;
		}
	}
	e->verdict->parameter = e->verdict->restriction = "";
	return 0;
}

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

/* Mail to the postmaster must be taken (RFC 5321, 4.5.1), whatever the tables know. */
static bool is_postmaster(const struct policy_eval *e)
{
	struct slice local, domain;

	address_split(buf_slice(&e->recipient), &local, &domain);
	return slice_case_eq_str(local, "postmaster");
}

/* Unknown recipients of our own classes (smtpd_reject_unlisted_recipient). */
static int check_listed(struct policy_eval *e)
{
	struct policy *p = e->policy;
	enum route_class class = ROUTE_DEFAULT;
	const char *table = "";
	char text[128];
	int err = route_recipient_exists(
		p->route, buf_slice(&e->recipient), e->later, &class, &table);

	e->verdict->own = class != ROUTE_DEFAULT;
	if (err == 0 || (err == ERR_NOT_FOUND && class == ROUTE_LOCAL && is_postmaster(e)))
		return 0;
	e->verdict->parameter = "smtpd_reject_unlisted_recipient";
	e->verdict->restriction = "reject_unlisted_recipient";
	if (err != ERR_NOT_FOUND)
		return lookup_failed(e, err);
	(void)snprintf(text, sizeof(text), "Recipient address rejected: User unknown%s%s",
		p->show_table ? " in " : "", p->show_table ? table : "");
	policy_refuse(e, reject_code(class), "5.1.1", text);
	e->verdict->unknown_user = true;
	return 0;
}

/* A recipient elsewhere, and a message that says that it is too large to leave. */
static int check_outgoing(struct policy_eval *e)
{
	struct policy *p = e->policy;
	enum route_class class = ROUTE_DEFAULT;
	struct slice local, domain;

	if (p->outgoing_limit == 0 || e->facts->size <= p->outgoing_limit)
		return 0;
	address_split(buf_slice(&e->recipient), &local, &domain);
	int err = route_classify(p->route, domain, e->later, &class);
	e->verdict->parameter = "outgoing_message_size_limit";
	if (err != 0)
		return lookup_failed(e, err);
	if (class == ROUTE_DEFAULT)
		policy_refuse(e, 552, "5.3.4",
			"Recipient address rejected: Message size exceeds fixed limit");
	else
		e->verdict->parameter = "";
	return 0;
}

static int check_all(struct policy_eval *e)
{
	struct policy *p = e->policy;
	const struct policy_list *lists[2] = {&p->relay, &p->recipient};
	int safe = match_host(p->safe, e->facts->client_name, e->facts->client_addr, e->later);
	int err = safe == 0 || safe == ERR_NOT_FOUND ? 0 : lookup_failed(e, safe);

	bool decided = err == 0 && e->verdict->action == POLICY_REJECT;

	if (!p->relay_first) {
		lists[0] = &p->recipient;
		lists[1] = &p->relay;
	}
	for (int i = 0; safe != 0 && i < 2 && err == 0 && !decided; i++)
		err = run_list(e, lists[i], &decided);
	if (err == 0 && !decided && p->reject_unlisted)
		err = check_listed(e);
	if (err == 0 && e->verdict->action == POLICY_PERMIT)
		err = check_outgoing(e);
	return err;
}

int policy_check(struct policy *p, enum policy_stage stage, const struct policy_facts *f,
	struct later *l, struct policy_verdict *v)
{
	struct policy_eval e = {.policy = p, .facts = f, .later = l, .verdict = v};

	verdict_reset(v);
	buf_init(&e.recipient, ADDRESS_LIMIT + 256);
	/* Without a domain it is ours, and no list may stand before it. */
	bool always = slice_case_eq_str(f->recipient, "postmaster");
	int err = address_complete(f->recipient, &p->rules, &e.recipient);
	if (always) {
		v->own = true;
		err = 0;
	} else if (err != 0) {
		policy_refuse(&e, 501, "5.1.3", "Recipient address rejected: bad address syntax");
		err = 0;
	} else {
		err = check_all(&e);
	}
	buf_clear(&e.recipient);
	return err;
}
