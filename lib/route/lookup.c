/* SPDX-License-Identifier: ISC */
#include "route/route_priv.h"

#include "util/err.h"

/* The shapes of an address that tables of addresses are asked for. */
struct parts {
	struct slice local, domain, user, ext;
	bool has_ext;
};

static struct parts split(const struct route *r, struct slice address)
{
	struct parts p;

	address_split(address, &p.local, &p.domain);
	p.has_ext = address_split_extension(p.local, r->delimiters, &p.user, &p.ext);
	return p;
}

/* How a table is asked: for a whole address, or for a part of it. */
typedef int finder(struct map_list *table, struct slice key, struct later *l, struct buf *value);

static int find(finder *ask, struct map_list *table, struct slice a, const char *sep,
	struct slice b, struct later *l, struct buf *value)
{
	struct buf key = BUF_INIT(MAP_KEY_LIMIT);
	int err = ERR_NOT_FOUND;

	buf_add_slice(&key, a);
	buf_add_str(&key, sep);
	buf_add_slice(&key, b);
	if (!buf_failed(&key) && key.len > 0)
		err = ask(table, buf_slice(&key), l, value);
	buf_clear(&key);
	return err;
}

/* The part of the local part behind the user, delimiter included. */
static void give_extension(const struct parts *p, struct buf *extension)
{
	if (extension != NULL && p->has_ext)
		buf_add_slice(extension, slice_from(p->local, p->user.len));
}

static int find_full(struct map_list *table, const struct parts *p, struct later *l,
	struct buf *value, struct buf *extension)
{
	const char *at = p->domain.p != NULL ? "@" : "";
	int err = find(map_list_find, table, p->local, at, p->domain, l, value);

	if (err != ERR_NOT_FOUND || !p->has_ext)
		return err;
	err = find(map_list_find_part, table, p->user, at, p->domain, l, value);
	if (err == 0)
		give_extension(p, extension);
	return err;
}

static int find_user(struct route *r, struct map_list *table, const struct parts *p,
	struct later *l, struct buf *value, struct buf *extension)
{
	enum route_class class;
	int err;

	if (!slice_case_eq(p->domain, r->rules.origin)) {
		err = route_classify(r, p->domain, l, &class);
		if (err != 0)
			return err;
		if (class != ROUTE_LOCAL)
			return ERR_NOT_FOUND;
	}
	err = find(map_list_find_part, table, p->local, "", SLICE_NONE, l, value);
	if (err != ERR_NOT_FOUND || !p->has_ext)
		return err;
	err = find(map_list_find_part, table, p->user, "", SLICE_NONE, l, value);
	if (err == 0)
		give_extension(p, extension);
	return err;
}

int route_find_address(struct route *r, struct map_list *table, struct slice address, int keys,
	struct later *l, struct buf *value, struct buf *extension)
{
	struct parts p = split(r, address);
	int err = ERR_NOT_FOUND;

	buf_reset(value);
	if (extension != NULL)
		buf_reset(extension);
	if (map_list_is_empty(table))
		return ERR_NOT_FOUND;
	if (keys & ROUTE_KEY_FULL)
		err = find_full(table, &p, l, value, extension);
	if (err == ERR_NOT_FOUND && (keys & ROUTE_KEY_USER))
		err = find_user(r, table, &p, l, value, extension);
	if (err == ERR_NOT_FOUND && (keys & ROUTE_KEY_DOMAIN) && p.domain.len > 0)
		err = find(map_list_find_part, table, SLICE_NONE, "@", p.domain, l, value);
	return err;
}

/* "a.b.c" gives "b.c", then "c"; with dots kept in front when the table wants them. */
static int find_parents(
	struct map_list *table, struct slice domain, bool dot, struct later *l, struct buf *value)
{
	ptrdiff_t at;

	while ((at = slice_find(domain, '.')) >= 0) {
		int err = map_list_find(
			table, slice_from(domain, (size_t)at + (dot ? 0 : 1)), l, value);

		if (err != ERR_NOT_FOUND)
			return err;
		domain = slice_from(domain, (size_t)at + 1);
	}
	return ERR_NOT_FOUND;
}

int route_find_domain(struct route *r, struct map_list *table, struct slice address, bool parents,
	bool star, struct later *l, struct buf *value)
{
	struct parts p = split(r, address);
	int err;

	buf_reset(value);
	if (map_list_is_empty(table))
		return ERR_NOT_FOUND;
	err = find_full(table, &p, l, value, NULL);
	if (err == ERR_NOT_FOUND && p.domain.len > 0)
		err = map_list_find(table, p.domain, l, value);
	if (err == ERR_NOT_FOUND && p.domain.len > 0 && p.domain.p[0] != '[')
		err = find_parents(table, p.domain, !parents, l, value);
	if (err == ERR_NOT_FOUND && star)
		err = map_list_find(table, SLICE_LIT("*"), l, value);
	return err;
}
