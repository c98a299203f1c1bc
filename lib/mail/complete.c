/* SPDX-License-Identifier: ISC */
#include "util/err.h"

#include "mail/address.h"

/* A separator with something on both of its sides; the first or the last one. */
static bool split_at(struct slice s, char c, bool last, struct slice *before, struct slice *behind)
{
	ptrdiff_t at = last ? slice_find_last(s, c) : slice_find(s, c);

	if (at <= 0 || (size_t)at + 1 == s.len)
		return false;
	*before = slice_first(s, (size_t)at);
	*behind = slice_from(s, (size_t)at + 1);
	return true;
}

static void add_pair(struct buf *out, struct slice local, struct slice domain)
{
	(void)buf_add_slice(out, local);
	(void)buf_add_char(out, '@');
	(void)buf_add_slice(out, domain);
}

/* What an address without '@' becomes. */
static void add_qualified(struct slice in, const struct address_rules *rules, struct buf *out)
{
	struct slice a = SLICE_NONE, b = SLICE_NONE;

	if (rules->swap_bangpath && split_at(in, '!', false, &a, &b))
		add_pair(out, b, a);
	else if (rules->percent_hack && split_at(in, '%', true, &a, &b))
		add_pair(out, a, b);
	else if (rules->origin.len > 0)
		add_pair(out, in, rules->origin);
	else
		(void)buf_add_slice(out, in);
}

int address_complete(struct slice internal, const struct address_rules *rules, struct buf *out)
{
	struct slice local = SLICE_NONE, domain = SLICE_NONE;

	buf_reset(out);
	if (internal.len == 0)
		return 0;
	if (slice_find(internal, '@') >= 0)
		(void)buf_add_slice(out, internal);
	else
		add_qualified(internal, rules, out);
	address_split(buf_slice(out), &local, &domain);
	if (rules->domain.len > 0 && domain.len > 0 && domain.p[0] != '[' &&
		slice_find(domain, '.') < 0) {
		(void)buf_add_char(out, '.');
		(void)buf_add_slice(out, rules->domain);
	}
	return buf_failed(out) || out->len > ADDRESS_LIMIT ? ERR_LIMIT : 0;
}

bool address_has_route(struct slice local, const struct address_rules *rules)
{
	return slice_find(local, '@') >= 0 ||
	       (rules->percent_hack && slice_find(local, '%') >= 0) ||
	       (rules->swap_bangpath && slice_find(local, '!') >= 0);
}

int address_follow_route(struct slice local, const struct address_rules *rules, struct buf *out)
{
	struct address_rules inner = *rules;

	buf_reset(out);
	if (!address_has_route(local, rules))
		return ERR_NOT_FOUND;
	inner.origin = SLICE_NONE;
	int err = address_complete(local, &inner, out);
	if (err != 0)
		return err;
	return slice_find(buf_slice(out), '@') > 0 ? 0 : ERR_NOT_FOUND;
}
