/* SPDX-License-Identifier: ISC */
#ifndef CONF_VALUE_H
#define CONF_VALUE_H

#include "conf/params.h"

/*
 * An expanded value in the type of its row. The number (BOOL: 0 or 1; TIME: microseconds) goes to
 * *number. ERR_SYNTAX or ERR_RANGE: why is "what is wrong; expected what", *where the offset in the
 * text.
 */
int value_parse(enum param p, struct slice text, const char *classes, struct buf *why,
	size_t *where, int64_t *number);

/* A restriction list: restrictions with their arguments, and classes. */
int value_check_restrictions(
	struct slice text, const char *classes, struct buf *why, size_t *where);
/* Does the list of class names hold this one? */
bool value_is_class(const char *classes, struct slice name);
/* Has this restriction an argument behind it? */
bool value_has_argument(struct slice restriction);
/* Is that argument a name of another kind than "type:name"? "inet:host:port" is no table. */
bool value_has_name(struct slice restriction);
/* "{ TEXT }" becomes TEXT; anything else stays. */
struct slice value_without_braces(struct slice item);

/*
 * What check_ccert_access looks for, in turn; text is its argument without the outer braces:
 * "type:name { search_order = cert_fingerprint, … }". ERR_SYNTAX with why.
 */
enum value_ccert {
	VALUE_CCERT_FINGERPRINT,
	VALUE_CCERT_PUBKEY,
	VALUE_CCERT_SUBJECT,
	VALUE_CCERT_ISSUER,
	VALUE_CCERTS
};
struct value_ccerts {
	enum value_ccert keys[VALUE_CCERTS];
	size_t n;
};
int value_ccerts(struct slice text, struct value_ccerts *order, struct buf *why);

/* An address of a match list that has colons of its own: "2001:db8::1", "[::1]/128". */
bool value_is_address(struct slice item);
/* "type:name": the type is known and supported, "proxy:" and "later:" may stand before it. */
int value_check_table(struct slice spec, struct buf *why);
/* What unionmap:{ … } and pipemap:{ … } are made of; empty for all others. */
struct slice value_table_parts(struct slice spec);
enum { VALUE_TABLE_DEPTH = 8 };

#endif
