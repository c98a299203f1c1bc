/* SPDX-License-Identifier: ISC */
#ifndef CLIENT_CHECKS_H
#define CLIENT_CHECKS_H

#include "mime/mime.h"
#include "util/later.h"

/*
 * smtp_header_checks, smtp_mime_header_checks, smtp_nested_header_checks, smtp_body_checks, and
 * those of LMTP: what tables say of each header field and body line on its way out, see
 * gatepost-tables(5). A field is asked for as a whole, its lines separated by "\n", without blanks
 * before the colon; a body line without its end.
 */
enum checks_kind { CHECKS_HEADER, CHECKS_MIME, CHECKS_NESTED, CHECKS_BODY, CHECKS_KINDS };

/* What is to become of what was looked at. */
enum checks_fate { CHECKS_KEEP, CHECKS_DROP, CHECKS_REPLACE };

struct checks_result {
	enum checks_fate fate;
	bool prepend;
	struct buf text; /* for REPLACE, or to stand before it; lines separated by CRLF */
};

void checks_init(void);
bool checks_is_on(enum checks_kind kind);
/* The tables for a field. */
enum checks_kind checks_kind_of(const struct mime_data *field);

/* The key of a field. */
void checks_add_key(struct buf *out, struct slice field, struct slice name);
/*
 * Looks key up and logs what the action wants to be logged; id is the message's. ERR_TEMP: a table
 * failed; ERR_LIMIT: what it makes of the key is too long, today as tomorrow; ERR_LATER. text is
 * reset first.
 */
int checks_find(enum checks_kind kind, const char *id, struct slice key, struct later *l,
	struct checks_result *result);

#endif
