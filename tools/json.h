/* SPDX-License-Identifier: ISC */
#ifndef TOOLS_JSON_H
#define TOOLS_JSON_H

#include "util/slice.h"

/* What commands print for --json (RFC 8259), on standard output. What is not UTF-8 becomes '?'. */
void json_string(struct slice s);
/* "name": value, with a comma in front but at the first. */
void json_member(const char *name, struct slice value, bool is_first);
void json_number(const char *name, uint64_t value, bool is_first);

#endif
