/* SPDX-License-Identifier: ISC */

#include "tls/tls_private.h"
#include "util/log.h"

/* The first is what went wrong; those behind it are what it led to. */
void tls_add_reason(struct buf *out)
{
	unsigned long e = ERR_get_error();
	char text[200];

	if (e == 0) {
		buf_add_str(out, "no reason given");
		return;
	}
	ERR_error_string_n(e, text, sizeof(text));
	log_quote(out, slice_str(text), sizeof(text));
	ERR_clear_error();
}
