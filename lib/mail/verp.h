/* SPDX-License-Identifier: ISC */
#ifndef MAIL_VERP_H
#define MAIL_VERP_H

#include "util/buf.h"

/*
 * Variable envelope return path: prefix@origin becomes prefix+user=domain@origin for the recipient
 * user@domain, with two delimiters such as "+=", so that a bounce tells who it is about. Addresses
 * are internal forms. Pure.
 */

/* Two characters of filter (verp_delimiter_filter)? */
bool verp_is_good(struct slice delimiters, struct slice filter);
/*
 * Resets out, which gets the sender for that recipient: sender itself when it is the null sender or
 * has no domain. ERR_LIMIT: it does not fit; out is then the sender itself.
 */
int verp_sender(
	struct buf *out, struct slice delimiters, struct slice sender, struct slice recipient);

#endif
