/* SPDX-License-Identifier: ISC */
#include "route/route_priv.h"

#include "conf/conf.h"
#include "util/dict.h"
#include "util/err.h"
#include "util/mem.h"

/*
 * One recipient's expansion: a list that grows behind the place where work goes on. Each entry is
 * replaced by what the table says until it says nothing, or itself.
 */
struct expansion {
	char **addresses;
	size_t n, cap, limit;
	struct dict *seen;    /* final addresses, folded */
	struct dict *settled; /* those that stand for themselves among others, folded */
};

static char there; /* a value for both */

static bool dict_has(struct dict *d, struct slice address)
{
	struct buf key = BUF_INIT(ADDRESS_LIMIT);
	bool found;

	if (d == NULL)
		return false;
	buf_add_lower(&key, address);
	found = dict_get(d, buf_slice(&key)) != NULL;
	buf_clear(&key);
	return found;
}

static void dict_add(struct expansion *e, struct dict **d, struct slice address)
{
	struct buf key = BUF_INIT(ADDRESS_LIMIT);

	if (*d == NULL)
		*d = dict_new(e->limit, NULL);
	buf_add_lower(&key, address);
	(void)dict_set(*d, buf_slice(&key), &there);
	buf_clear(&key);
}

static int add_address(struct expansion *e, struct slice address)
{
	if (e->n >= e->limit)
		return ERR_LIMIT;
	if (e->n == e->cap) {
		e->cap = e->cap ? e->cap * 2 : 8;
		e->addresses = mem_resize(e->addresses, e->cap, sizeof(e->addresses[0]));
	}
	e->addresses[e->n++] = slice_dup(address);
	return 0;
}

/* One right-hand side. */
static int complete(struct route *r, struct slice item, struct slice from, struct slice extension,
	struct buf *out)
{
	int err = route_complete_entry(r, item, from, extension, out);

	if (err == 0 && (int64_t)out->len > conf_int(P_virtual_alias_address_length_limit))
		err = ERR_LIMIT;
	return err;
}

static bool is_separator(char c)
{
	return c == ',' || c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/*
 * Takes the next address of a list; commas and blanks stand between them. A blank in quotes does
 * not count, and what stands before an address in angle brackets is a name for people.
 */
static bool next_item(struct slice *rest, struct slice *item)
{
	ptrdiff_t open = -1;
	bool quoted = false;
	size_t i = 0;

	while (rest->len > 0 && is_separator(rest->p[0]))
		*rest = slice_from(*rest, 1);
	if (rest->len == 0)
		return false;
	size_t end = 0; /* of the first word */
	for (; i < rest->len && (quoted || rest->p[i] != ','); i++) {
		char c = rest->p[i];

		if (c == '\\' && i + 1 < rest->len)
			i++;
		else if (c == '"')
			quoted = !quoted;
		else if (!quoted && c == '<' && open < 0)
			open = (ptrdiff_t)i;
		else if (!quoted && c == '>' && open >= 0)
			break;
		else if (!quoted && end == 0 && is_separator(c))
			end = i;
	}
	if (open >= 0) {
		bool closed = i < rest->len && rest->p[i] == '>';

		*item = slice_first(
			slice_from(*rest, (size_t)open + closed), i - (size_t)open - closed);
		*rest = slice_from(*rest, i + 1 < rest->len ? i + 1 : rest->len);
	} else {
		i = end > 0 ? end : i;
		*item = slice_first(*rest, i);
		*rest = slice_from(*rest, i);
	}
	return true;
}

/* Replaces entry at by the items of a value. ERR_NOT_FOUND: there are none. */
static int replace(
	struct route *r, struct expansion *e, size_t at, struct slice value, struct slice extension)
{
	char *from = e->addresses[at];
	struct buf address = BUF_INIT(ADDRESS_LIMIT);
	struct slice item;
	bool first = true;
	int err = 0;

	while (err == 0 && next_item(&value, &item)) {
		if (item.len == 0)
			continue;
		err = complete(r, item, slice_str(from), extension, &address);
		if (err != 0)
			break;
		/* An alias that names itself means the mailbox behind it. */
		if (slice_case_eq(buf_slice(&address), slice_str(from)))
			dict_add(e, &e->settled, slice_str(from));
		if (first) {
			e->addresses[at] = slice_dup(buf_slice(&address));
			first = false;
		} else
			err = add_address(e, buf_slice(&address));
	}
	if (!first)
		mem_free(from);
	else if (err == 0)
		err = ERR_NOT_FOUND; /* a value without an address is none */
	buf_clear(&address);
	return err;
}

static int expand_one(struct route *r, struct expansion *e, size_t at, struct later *l)
{
	struct buf value = BUF_INIT(MAP_VALUE_LIMIT), extension = BUF_INIT(ADDRESS_LIMIT);
	bool keep = route_list_has(conf_str(P_propagate_unmatched_extensions), "virtual");
	int64_t limit = conf_int(P_virtual_alias_recursion_limit);
	int err = 0;

	for (int64_t i = 0; err == 0; i++) {
		if (dict_has(e->settled, slice_str(e->addresses[at])))
			break;
		if (i >= limit) {
			err = ERR_LIMIT;
			break;
		}
		err = route_find_address(r, r->alias, slice_str(e->addresses[at]),
			ROUTE_KEY_FULL | ROUTE_KEY_USER | ROUTE_KEY_DOMAIN, l, &value, &extension);
		if (err == 0)
			err = replace(r, e, at, buf_slice(&value),
				keep ? buf_slice(&extension) : SLICE_NONE);
	}
	buf_clear(&value);
	buf_clear(&extension);
	return err == ERR_NOT_FOUND ? 0 : err;
}

/* Calls add for each address that has not been given yet. */
static void give(struct expansion *e, void (*add)(struct slice address, void *arg), void *arg)
{
	for (size_t i = 0; i < e->n; i++) {
		if (dict_has(e->seen, slice_str(e->addresses[i])))
			continue;
		dict_add(e, &e->seen, slice_str(e->addresses[i]));
		add(slice_str(e->addresses[i]), arg);
	}
}

int route_expand(struct route *r, struct slice recipient, struct later *l,
	void (*add)(struct slice address, void *arg), void *arg, struct buf *why)
{
	struct expansion e = {.limit = (size_t)conf_int(P_virtual_alias_expansion_limit)};
	int err;

	if (map_list_is_empty(r->alias)) {
		add(recipient, arg);
		return 0;
	}
	err = add_address(&e, recipient);
	for (size_t i = 0; err == 0 && i < e.n; i++)
		err = expand_one(r, &e, i, l);
	if (err == 0)
		give(&e, add, arg);
	else if (err == ERR_LIMIT)
		buf_add_fmt(why, "4.6.0 alias expansion error");
	else if (err == ERR_SYNTAX) {
		buf_add_fmt(why, "4.3.5 an address in virtual_alias_maps is malformed");
		err = ERR_TEMP;
	}
	for (size_t i = 0; i < e.n; i++)
		mem_free(e.addresses[i]);
	mem_free(e.addresses);
	dict_free(&e.seen);
	dict_free(&e.settled);
	return err;
}
