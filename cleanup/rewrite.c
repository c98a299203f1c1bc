/* SPDX-License-Identifier: ISC */
#include "cleanup/rewrite.h"

#include "cleanup/message.h"
#include "util/err.h"

enum { SECTION_LIMIT = 16 << 20 }; /* twice what comes in */

static bool complete(struct slice address, struct buf *to, void *arg)
{
	return address_complete(address, arg, to) == 0 && !slice_eq(address, buf_slice(to));
}

int rewrite_headers(struct message *m, const struct address_rules *rules)
{
	struct slice fields = slice_first(buf_slice(&m->content.text), m->content.header_len);
	struct address_rules own = *rules;
	struct buf out = BUF_INIT(SECTION_LIMIT);
	struct header_scan scan;
	struct header_field f;
	size_t copied = 0;
	int err = 0;

	header_scan_init(&scan);
	while (header_next(&scan, fields, true, &f) == HEADER_FIELD) {
		size_t mark = out.len, at = f.start + f.len - f.value.len;

		if (!header_holds_addresses(f.kind, f.name))
			continue;
		(void)buf_add_slice(&out, slice_first(slice_from(fields, copied), at - copied));
		if (header_edit_addresses(f.value, complete, &own, &out) > 0)
			copied = f.start + f.len;
		else
			buf_truncate(&out, mark);
	}
	if (copied > 0) {
		(void)buf_add_slice(&out, slice_from(fields, copied));
		err = buf_failed(&out) ? ERR_LIMIT : content_replace_header(m, buf_slice(&out));
	}
	buf_clear(&out);
	return err;
}
