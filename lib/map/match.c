/* SPDX-License-Identifier: ISC */
#include "map/driver.h"
#include "map/match.h"
#include "map/net.h"
#include "map/spec.h"
#include "map/text.h"
#include "util/err.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/mem.h"

enum { ITEM_LIMIT = 1000000, FILE_DEPTH = 4, FILE_LIMIT = 64 * 1024 * 1024, NAME_LIMIT = 1024 };

struct item {
	enum { ITEM_TEXT, ITEM_NET, ITEM_TABLE, ITEM_FAILED } kind;
	bool negated;
	struct net net;
	struct map *table;
	char *text; /* owned; lower case */
};

struct match {
	struct item *items;
	size_t count, cap;
	int flags;
	struct buf value; /* of tables; what they say does not matter here */
};

static struct item *add_item(struct match *m, struct item item)
{
	if (m->count == m->cap) {
		m->cap = m->cap == 0 ? 8 : m->cap * 2;
		m->items = mem_resize(m->items, m->cap, sizeof(*m->items));
	}
	m->items[m->count++] = item;
	return &m->items[m->count - 1];
}

static bool has_only(struct slice text, const char *allowed)
{
	for (size_t i = 0; i < text.len; i++)
		if (memchr(allowed, text.p[i], strlen(allowed)) == NULL)
			return false;
	return true;
}

/* What can be nothing but an address or a network, if it is anything. */
static bool looks_like_network(struct slice text)
{
	if (slice_find(text, '/') >= 0 || slice_find(text, '*') >= 0)
		return true;
	if (slice_starts(text, "["))
		return slice_find(text, ':') >= 0;
	return slice_find(text, '.') >= 0 && has_only(text, "0123456789.");
}

static int add_table(struct match *m, struct slice token, bool negated, struct buf *why)
{
	struct net n;
	if (net_parse_address(token, &n) == 0) {
		buf_add_fmt(why, "IPv6 address \"%.*s\" without brackets; expected [%.*s]",
			SLICE_FMT(token), SLICE_FMT(token));
		return ERR_SYNTAX;
	}
	char *spec = slice_dup(token);
	struct item item = {.kind = ITEM_TABLE, .negated = negated};
	int r = map_open(spec, why, &item.table);
	mem_free(spec);
	if (r == 0)
		add_item(m, item);
	return r;
}

static int add_pattern(struct match *m, struct slice token, bool negated, struct buf *why)
{
	struct item item = {.kind = ITEM_TEXT, .negated = negated};
	struct buf lower = BUF_INIT(NAME_LIMIT);
	int r = 0;
	if (looks_like_network(token)) {
		item.kind = ITEM_NET;
		r = net_parse(token, why, &item.net);
	} else if (slice_starts(token, "[")) {
		/* An address literal: as a host's item it is that address. */
		struct buf unused = BUF_INIT(256);
		if (net_parse(token, &unused, &item.net) == 0)
			item.kind = ITEM_NET;
		buf_clear(&unused);
	}
	if (r == 0 && buf_add_lower(&lower, token) != 0) {
		buf_add_fmt(why, "item too long; expected at most %d bytes", NAME_LIMIT);
		r = ERR_SYNTAX;
	}
	if (r == 0) {
		item.text = mem_str(buf_str(&lower));
		add_item(m, item);
	}
	buf_clear(&lower);
	return r;
}

static int add_all(struct match *m, struct slice text, struct buf *why, bool negated, int depth);

static int add_lines(struct match *m, const char *path, struct slice source, struct buf *why,
	bool negated, int depth)
{
	struct text t;
	struct slice logical;
	unsigned line;
	text_init(&t, path, source, why);
	while (text_next(&t, &logical, &line)) {
		struct buf mistake = BUF_INIT(1024);
		if (add_all(m, logical, &mistake, negated, depth + 1) != 0)
			text_mistake(&t, line, "%s", buf_str(&mistake));
		buf_clear(&mistake);
	}
	int r = text_result(&t);
	text_clear(&t);
	return r;
}

/* "/file": its items stand in its place. One that cannot be read fails when a search comes to it.
 */
static int add_file(struct match *m, struct slice token, struct buf *why, bool negated, int depth)
{
	if (depth == FILE_DEPTH) {
		buf_add_fmt(why, "files nested too deep at %.*s; expected at most %d levels",
			SLICE_FMT(token), FILE_DEPTH);
		return ERR_SYNTAX;
	}
	char *path = slice_dup(token);
	struct buf source = BUF_INIT(FILE_LIMIT);
	int fd = -1;
	int r = map_open_file(path, &fd);
	if (r == 0)
		r = fd_read_all(fd, &source);
	if (r != 0) {
		log_error("open %s: %s; lookups that come to it fail", path, err_str(r));
		add_item(m, (struct item){.kind = ITEM_FAILED, .negated = negated});
		r = 0;
	} else {
		r = add_lines(m, path, buf_slice(&source), why, negated, depth);
	}
	fd_close(&fd);
	buf_clear(&source);
	mem_free(path);
	return r;
}

static int add_one(struct match *m, struct slice token, struct buf *why, bool negated, int depth)
{
	while (slice_starts(token, "!")) {
		token = slice_from(token, 1);
		negated = !negated;
	}
	if (token.len == 0) {
		buf_add_str(why, "nothing behind \"!\"; expected an item to exclude");
		return ERR_SYNTAX;
	}
	if (m->count == ITEM_LIMIT) {
		buf_add_fmt(why, "too many items; expected at most %d", ITEM_LIMIT);
		return ERR_SYNTAX;
	}
	if (slice_starts(token, "/"))
		return add_file(m, token, why, negated, depth);
	if (!slice_starts(token, "[") && slice_find(token, ':') >= 0)
		return add_table(m, token, negated, why);
	return add_pattern(m, token, negated, why);
}

static int add_all(struct match *m, struct slice text, struct buf *why, bool negated, int depth)
{
	struct slice token;
	int r = 0;
	while (r == 0 && spec_token(&text, &token))
		r = add_one(m, token, why, negated, depth);
	return r;
}

int match_open(const char *text, int flags, struct buf *why, struct match **m)
{
	*m = mem_alloc(sizeof(**m));
	(*m)->flags = flags;
	buf_init(&(*m)->value, MAP_VALUE_LIMIT);
	int r = add_all(*m, slice_str(text), why, false, 0);
	if (r != 0)
		match_close(m);
	return r == 0 ? 0 : ERR_SYNTAX;
}

void match_close(struct match **m)
{
	struct match *old = *m;
	*m = NULL;
	if (old == NULL)
		return;
	for (size_t i = 0; i < old->count; i++) {
		map_close(&old->items[i].table);
		mem_free(old->items[i].text);
	}
	mem_free(old->items);
	buf_clear(&old->value);
	mem_free(old);
}

/* "example.com" itself; below it with MATCH_PARENT; ".example.com" all below it. */
static bool has_domain(const struct match *m, struct slice pattern, struct slice name)
{
	if (slice_case_eq(pattern, name))
		return true;
	if (pattern.len == 0 || name.len <= pattern.len)
		return false;
	struct slice tail = slice_from(name, name.len - pattern.len);
	if (!slice_case_eq(tail, pattern))
		return false;
	bool dotted = pattern.p[0] == '.';
	return dotted || ((m->flags & MATCH_PARENT) && name.p[name.len - pattern.len - 1] == '.');
}

/* The name, then its parents as the flags say: "example.com" or ".example.com". */
static int find_name(struct match *m, struct map *table, struct slice name, struct later *l)
{
	int r = map_find(table, name, l, &m->value);
	if (!map_is_keyed(table))
		return r;
	ptrdiff_t dot;
	while (r == ERR_NOT_FOUND && (dot = slice_find(slice_from(name, 1), '.')) >= 0) {
		name = slice_from(name, (size_t)dot + 1);
		struct slice key = (m->flags & MATCH_PARENT) ? slice_from(name, 1) : name;
		r = map_find(table, key, l, &m->value);
	}
	return r;
}

static int host_item(struct match *m, const struct item *item, struct slice name,
	struct slice address, const struct net *net, struct later *l)
{
	int r = ERR_NOT_FOUND;
	switch (item->kind) {
	case ITEM_FAILED: return ERR_TEMP;
	case ITEM_NET: return net->bytes > 0 && net_has(&item->net, net) ? 0 : ERR_NOT_FOUND;
	case ITEM_TEXT:
		return name.len > 0 && has_domain(m, slice_str(item->text), name) ? 0
										  : ERR_NOT_FOUND;
	case ITEM_TABLE:
		if (name.len > 0)
			r = find_name(m, item->table, name, l);
		if (r == ERR_NOT_FOUND && address.len > 0)
			r = map_find(item->table, address, l, &m->value);
	}
	return r;
}

int match_host(struct match *m, struct slice name, struct slice address, struct later *l)
{
	struct net net = {0};
	if (net_parse_address(address, &net) != 0)
		net.bytes = 0;
	for (size_t i = 0; m != NULL && i < m->count; i++) {
		int r = host_item(m, &m->items[i], name, address, &net, l);
		if (r == 0 && m->items[i].negated)
			return ERR_NOT_FOUND;
		if (r != ERR_NOT_FOUND)
			return r;
	}
	return ERR_NOT_FOUND;
}

int match_domain(struct match *m, struct slice domain, struct later *l)
{
	for (size_t i = 0; m != NULL && domain.len > 0 && i < m->count; i++) {
		const struct item *item = &m->items[i];
		int r = ERR_NOT_FOUND;
		if (item->kind == ITEM_FAILED)
			r = ERR_TEMP;
		else if (item->kind == ITEM_TABLE)
			r = find_name(m, item->table, domain, l);
		else if (has_domain(m, slice_str(item->text), domain))
			r = 0;
		if (r == 0 && item->negated)
			return ERR_NOT_FOUND;
		if (r != ERR_NOT_FOUND)
			return r;
	}
	return ERR_NOT_FOUND;
}

int match_check_network(struct slice text, struct buf *why)
{
	struct net n;
	return net_parse(text, why, &n);
}
