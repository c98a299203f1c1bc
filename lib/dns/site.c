/* SPDX-License-Identifier: ISC */
#include "dns/site.h"

#include <stdlib.h>

#include "util/hash.h"

enum { SMTP_PORT = 25, HASH_TEXT = 17 /* "+" and 16 digits */, WHOLE_MAX = 64 * 1024 };

/* The same for ever: sites stand in qmgr's memory of destinations. */
static const uint8_t key[16] = {0};

static void finish(struct buf *out, const struct buf *whole, struct slice first)
{
	buf_reset(out);
	if (whole->len <= SITE_MAX && !buf_failed(whole)) {
		buf_add_slice(out, buf_slice(whole));
		return;
	}
	/* A character is not to be cut in two. */
	first = slice_is_ascii(first) ? first : SLICE_NONE;
	buf_add_lower(out, slice_first(first, SITE_MAX - HASH_TEXT));
	buf_add_fmt(out, "+%016jx", (uintmax_t)hash_keyed(key, buf_slice(whole)));
}

static void add_port(struct buf *whole, uint16_t port)
{
	if (port != SMTP_PORT && port != 0) {
		buf_add_fmt(whole, ":%u", port);
	}
}

static int by_name(const void *a, const void *b)
{
	return slice_cmp(*(const struct slice *)a, *(const struct slice *)b);
}

void site_of_mx(struct buf *out, const struct dns_answer *mx, uint16_t port)
{
	struct slice names[DNS_RECORDS_MAX];
	struct buf whole = BUF_INIT(WHOLE_MAX);
	struct dns_answer a = *mx;
	struct dns_record r;
	unsigned best = UINT16_MAX + 1U, n = 0;
	while (dns_answer_next(&a, &r)) {
		n = r.pref < best ? 0 : n;
		best = r.pref < best ? r.pref : best;
		if (r.pref == best && n < DNS_RECORDS_MAX) {
			names[n++] = r.data;
		}
	}
	qsort(names, n, sizeof(names[0]), by_name);
	for (unsigned i = 0; i < n; i++) {
		if (i == 0 || !slice_eq(names[i], names[i - 1])) {
			buf_add_str(&whole, i > 0 ? "," : "");
			buf_add_lower(&whole, names[i]);
		}
	}
	add_port(&whole, port);
	finish(out, &whole, n > 0 ? names[0] : SLICE_NONE);
	buf_clear(&whole);
}

void site_of_host(struct buf *out, struct slice host, uint16_t port)
{
	struct buf whole = BUF_INIT(WHOLE_MAX);
	bool marked = slice_find(host, ':') >= 0 && port != SMTP_PORT && port != 0;
	buf_add_str(&whole, marked ? "[" : "");
	buf_add_lower(&whole, host);
	buf_add_str(&whole, marked ? "]" : "");
	add_port(&whole, port);
	finish(out, &whole, host);
	buf_clear(&whole);
}
