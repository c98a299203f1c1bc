/* SPDX-License-Identifier: ISC */
#include "policy/policy.h"

#include <stdio.h>

#include "conf/conf.h"
#include "policy/direct.h"
#include "policy/restrict.h"
#include "policy/verify.h"
#include "util/err.h"
#include "util/mem.h"

enum {
	CLASSES_MAX = 1000,
	RESULTS_MAX = 10000, /* entries of tables that are lists */
	REASON_LIMIT = 16384,
	ADDRESS_ROOM = ADDRESS_LIMIT + 256
};

static const enum param list_params[POLICY_LISTS] = {
	[POLICY_LIST_CLIENT] = P_smtpd_client_restrictions,
	[POLICY_LIST_HELO] = P_smtpd_helo_restrictions,
	[POLICY_LIST_SENDER] = P_smtpd_sender_restrictions,
	[POLICY_LIST_RELAY] = P_smtpd_relay_restrictions,
	[POLICY_LIST_RECIPIENT] = P_smtpd_recipient_restrictions,
	[POLICY_LIST_DATA] = P_smtpd_data_restrictions,
	[POLICY_LIST_END_OF_DATA] = P_smtpd_end_of_data_restrictions,
	[POLICY_LIST_ETRN] = P_smtpd_etrn_restrictions,
};

static const char *const stages[POLICY_STAGES] = {"CONNECT", "HELO", "MAIL", "RCPT", "DATA",
	"END-OF-MESSAGE", "ETRN", "VRFY", "END-OF-MESSAGE"};

const char *policy_stage_name(enum policy_stage stage)
{
	return stages[stage];
}

/* Opening. */

static void free_list(void *p)
{
	policy_list_close(p);
	mem_free(p);
}

/* All names first: classes may lead to each other. */
static int open_classes(struct policy *p, struct buf *why)
{
	const char *names = conf_str(P_smtpd_restriction_classes);
	struct slice rest = slice_str(names), name;
	int err = 0;

	p->classes = dict_new(CLASSES_MAX, free_list);
	p->results = dict_new(RESULTS_MAX, free_list);
	while (err == 0 && slice_token(&rest, ", \t\r\n", &name)) {
		struct policy_list *list = mem_alloc(sizeof(*list));

		err = dict_set(p->classes, name, list);
		if (err != 0) {
			(void)buf_add_str(why, "smtpd_restriction_classes: too many");
			mem_free(list);
		}
	}
	rest = slice_str(names);
	while (err == 0 && slice_token(&rest, ", \t\r\n", &name)) {
		char *text = slice_dup(name);
		const char *value = conf_lookup(text);
		struct policy_list *list = dict_get(p->classes, name);

		policy_list_close(list);
		err = policy_list_open(p, text, slice_str(value), true, why, list);
		mem_free(text);
	}
	return err;
}

static int open_lists(struct policy *p, struct buf *why)
{
	int err = open_classes(p, why);

	for (int i = 0; i < POLICY_LISTS && err == 0; i++)
		err = policy_list_open(p, conf_name(list_params[i]),
			slice_str(conf_str(list_params[i])), true, why, &p->lists[i]);
	if (err != 0 || policy_list_guards(&p->lists[POLICY_LIST_RELAY]) ||
		policy_list_guards(&p->lists[POLICY_LIST_RECIPIENT]))
		return err;
	(void)buf_add_str(why, "parameter \"smtpd_relay_restrictions\" or "
			       "\"smtpd_recipient_restrictions\": specify at least one working "
			       "instance of: reject_unauth_destination, "
			       "defer_unauth_destination, reject, defer, defer_if_permit");
	return ERR_SYNTAX;
}

static int open_all(struct policy *p, struct buf *why)
{
	int err = match_open(conf_str(P_mynetworks), MATCH_PARENT, why, &p->mynetworks);

	if (err == 0)
		err = match_open(conf_str(P_smtpd_safe_clients), 0, why, &p->safe);
	if (err == 0)
		err = route_open(ROUTE_FOR_ALL, why, &p->route);
	if (err == 0)
		err = map_list_open(conf_str(P_smtpd_sender_login_maps), why, &p->login_maps);
	if (err == 0)
		err = map_list_open(conf_str(P_relay_clientcerts), why, &p->clientcerts);
	if (err == 0)
		err = map_list_open(conf_str(P_smtpd_dns_reply_filter), why, &p->dns_filter);
	if (err == 0)
		err = open_lists(p, why);
	if (err == 0)
		err = policy_list_open(p, conf_name(P_local_header_rewrite_clients),
			slice_str(conf_str(P_local_header_rewrite_clients)), true, why,
			&p->completed);
	return err;
}

static bool has_word(const char *list, const char *word)
{
	struct slice rest = slice_str(list), item;

	while (slice_token(&rest, ", \t\r\n", &item))
		if (slice_eq_str(item, word))
			return true;
	return false;
}

static void read_settings(struct policy *p)
{
	p->rules = (struct address_rules){
		.origin = conf_bool(P_append_at_myorigin) ? slice_str(conf_str(P_myorigin))
							  : SLICE_NONE,
		.domain = conf_bool(P_append_dot_mydomain) ? slice_str(conf_str(P_mydomain))
							   : SLICE_NONE,
		.percent_hack = conf_bool(P_allow_percent_hack),
		.swap_bangpath = conf_bool(P_swap_bangpath),
	};
	p->delay = conf_bool(P_smtpd_delay_reject);
	p->relay_first = conf_bool(P_smtpd_relay_before_recipient_restrictions);
	p->untrusted_routing = conf_bool(P_allow_untrusted_routing);
	p->reject_unlisted = conf_bool(P_smtpd_reject_unlisted_recipient);
	p->reject_unlisted_sender = conf_bool(P_smtpd_reject_unlisted_sender);
	p->show_table = conf_bool(P_show_user_unknown_table_name);
	p->access_parents =
		has_word(conf_str(P_parent_domain_matches_subdomains), "smtpd_access_maps");
	p->soft_bounce = conf_bool(P_soft_bounce);
	p->outgoing_limit = (uint64_t)conf_int(P_outgoing_message_size_limit);
	p->header_from = conf_bool(P_header_from_login_match);
	p->auth_enabled = conf_bool(P_smtpd_sasl_auth_enable);
	p->null_key = conf_str(P_smtpd_null_access_lookup_key);
	p->delimiters = conf_str(P_recipient_delimiter);
	p->permit_log = conf_str(P_smtpd_log_access_permit_actions);
	buf_init(&p->sender, ADDRESS_ROOM);
	buf_init(&p->recipient, ADDRESS_ROOM);
	buf_init(&p->namaddr, ADDRESS_ROOM);
	buf_init(&p->followed, ADDRESS_ROOM);
	buf_init(&p->value, MAP_VALUE_LIMIT);
	buf_init(&p->reason, REASON_LIMIT);
	buf_init(&p->if_permit.text, REASON_LIMIT);
	buf_init(&p->if_reject.text, REASON_LIMIT);
}

int policy_open(struct buf *why, struct policy **out)
{
	struct policy *p = mem_alloc(sizeof(*p));
	int err;

	*out = NULL;
	read_settings(p);
	err = open_all(p, why);
	if (err != 0)
		policy_close(&p);
	*out = p;
	return err;
}

void policy_close(struct policy **pp)
{
	struct policy *p = *pp;

	*pp = NULL;
	if (p == NULL)
		return;
	for (int i = 0; i < POLICY_LISTS; i++)
		policy_list_close(&p->lists[i]);
	policy_list_close(&p->completed);
	dict_free(&p->results);
	dict_free(&p->classes);
	match_close(&p->mynetworks);
	match_close(&p->safe);
	map_list_close(&p->login_maps);
	map_list_close(&p->clientcerts);
	map_list_close(&p->dns_filter);
	direct_close(&p->direct);
	route_close(&p->route);
	buf_clear(&p->sender);
	buf_clear(&p->recipient);
	buf_clear(&p->namaddr);
	buf_clear(&p->followed);
	buf_clear(&p->value);
	buf_clear(&p->reason);
	buf_clear(&p->if_permit.text);
	buf_clear(&p->if_reject.text);
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

static bool is_unsure(struct match *m, const struct policy_facts *f)
{
	int err = match_host(m, f->client_name, f->client_addr, NULL);

	return err != 0 && err != ERR_NOT_FOUND;
}

bool policy_is_unsure(struct policy *p, const struct policy_facts *f)
{
	return is_unsure(p->mynetworks, f) || is_unsure(p->safe, f);
}

bool policy_has(const struct policy *p, enum policy_stage stage)
{
	switch (stage) {
	case POLICY_CONNECT: return !p->delay && p->lists[POLICY_LIST_CLIENT].n > 0;
	case POLICY_HELO: return !p->delay && p->lists[POLICY_LIST_HELO].n > 0;
	case POLICY_MAIL:
		return !p->delay &&
		       (p->lists[POLICY_LIST_SENDER].n > 0 || p->reject_unlisted_sender);
	case POLICY_DATA: return p->lists[POLICY_LIST_DATA].n > 0;
	case POLICY_END_OF_DATA: return p->lists[POLICY_LIST_END_OF_DATA].n > 0;
	case POLICY_HEADER_FROM: return p->header_from;
	default: return true;
	}
}

struct search {
	const char *name;
	bool found;
};

static bool search_list(struct slice class, void *value, void *arg)
{
	struct search *s = arg;
	const struct policy_list *list = value;

	(void)class;
	for (size_t i = 0; i < list->n && !s->found; i++)
		s->found = list->items[i].row != NULL &&
			   strcmp(list->items[i].row->name, s->name) == 0;
	return !s->found;
}

bool policy_uses(const struct policy *p, const char *restriction)
{
	struct search s = {.name = restriction};

	dict_walk(p->classes, search_list, &s);
	for (int i = 0; i < POLICY_LISTS && !s.found; i++)
		(void)search_list(SLICE_NONE, (void *)(uintptr_t)&p->lists[i], &s);
	return s.found;
}

/* Evaluation. */

static bool is_refused(const struct policy_eval *e)
{
	return e->verdict->action == POLICY_REJECT;
}

static int run(struct policy_eval *e, int list, struct slice name, const char *class)
{
	enum restrict_result result;

	e->about = (struct policy_about){name, class};
	e->parameter = e->policy->lists[list].parameter;
	e->depth = e->warn_depth = 0;
	return policy_list_run(e, &e->policy->lists[list], &result);
}

/* What an earlier defer_if_reject meant holds for one stage. */
static int run_stage(struct policy_eval *e, int list, struct slice name, const char *class)
{
	e->if_reject->is_active = false;
	return run(e, list, name, class);
}

static struct slice namaddr(struct policy_eval *e)
{
	struct buf *b = &e->policy->namaddr;

	if (e->facts->namaddr.len > 0)
		return e->facts->namaddr;
	buf_reset(b);
	(void)buf_add_fmt(b, "%.*s[%.*s]", SLICE_FMT(e->facts->client_name),
		SLICE_FMT(e->facts->client_addr));
	return buf_slice(b);
}

static int check_client(struct policy_eval *e)
{
	return run_stage(e, POLICY_LIST_CLIENT, namaddr(e), policy_client);
}

static int check_helo(struct policy_eval *e)
{
	if (e->facts->helo.p == NULL)
		return 0;
	return run_stage(e, POLICY_LIST_HELO, e->facts->helo, policy_helo);
}

static int check_sender(struct policy_eval *e)
{
	enum restrict_result result;
	int err;

	if (e->facts->sender.p == NULL)
		return 0;
	e->sender_is_checked = false;
	err = run_stage(e, POLICY_LIST_SENDER, e->facts->sender, policy_sender);
	if (err != 0 || is_refused(e) || !e->policy->reject_unlisted_sender || e->is_discarded)
		return err;
	e->warn_depth = 0;
	e->parameter = "smtpd_reject_unlisted_sender";
	return policy_check_sender(e, &result);
}

/* The lists that wait for a command that says more, as far as they are asked for then. */
static int check_delayed(struct policy_eval *e)
{
	int err = 0;

	if (!e->policy->delay)
		return 0;
	err = check_client(e);
	if (err == 0 && !is_refused(e))
		err = check_helo(e);
	if (err == 0 && !is_refused(e) && e->stage != POLICY_ETRN)
		err = check_sender(e);
	return err;
}

/* Something may have kept us from refusing: what would be permission is not. */
static void apply_if_permit(struct policy_eval *e)
{
	const struct policy_deferral *d = e->if_permit;

	e->warn_depth = 0;
	if (d->is_active && !is_refused(e))
		(void)policy_reject(e, d->code, d->status, "%.*s", SLICE_FMT(buf_slice(&d->text)));
}

static int check_unlisted(struct policy_eval *e)
{
	enum restrict_result result;

	e->warn_depth = 0;
	e->about = (struct policy_about){e->facts->recipient, policy_recipient};
	e->parameter = "smtpd_reject_unlisted_recipient";
	if (!e->policy->reject_unlisted || e->is_discarded)
		return 0;
	return policy_check_recipient(e, &result);
}

/* A recipient elsewhere, and a message that says that it is too large to leave. */
static int check_outgoing(struct policy_eval *e)
{
	struct policy *p = e->policy;
	enum route_class class = ROUTE_DEFAULT;
	struct slice local, domain;
	int err;

	if (is_refused(e) || p->outgoing_limit == 0 || e->facts->size <= p->outgoing_limit)
		return 0;
	address_split(e->recipient, &local, &domain);
	err = route_classify(p->route, domain, e->later, &class);
	if (err == ERR_LATER || (err == 0 && class != ROUTE_DEFAULT))
		return err;
	e->verdict->parameter = "outgoing_message_size_limit";
	if (err != 0)
		(void)policy_reject_lookup(e, e->facts->recipient);
	else
		(void)policy_reject(e, 552, "5.3.4",
			"<%.*s>: Recipient address rejected: Message size exceeds fixed limit",
			SLICE_FMT(e->facts->recipient));
	return 0;
}

static int check_lists(struct policy_eval *e)
{
	static const int order[2][2] = {{POLICY_LIST_RECIPIENT, POLICY_LIST_RELAY},
		{POLICY_LIST_RELAY, POLICY_LIST_RECIPIENT}};
	int err = check_delayed(e);

	e->if_reject->is_active = false;
	for (int i = 0; i < 2 && err == 0 && !is_refused(e); i++)
		err = run(
			e, order[e->policy->relay_first][i], e->facts->recipient, policy_recipient);
	if (err == 0)
		apply_if_permit(e);
	return err;
}

static int check_recipient(struct policy_eval *e)
{
	int err = check_lists(e);

	if (err == 0 && !is_refused(e))
		err = check_unlisted(e);
	return err == 0 ? check_outgoing(e) : err;
}

static int check_safe_recipient(struct policy_eval *e)
{
	int err = check_unlisted(e);

	return err == 0 ? check_outgoing(e) : err;
}

static int check_etrn(struct policy_eval *e)
{
	int err = check_delayed(e);

	if (err == 0 && !is_refused(e))
		err = run_stage(e, POLICY_LIST_ETRN, e->facts->etrn_domain, policy_etrn);
	if (err == 0)
		apply_if_permit(e);
	return err;
}

/* The recipient's lists were asked before: what they left behind does not matter here. */
static int check_content(struct policy_eval *e, int list, const char *class)
{
	int err;

	e->if_permit->is_active = false;
	err = run_stage(e, list, slice_str(stages[e->stage]), class);
	if (err == 0)
		apply_if_permit(e);
	return err;
}

/* CODE SP STATUS SP TEXT, as policy_verdict.deferral has it. */
static void take_deferral(struct policy_deferral *d, struct slice text)
{
	uint64_t code = 0;

	if (text.len < 4 || slice_u64(slice_first(text, 3), 400, 499, &code) != 0)
		return;
	text = slice_from(text, 4);
	policy_split_status(&text, "4.7.1", d->status);
	d->code = (int)code;
	buf_reset(&d->text);
	(void)buf_add_slice(&d->text, text);
	d->is_active = true;
}

static void begin_deferrals(struct policy_eval *e)
{
	e->if_permit = &e->policy->if_permit;
	e->if_reject = &e->policy->if_reject;
	e->if_permit->is_active = e->if_reject->is_active = false;
	for (unsigned i = 0; i < 3 && i < (unsigned)e->stage && !e->if_permit->is_active; i++)
		take_deferral(e->if_permit, e->facts->deferral[i]);
}

/* CONNECT, HELO and MAIL decide nothing but refusals: the rest is for the stages behind them. */
static int check_early(struct policy_eval *e, int (*check)(struct policy_eval *e))
{
	const struct policy_deferral *d = e->if_permit;
	int err = check(e);

	if (err == 0 && !is_refused(e) && d->is_active)
		(void)buf_add_fmt(&e->verdict->deferral, "%d %s %.*s", d->code, d->status,
			SLICE_FMT(buf_slice(&d->text)));
	return err;
}

static int check_stage(struct policy_eval *e)
{
	switch (e->stage) {
	case POLICY_CONNECT: return check_early(e, check_client);
	case POLICY_HELO: return check_early(e, check_helo);
	case POLICY_MAIL: return check_early(e, check_sender);
	case POLICY_DATA: return check_content(e, POLICY_LIST_DATA, policy_data);
	case POLICY_END_OF_DATA:
		return check_content(e, POLICY_LIST_END_OF_DATA, policy_end_of_data);
	case POLICY_ETRN: return check_etrn(e);
	case POLICY_HEADER_FROM: return policy_check_header_from(e);
	default: return check_recipient(e);
	}
}

/* Safe clients pass all lists; that their recipients exist is no restriction of theirs. */
static int check_all(struct policy_eval *e)
{
	struct policy *p = e->policy;
	int safe = match_host(p->safe, e->facts->client_name, e->facts->client_addr, e->later);

	if (safe == ERR_NOT_FOUND)
		return check_stage(e);
	if (safe == ERR_LATER)
		return safe;
	if (safe == 0)
		return e->stage == POLICY_RCPT || e->stage == POLICY_VRFY ? check_safe_recipient(e)
									  : 0;
	(void)policy_reject_lookup(
		e, e->facts->recipient.len > 0 ? e->facts->recipient : namaddr(e));
	e->verdict->parameter = "smtpd_safe_clients";
	return 0;
}

static void verdict_reset(struct policy_verdict *v)
{
	struct policy_verdict old = *v;

	*v = (struct policy_verdict){.parameter = "", .restriction = ""};
	v->text = old.text;
	v->deferral = old.deferral;
	v->notes = old.notes;
	buf_reset(&v->text);
	buf_reset(&v->deferral);
	buf_reset(&v->notes);
}

static int complete(struct policy *p, struct slice address, struct buf *out, struct slice *done)
{
	int err = address.len > 0 ? address_complete(address, &p->rules, out) : 0;

	if (address.len == 0)
		buf_reset(out);
	*done = address.p == NULL ? SLICE_NONE : buf_slice(out);
	return err;
}

int policy_check(struct policy *p, enum policy_stage stage, const struct policy_facts *f,
	struct later *l, struct policy_verdict *v)
{
	struct policy_eval e = {.policy = p,
		.stage = stage,
		.facts = f,
		.later = l,
		.verdict = v,
		.parameter = "",
		.is_discarded = f->is_discarded};
	bool is_recipient = stage == POLICY_RCPT || stage == POLICY_VRFY;

	verdict_reset(v);
	begin_deferrals(&e);
	/* Without a domain it is ours, and no list may stand before it (RFC 5321, 4.5.1). */
	if (is_recipient && slice_case_eq_str(f->recipient, "postmaster")) {
		v->own = true;
		return 0;
	}
	if (complete(p, f->sender, &p->sender, &e.sender) != 0)
		(void)policy_reject(&e, 501, "5.1.7", "<%.*s>: %s rejected: bad address syntax",
			SLICE_FMT(f->sender), policy_sender);
	else if (complete(p, f->recipient, &p->recipient, &e.recipient) != 0)
		(void)policy_reject(&e, 501, "5.1.3", "<%.*s>: %s rejected: bad address syntax",
			SLICE_FMT(f->recipient), policy_recipient);
	else if (is_recipient && verify_is_sender(e.recipient, p->rules.origin))
		return 0;
	return is_refused(&e) ? 0 : check_all(&e);
}

int policy_completes_headers(struct policy *p, const struct policy_facts *f, struct later *l)
{
	struct policy_verdict v;
	struct policy_eval e = {.policy = p,
		.stage = POLICY_MAIL,
		.facts = f,
		.later = l,
		.verdict = &v,
		.parameter = ""};
	enum restrict_result result = RESTRICT_DUNNO;
	int err;

	policy_verdict_init(&v);
	begin_deferrals(&e);
	err = policy_list_run(&e, &p->completed, &result);
	policy_verdict_clear(&v);
	if (err != 0)
		return err;
	return result == RESTRICT_OK ? 0 : result == RESTRICT_REFUSED ? ERR_TEMP : ERR_NOT_FOUND;
}
