/* SPDX-License-Identifier: ISC */
#include <stdio.h>

#include "map/spec.h"
#include "policy/access.h"
#include "util/err.h"
#include "util/mem.h"

/* Restriction lists: read once, run for each command. */

enum { ITEMS_MAX = 1000, GUARDS_MAX = 10000 };

static const struct restriction *const tables[] = {restrict_rows, restrict_client_rows,
	restrict_helo_rows, restrict_sender_rows, restrict_recipient_rows, access_rows,
	restrict_dns_rows, restrict_mx_rows, rbl_rows, service_rows, verify_rows};

/* A table alone stands for the check that its list is about, as in Postfix. */
static const struct {
	const char *parameter, *restriction;
} implied[] = {
	{"smtpd_client_restrictions", "check_client_access"},
	{"smtpd_helo_restrictions", "check_helo_access"},
	{"smtpd_sender_restrictions", "check_sender_access"},
	{"smtpd_relay_restrictions", "check_recipient_access"},
	{"smtpd_recipient_restrictions", "check_recipient_access"},
	{"smtpd_etrn_restrictions", "check_etrn_access"},
	{"local_header_rewrite_clients", "check_address_map"},
};

static const struct restriction *find_row(struct slice name)
{
	for (size_t t = 0; t < sizeof(tables) / sizeof(tables[0]); t++)
		for (const struct restriction *row = tables[t]; row->name != NULL; row++)
			if (slice_case_eq_str(name, row->name))
				return row;
	return NULL;
}

static const struct restriction *find_implied(const char *parameter)
{
	for (size_t i = 0; i < sizeof(implied) / sizeof(implied[0]); i++)
		if (strcmp(parameter, implied[i].parameter) == 0)
			return find_row(slice_str(implied[i].restriction));
	return NULL;
}

/* The table of "type:name" or of "{ type:name, … }". */
static int open_table(struct policy_item *item, struct buf *why)
{
	struct slice rest = slice_str(item->text), spec;
	int err = ERR_SYNTAX;

	if (!spec_token(&rest, &spec)) {
		(void)buf_add_str(why, "no table; expected type:name");
		return err;
	}
	char *name = slice_dup(spec);
	err = access_open(name, why, &item->table);
	mem_free(name);
	return err;
}

static int open_argument(struct policy *p, struct policy_item *item, struct slice *rest,
	bool with_tables, struct buf *why)
{
	struct slice argument;
	int err = 0;

	if (item->row->argument == RESTRICT_NONE)
		return item->row->open != NULL ? item->row->open(p, item, why) : 0;
	if (!spec_token(rest, &argument)) {
		(void)buf_add_fmt(why, "\"%s\" without its argument", item->row->name);
		return ERR_SYNTAX;
	}
	(void)spec_strip_braces(&argument);
	item->text = slice_dup(argument);
	if (item->row->argument == RESTRICT_TABLE && !with_tables) {
		(void)buf_add_fmt(why, "do not specify lookup tables inside SMTPD access maps");
		err = ERR_SYNTAX;
	} else if (item->row->argument == RESTRICT_TABLE) {
		err = open_table(item, why);
	} else if (item->row->argument == RESTRICT_NUMBER &&
		   slice_u64(argument, 0, 86400, &item->number) != 0) {
		(void)buf_add_fmt(
			why, "restriction %s must be followed by a number", item->row->name);
		err = ERR_SYNTAX;
	}
	if (err == 0 && item->row->open != NULL)
		err = item->row->open(p, item, why);
	return err;
}

static void close_item(struct policy_item *item)
{
	if (item->row != NULL && item->row->close != NULL)
		item->row->close(item);
	access_close(&item->table);
	mem_free(item->text);
}

static int add_item(struct policy *p, struct policy_list *list, struct slice word,
	struct slice *rest, bool with_tables, struct buf *why)
{
	struct policy_item item = {.row = find_row(word)};
	int err = 0;

	if (item.row == NULL && slice_find(word, ':') > 0 && with_tables) {
		item.row = find_implied(list->parameter);
		*rest = slice_of(word.p, (size_t)(rest->p + rest->len - word.p));
	}
	if (list->n == ITEMS_MAX) {
		(void)buf_add_fmt(why, "more than %d restrictions", ITEMS_MAX);
		return ERR_SYNTAX;
	}
	/* A class may have the name of a restriction: the restriction is meant, as in Postfix. */
	if (item.row != NULL) {
		err = open_argument(p, &item, rest, with_tables, why);
	} else if ((item.list = dict_get(p->classes, word)) != NULL) {
		item.text = slice_dup(word);
	} else {
		(void)buf_add_fmt(why, "unknown smtpd restriction: \"%.*s\"", SLICE_FMT(word));
		err = ERR_SYNTAX;
	}
	if (err != 0) {
		close_item(&item);
		return err;
	}
	list->items = mem_resize(list->items, list->n + 1, sizeof(*list->items));
	list->items[list->n++] = item;
	return 0;
}

int policy_list_open(struct policy *p, const char *parameter, struct slice text, bool tables_too,
	struct buf *why, struct policy_list *list)
{
	struct buf reason = BUF_INIT(4096);
	struct slice word;
	int err = 0;

	*list = (struct policy_list){.parameter = mem_str(parameter)};
	while (err == 0 && spec_token(&text, &word))
		err = add_item(p, list, word, &text, tables_too, &reason);
	if (err != 0) {
		(void)buf_add_fmt(why, "%s: %s", parameter, buf_str(&reason));
		policy_list_close(list);
	}
	buf_clear(&reason);
	return err;
}

void policy_list_close(struct policy_list *list)
{
	for (size_t i = 0; i < list->n; i++)
		close_item(&list->items[i]);
	mem_free(list->items);
	mem_free(list->parameter);
	*list = (struct policy_list){0};
}

/*
 * Whether a guard is reached: 1 yes, 0 no, -1 the list ends before any. left bounds the walk, since
 * classes may lead to themselves.
 */
static int guards(const struct policy_list *list, unsigned *left)
{
	bool softened = false;

	for (size_t i = 0; i<list->n && * left> 0; i++, (*left)--) {
		const struct policy_item *item = &list->items[i];
		int found = 0;

		if (item->row == NULL) {
			found = guards(item->list, left);
		} else if (item->row->run == NULL) {
			softened = true;
			continue;
		} else if ((item->row->flags & RESTRICT_GUARDS_RELAY) != 0) {
			found = 1;
		} else if ((item->row->flags & RESTRICT_ENDS) != 0) {
			return -1;
		}
		if (found != 0 && !softened)
			return found;
		softened = false;
	}
	return 0;
}

bool policy_list_guards(const struct policy_list *list)
{
	unsigned left = GUARDS_MAX;

	return guards(list, &left) > 0;
}

/* Running. */

static int run_item(
	struct policy_eval *e, const struct policy_item *item, enum restrict_result *result)
{
	int err;

	if (item->row == NULL)
		return policy_list_run(e, item->list, result);
	err = item->row->run(e, item, result);
	if (err == 0 || err == ERR_LATER)
		return err;
	*result = policy_reject_lookup(e, e->about.name);
	return 0;
}

static void decided_by(struct policy_eval *e, const struct policy_item *item)
{
	/* What stands inside of a class has said so before. */
	if (*e->verdict->restriction != '\0' || item->row == NULL)
		return;
	e->verdict->parameter = e->parameter;
	e->verdict->restriction = item->row->name;
}

int policy_list_run(
	struct policy_eval *e, const struct policy_list *list, enum restrict_result *result)
{
	unsigned depth = ++e->depth;
	int err = 0;

	*result = RESTRICT_DUNNO;
	/* Classes that lead to themselves. */
	if (depth > 100) {
		policy_note(e, POLICY_WARNING, SLICE_NONE,
			"%s: unreasonable nesting of restriction classes", list->parameter);
		*result = policy_reject_server(e);
	}
	for (size_t i = 0; i < list->n && err == 0 && *result == RESTRICT_DUNNO; i++) {
		const struct policy_item *item = &list->items[i];

		if (e->is_discarded)
			break;
		if (item->row != NULL && item->row->run == NULL) {
			if (e->warn_depth == 0)
				e->warn_depth = depth;
			continue;
		}
		err = run_item(e, item, result);
		if (*result == RESTRICT_REFUSED)
			decided_by(e, item);
		else if (e->warn_depth >= depth)
			e->warn_depth = 0;
	}
	e->depth--;
	return err;
}
