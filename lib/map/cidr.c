/* SPDX-License-Identifier: ISC */
#include "map/driver.h"
#include "map/net.h"
#include "map/rules.h"
#include "util/err.h"
#include "util/mem.h"

/*
 * cidr: rules "[!]NETWORK RESULT", "if [!]NETWORK", "endif"; the first that matches decides. A key
 * that is no address is never found.
 */
struct cidr_rule {
	struct net net;
	enum rule_kind kind;
	bool negated;
	size_t skip;  /* RULE_IF: the rule to go on with when it does not hold */
	char *result; /* owned */
};

struct cidr {
	struct cidr_rule *rules;
	size_t count, cap;
	struct rule_ifs ifs;
};

static void cidr_close(void *state)
{
	struct cidr *c = state;
	for (size_t i = 0; i < c->count; i++)
		mem_free(c->rules[i].result);
	mem_free(c->rules);
	mem_free(c);
}

static struct cidr_rule *add_rule(struct cidr *c, enum rule_kind kind)
{
	if (c->count == c->cap) {
		c->cap = c->cap == 0 ? 16 : c->cap * 2;
		c->rules = mem_resize(c->rules, c->cap, sizeof(*c->rules));
	}
	struct cidr_rule *r = &c->rules[c->count++];
	*r = (struct cidr_rule){.kind = kind};
	return r;
}

static bool parse_network(struct slice text, struct text *t, unsigned line, struct net *n)
{
	struct buf why = BUF_INIT(512);
	int r = net_parse(text, &why, n);
	if (r != 0)
		text_mistake(t, line, "%s", buf_str(&why));
	buf_clear(&why);
	return r == 0;
}

static void parse_match(struct cidr *c, struct slice rest, struct text *t, unsigned line)
{
	struct net net;
	struct slice network, result;
	bool negated = rule_take_not(&rest);
	text_split(rest, &network, &result);
	if (!parse_network(network, t, line, &net))
		return;
	if (result.len == 0) {
		text_mistake(t, line, "no result; expected \"NETWORK RESULT\"");
		return;
	}
	struct cidr_rule *r = add_rule(c, RULE_MATCH);
	r->net = net;
	r->negated = negated;
	r->result = slice_dup(result);
}

static void parse_rule(void *table, struct slice logical, struct text *t, unsigned line)
{
	struct cidr *c = table;
	struct slice rest;
	size_t opened;
	enum rule_kind kind = rule_kind_of(logical, &rest);
	if (kind == RULE_MATCH) {
		parse_match(c, rest, t, line);
	} else if (kind == RULE_ENDIF) {
		add_rule(c, RULE_ENDIF);
		if (rule_ifs_end(&c->ifs, t, line, rest, &opened))
			c->rules[opened].skip = c->count;
	} else if (rule_ifs_begin(&c->ifs, t, line, c->count)) {
		struct cidr_rule *r = add_rule(c, RULE_IF);
		r->negated = rule_take_not(&rest);
		parse_network(rest, t, line, &r->net);
	}
}

static int cidr_open(const struct map_input *in, void **state)
{
	struct cidr *c = mem_alloc(sizeof(*c));
	int r = rules_read(in, &c->ifs, parse_rule, c);
	if (r == 0)
		*state = c;
	else
		cidr_close(c);
	return r;
}

static int cidr_find(void *state, struct slice key, struct later *l, struct buf *value)
{
	(void)l;
	const struct cidr *c = state;
	struct net address;
	if (net_parse_address(key, &address) != 0)
		return ERR_NOT_FOUND;
	for (size_t i = 0; i < c->count;) {
		const struct cidr_rule *r = &c->rules[i];
		bool holds = r->kind != RULE_ENDIF && net_has(&r->net, &address) != r->negated;
		if (r->kind == RULE_MATCH && holds)
			return buf_add_str(value, r->result);
		i = r->kind == RULE_IF && !holds ? r->skip : i + 1;
	}
	return ERR_NOT_FOUND;
}

const struct map_driver map_cidr = {
	"cidr", MAP_SOURCE_TEXT, cidr_open, cidr_find, cidr_close, NULL, true};
