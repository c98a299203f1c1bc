/* SPDX-License-Identifier: ISC */
#ifndef UTIL_BASE64_H
#define UTIL_BASE64_H

#include "util/buf.h"

/* RFC 4648, 4, with padding, no line breaks. decode: ERR_SYNTAX for any other byte. */
void base64_encode(struct buf *out, struct slice in);
int base64_decode(struct buf *out, struct slice in);

#endif
