/* SPDX-License-Identifier: ISC */
#include "route/route_priv.h"

#include "util/err.h"

/* Tables of addresses to addresses: what their entries mean. */

/* "local+ext@domain" from "local@domain", unless it has an extension of its own. */
static int add_extension(const struct route *r, struct slice extension, struct buf *address)
{
	struct buf joined = BUF_INIT(ADDRESS_LIMIT);
	struct slice local, domain, user, ext;
	int err = 0;

	address_split(buf_slice(address), &local, &domain);
	if (!address_split_extension(local, r->delimiters, &user, &ext)) {
		buf_add_slice(&joined, local);
		buf_add_slice(&joined, extension);
		if (domain.p != NULL)
			buf_add_char(&joined, '@');
		buf_add_slice(&joined, domain);
		buf_reset(address);
		err = buf_failed(&joined) ? ERR_LIMIT : buf_add_slice(address, buf_slice(&joined));
	}
	buf_clear(&joined);
	return err;
}

int route_complete_entry(struct route *r, struct slice item, struct slice from,
	struct slice extension, struct buf *out)
{
	struct buf internal = BUF_INIT(ADDRESS_LIMIT);
	struct slice local, domain;
	int err;

	if (slice_starts(item, "@")) {
		address_split(from, &local, &domain);
		buf_add_slice(&internal, local);
		buf_add_slice(&internal, item);
		err = buf_failed(&internal) ? ERR_LIMIT : 0;
	} else {
		err = address_parse(item, ADDRESS_UTF8, &internal);
		if (err == 0 && extension.len > 0)
			err = add_extension(r, extension, &internal);
	}
	if (err == 0)
		err = address_complete(buf_slice(&internal), &r->rules, out);
	buf_clear(&internal);
	return err;
}

int route_map_address(struct route *r, struct map_list *table, struct slice address, bool propagate,
	struct later *l, struct buf *out)
{
	struct buf value = BUF_INIT(MAP_VALUE_LIMIT), extension = BUF_INIT(ADDRESS_LIMIT);
	int err = route_find_address(r, table, address,
		ROUTE_KEY_FULL | ROUTE_KEY_USER | ROUTE_KEY_DOMAIN, l, &value, &extension);

	buf_reset(out);
	if (err == 0) {
		err = route_complete_entry(r, slice_trim(buf_slice(&value)), address,
			propagate ? buf_slice(&extension) : SLICE_NONE, out);
		if (err == 0 && out->len == 0)
			err = ERR_SYNTAX;
	}
	buf_clear(&value);
	buf_clear(&extension);
	return err;
}
