/* SPDX-License-Identifier: ISC */
#include "mail/verp.h"

#include "mail/address.h"
#include "util/err.h"

bool verp_is_good(struct slice delimiters, struct slice filter)
{
	return delimiters.len == 2 && slice_find(filter, delimiters.p[0]) >= 0 &&
	       slice_find(filter, delimiters.p[1]) >= 0;
}

int verp_sender(
	struct buf *out, struct slice delimiters, struct slice sender, struct slice recipient)
{
	struct slice local, domain, to_local, to_domain;

	buf_reset(out);
	address_split(sender, &local, &domain);
	address_split(recipient, &to_local, &to_domain);
	if (local.len == 0 || domain.len == 0 || delimiters.len != 2)
		return buf_add_slice(out, sender);
	(void)buf_add_fmt(
		out, "%.*s%c%.*s", SLICE_FMT(local), delimiters.p[0], SLICE_FMT(to_local));
	if (to_domain.len > 0)
		(void)buf_add_fmt(out, "%c%.*s", delimiters.p[1], SLICE_FMT(to_domain));
	(void)buf_add_fmt(out, "@%.*s", SLICE_FMT(domain));
	if (!buf_failed(out) && out->len <= ADDRESS_LIMIT)
		return 0;
	buf_reset(out);
	(void)buf_add_slice(out, sender);
	return ERR_LIMIT;
}
