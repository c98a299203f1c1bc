/* SPDX-License-Identifier: ISC */
#include <stdio.h>

#include "conf/conf.h"
#include "mail/header.h"
#include "policy/access.h"
#include "util/err.h"
#include "util/mem.h"

/* What the entries of access tables do (access(5) of Postfix, "ACTIONS"). */

/* An entry that is being carried out. */
struct action {
	struct policy_eval *e;
	const char *table;
	struct slice key, text; /* text: behind the word, blanks taken off */
	struct policy_about about;
	enum restrict_result *result;
};

/* Things done to a message need one; before MAIL nobody can say of which. */
static bool has_message(const struct action *a, const char *word)
{
	if (a->e->stage == POLICY_ETRN) {
		policy_note(a->e, POLICY_WARNING, SLICE_NONE,
			"access table %s: action %s is unsupported in smtpd_etrn_restrictions",
			a->table, word);
		return false;
	}
	if (a->e->stage == POLICY_CONNECT || a->e->stage == POLICY_HELO) {
		policy_note(a->e, POLICY_WARNING, SLICE_NONE,
			"access table %s: with smtpd_delay_reject=no, action %s is always skipped "
			"in smtpd_client_restrictions or smtpd_helo_restrictions",
			a->table, word);
		return false;
	}
	return true;
}

static void refuse(struct action *a, int code, const char *status)
{
	char split[16], fitted[16];
	struct slice text = a->text;

	policy_split_status(&text, status, split);
	if (text.len == 0)
		text = SLICE_LIT("Access denied");
	*a->result = policy_reject(a->e, code, policy_status(a->about.class, split, fitted),
		"<%.*s>: %s rejected: %.*s", SLICE_FMT(a->about.name), a->about.class,
		SLICE_FMT(text));
}

static void do_reject(struct action *a)
{
	refuse(a, (int)conf_int(P_access_map_reject_code), "5.7.1");
}

static void do_defer(struct action *a)
{
	refuse(a, (int)conf_int(P_access_map_defer_code), "4.7.1");
}

static void defer_if(struct action *a, enum restrict_result (*remember)(struct policy_eval *e,
					       int code, const char *status, const char *fmt, ...))
{
	char split[16], fitted[16];
	struct slice text = a->text;

	policy_split_status(&text, "4.7.1", split);
	if (text.len == 0)
		text = SLICE_LIT("Service unavailable");
	*a->result = remember(a->e, (int)conf_int(P_access_map_defer_code),
		policy_status(a->about.class, split, fitted), "<%.*s>: %s rejected: %.*s",
		SLICE_FMT(a->about.name), a->about.class, SLICE_FMT(text));
}

static void do_defer_if_permit(struct action *a)
{
	defer_if(a, policy_defer_if_permit);
}

static void do_defer_if_reject(struct action *a)
{
	defer_if(a, policy_defer_if_reject);
}

static void do_warn(struct action *a)
{
	policy_note(a->e, POLICY_WARN, SLICE_NONE, "%.*s", SLICE_FMT(a->text));
}

static void do_info(struct action *a)
{
	policy_note(a->e, POLICY_INFO, SLICE_NONE, "%.*s", SLICE_FMT(a->text));
}

static void do_dunno(struct action *a)
{
	(void)a;
}

static void do_ok(struct action *a)
{
	*a->result = policy_permit(a->e, SLICE_LIT("OK"), a->about);
}

static void do_hold(struct action *a)
{
	if (!has_message(a, "HOLD"))
		return;
	policy_note(a->e, POLICY_HOLD, SLICE_NONE, "<%.*s>: %s %.*s", SLICE_FMT(a->about.name),
		a->about.class,
		SLICE_FMT(a->text.len > 0 ? a->text : SLICE_LIT("triggers HOLD action")));
}

static void do_discard(struct action *a)
{
	if (!has_message(a, "DISCARD"))
		return;
	policy_note(a->e, POLICY_DISCARD, SLICE_NONE, "<%.*s>: %s %.*s", SLICE_FMT(a->about.name),
		a->about.class,
		SLICE_FMT(a->text.len > 0 ? a->text : SLICE_LIT("triggers DISCARD action")));
	a->e->is_discarded = true;
	*a->result = policy_permit(a->e, SLICE_LIT("DISCARD"), a->about);
}

static void bad_entry(struct action *a, const char *what)
{
	policy_note(a->e, POLICY_WARNING, SLICE_NONE, "access table %s entry \"%.*s\" %s", a->table,
		SLICE_FMT(a->key), what);
}

/* An action with a value that is part of its log line. */
static void add_effect(struct action *a, enum policy_note_kind kind, const char *word)
{
	policy_note(a->e, kind, a->text, "<%.*s>: %s triggers %s %.*s", SLICE_FMT(a->about.name),
		a->about.class, word, SLICE_FMT(a->text));
}

static void do_filter(struct action *a)
{
	if (!has_message(a, "FILTER"))
		return;
	if (a->text.len == 0)
		bad_entry(a, "has FILTER entry without value");
	else if (slice_find(a->text, ':') <= 0)
		bad_entry(a, "requires transport:destination");
	else
		add_effect(a, POLICY_FILTER, "FILTER");
}

static void do_redirect(struct action *a)
{
	if (!has_message(a, "REDIRECT"))
		return;
	if (slice_find(a->text, '@') < 0)
		bad_entry(a, "requires user@domain target");
	else
		add_effect(a, POLICY_REDIRECT, "REDIRECT");
}

static void do_bcc(struct action *a)
{
	if (!has_message(a, "BCC"))
		return;
	if (slice_find(a->text, '@') < 0)
		bad_entry(a, "requires user@domain target");
	else
		add_effect(a, POLICY_BCC, "BCC");
}

static void do_prepend(struct action *a)
{
	if (!has_message(a, "PREPEND"))
		return;
	if (a->e->stage == POLICY_END_OF_DATA)
		bad_entry(a, "action PREPEND must be used before smtpd_end_of_data_restrictions");
	else if (header_name_len(a->text) == 0)
		bad_entry(a, "requires header: text argument");
	else
		policy_note(a->e, POLICY_PREPEND, a->text, "%s", "");
}

static const struct {
	const char *word;
	void (*run)(struct action *a);
} actions[] = {
	{"OK", do_ok},
	{"DUNNO", do_dunno},
	{"REJECT", do_reject},
	{"DEFER", do_defer},
	{"RELAY", do_ok},
	{"WARN", do_warn},
	{"INFO", do_info},
	{"FILTER", do_filter},
	{"HOLD", do_hold},
	{"DISCARD", do_discard},
	{"REDIRECT", do_redirect},
	{"BCC", do_bcc},
	{"DEFER_IF_PERMIT", do_defer_if_permit},
	{"DEFER_IF_REJECT", do_defer_if_reject},
	{"PREPEND", do_prepend},
};

static bool is_all_digits(struct slice s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.p[i] < '0' || s.p[i] > '9')
			return false;
	return s.len > 0;
}

/* "554 text", with text: it must have some, or it is a number like any other. */
static bool is_reply(struct slice word, struct slice text)
{
	return word.len == 3 && text.len > 0 && (word.p[0] == '4' || word.p[0] == '5') &&
	       is_all_digits(word);
}

static void do_reply(struct action *a, struct slice word)
{
	uint64_t code = 0;

	(void)slice_u64(word, 400, 599, &code);
	refuse(a, (int)code, word.p[0] == '4' ? "4.7.1" : "5.7.1");
}

/* Restrictions and classes, as if they stood in the list: read once for each text. */
static const struct policy_list *open_result(struct action *a, struct slice value)
{
	struct policy *p = a->e->policy;
	struct policy_list *list = dict_get(p->results, value);
	struct buf why = BUF_INIT(4096);

	if (list != NULL)
		return list;
	list = mem_alloc(sizeof(*list));
	if (policy_list_open(p, a->table, value, false, &why, list) != 0 ||
		dict_set(p->results, value, list) != 0) {
		policy_note(a->e, POLICY_WARNING, SLICE_NONE, "access table %s entry \"%.*s\": %s",
			a->table, SLICE_FMT(a->key), why.len > 0 ? buf_str(&why) : "too many");
		policy_list_close(list);
		mem_free(list);
		list = NULL;
	}
	buf_clear(&why);
	return list;
}

static int run_result(struct action *a, struct slice value)
{
	const struct policy_list *list = open_result(a, value);
	struct policy_about saved = a->e->about;
	int err;

	if (list == NULL) {
		*a->result = policy_reject_server(a->e);
		return 0;
	}
	if (list->n == 0) {
		bad_entry(a, "has empty value");
		*a->result = RESTRICT_OK;
		return 0;
	}
	a->e->about = a->about;
	err = policy_list_run(a->e, list, a->result);
	a->e->about = saved;
	return err;
}

int policy_do(struct policy_eval *e, const char *table, struct slice key, struct slice value,
	struct policy_about about, enum restrict_result *result)
{
	struct slice rest = slice_trim(value), word = SLICE_NONE;
	struct action a = {e, table, key, SLICE_NONE, about, result};

	*result = RESTRICT_DUNNO;
	(void)slice_token(&rest, " \t", &word);
	a.text = slice_trim(rest);
	for (size_t i = 0; i < sizeof(actions) / sizeof(actions[0]); i++) {
		if (slice_case_eq_str(word, actions[i].word)) {
			actions[i].run(&a);
			return 0;
		}
	}
	if (is_reply(word, a.text)) {
		do_reply(&a, word);
		return 0;
	}
	if (is_all_digits(slice_trim(value))) {
		*result = policy_permit(e, SLICE_LIT("OK"), about);
		return 0;
	}
	return run_result(&a, slice_trim(value));
}
