/* SPDX-License-Identifier: ISC */
#include "local/alias.h"

#include "conf/conf.h"
#include "mail/address.h"
#include "map/match.h"
#include "util/dict.h"
#include "util/err.h"
#include "util/mem.h"

static struct map_list *aliases;
static struct match *destinations;

/* One expansion. */
struct expansion {
	struct plan *plan;
	struct later *later;
	struct dict *seen;  /* names: &at_work or &done; addresses that were taken: &done */
	struct slice begin; /* the name that was asked for */
};

static char at_work, done;

int alias_open(struct buf *why)
{
	int r = map_list_open(conf_str(P_alias_maps), why, &aliases);
	return r == 0 ? match_open(conf_str(P_mydestination), 0, why, &destinations) : r;
}

static bool is_new(struct expansion *x, struct slice name)
{
	if (dict_get(x->seen, name) != NULL)
		return false;
	(void)dict_set(x->seen, name, &done);
	return true;
}

static int add_address(struct expansion *x, struct slice local, struct slice domain)
{
	struct plan *p = x->plan;
	struct buf full = BUF_INIT(ADDRESS_LIMIT);
	buf_add_fmt(&full, "%.*s@%.*s", SLICE_FMT(local),
		SLICE_FMT(domain.len > 0 ? domain : slice_str(conf_str(P_myorigin))));
	int r = 0;
	if (p->count == PLAN_ADDRESSES_MAX || buf_failed(&full)) {
		plan_answer(p, RESULT_FAILED, "5.4.6", "alias \"%.*s\": too many addresses",
			SLICE_FMT(x->begin));
		r = ERR_LIMIT;
	} else if (is_new(x, buf_slice(&full))) {
		p->addresses = mem_resize(p->addresses, p->count + 1, sizeof(char *));
		p->addresses[p->count++] = slice_dup(buf_slice(&full));
	}
	buf_clear(&full);
	return r;
}

static int expand(struct expansion *x, struct slice name, int depth);

/* An address of a value: looked up in turn when it is one of ours. */
static int take_address(struct expansion *x, struct slice text, int depth)
{
	struct buf internal = BUF_INIT(ADDRESS_LIMIT), folded = BUF_INIT(ADDRESS_LIMIT);
	struct slice local, domain;
	bool is_final = slice_starts(text, "\\");
	int r = address_parse(slice_from(text, is_final), ADDRESS_UTF8, &internal);
	if (r != 0) {
		plan_answer(x->plan, RESULT_DEFERRED, "4.3.5",
			"alias \"%.*s\": bad address \"%.*s\"", SLICE_FMT(x->begin),
			SLICE_FMT(slice_first(text, 100)));
		r = ERR_SYNTAX;
	} else {
		address_split(buf_slice(&internal), &local, &domain);
		r = domain.len == 0 ? 0 : match_domain(destinations, domain, x->later);
		if (r == 0 && !is_final) {
			address_fold(&folded, local);
			r = expand(x, buf_slice(&folded), depth + 1);
		} else if (r == 0) {
			r = ERR_NOT_FOUND;
		}
		if (r == ERR_NOT_FOUND) {
			x->plan->has_itself |= slice_case_eq(local, x->begin);
			r = add_address(x, local, domain);
		} else if (r == ERR_TEMP) {
			plan_answer(x->plan, RESULT_DEFERRED, "4.3.0", "table lookup failed");
		}
	}
	buf_clear(&internal);
	buf_clear(&folded);
	return r;
}

static int refuse(struct expansion *x, const char *what, struct slice text)
{
	plan_answer(x->plan, RESULT_DEFERRED, "4.3.5",
		"alias \"%.*s\": this system does not deliver to %s: %.*s", SLICE_FMT(x->begin),
		what, SLICE_FMT(slice_first(text, 200)));
	return ERR_SYNTAX;
}

static int take_value(struct expansion *x, struct slice text, int depth)
{
	struct slice bare = text;
	if (slice_starts(bare, "\"") && slice_ends(bare, "\"") && bare.len > 1)
		bare = slice_of(bare.p + 1, bare.len - 2);
	if (slice_starts(bare, "|"))
		return refuse(x, "commands", text);
	if (slice_starts(bare, "/"))
		return refuse(x, "files", text);
	if (slice_case_starts(bare, ":include:"))
		return refuse(x, "lists in files", text);
	return take_address(x, text, depth);
}

/* The next part of "a, b": a comma inside quotes does not count. */
static bool next_value(struct slice *rest, struct slice *text)
{
	bool quoted = false;
	size_t n = 0;
	if (rest->len == 0)
		return false;
	for (; n < rest->len && (quoted || rest->p[n] != ','); n++) {
		if (rest->p[n] == '\\' && n + 1 < rest->len)
			n++;
		else if (rest->p[n] == '"')
			quoted = !quoted;
	}
	*text = slice_trim(slice_first(*rest, n));
	*rest = slice_from(*rest, n + 1);
	return true;
}

/*
 * Whether an alias names itself: 0 or ERR_NOT_FOUND. Inside another alias such a name is final: its
 * own turn comes when the new message comes to it.
 */
static int find_itself(struct expansion *x, struct slice name, struct slice value)
{
	struct slice rest = value, text, local, domain;
	int r = ERR_NOT_FOUND;
	while (r == ERR_NOT_FOUND && next_value(&rest, &text)) {
		struct buf internal = BUF_INIT(ADDRESS_LIMIT);
		text = slice_from(text, slice_starts(text, "\\"));
		if (address_parse(text, ADDRESS_UTF8, &internal) == 0) {
			address_split(buf_slice(&internal), &local, &domain);
			if (slice_case_eq(local, name))
				r = domain.len == 0 ? 0
						    : match_domain(destinations, domain, x->later);
		}
		buf_clear(&internal);
	}
	return r;
}

/* 0: an alias, all of it is in the plan; ERR_NOT_FOUND: none, or one that is being expanded. */
static int expand(struct expansion *x, struct slice name, int depth)
{
	struct buf value = BUF_INIT(MAP_VALUE_LIMIT);
	struct slice rest, text;
	const char *before = dict_get(x->seen, name);
	if (before != NULL)
		return before == &done ? 0 : ERR_NOT_FOUND;
	int r = map_list_find(aliases, name, x->later, &value);
	if (r == 0 && depth > ALIAS_DEPTH) {
		plan_answer(x->plan, RESULT_FAILED, "5.4.6", "alias \"%.*s\": nested too deep",
			SLICE_FMT(x->begin));
		r = ERR_LIMIT;
	}
	if (r == 0 && depth > 0) {
		r = find_itself(x, name, buf_slice(&value));
		r = r == 0 ? ERR_NOT_FOUND : r == ERR_NOT_FOUND ? 0 : r;
	}
	if (r == 0)
		(void)dict_set(x->seen, name, &at_work);
	rest = buf_slice(&value);
	while (r == 0 && next_value(&rest, &text))
		if (text.len > 0)
			r = take_value(x, text, depth);
	if (r == 0)
		(void)dict_set(x->seen, name, &done);
	buf_clear(&value);
	return r;
}

int alias_find(struct slice local, struct slice user, struct later *l, struct plan *p)
{
	struct expansion x = {.plan = p, .later = l, .begin = user};
	x.seen = dict_new(PLAN_ADDRESSES_MAX * 4, NULL);
	p->kind = PLAN_FORWARD;
	int r = expand(&x, local, 0);
	if (r == ERR_NOT_FOUND && !slice_eq(local, user))
		r = expand(&x, user, 0);
	if (r == ERR_TEMP)
		plan_answer(p, RESULT_DEFERRED, "4.3.0", "table lookup failed: alias_maps");
	dict_free(&x.seen);
	if (r == 0 && p->count == 0)
		plan_answer(
			p, RESULT_DEFERRED, "4.3.5", "alias \"%.*s\": no address", SLICE_FMT(user));
	if (r == 0)
		p->user = slice_dup(user);
	/* What went wrong stands in the plan. */
	return r == ERR_NOT_FOUND || r == ERR_LATER ? r : 0;
}
