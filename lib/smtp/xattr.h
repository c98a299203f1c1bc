/* SPDX-License-Identifier: ISC */
#ifndef SMTP_XATTR_H
#define SMTP_XATTR_H

#include "util/buf.h"

/*
 * The arguments of XCLIENT and XFORWARD (Postfix's extensions): NAME=value, values in xtext. Pure.
 */
enum smtp_xattr {
	XATTR_NAME,
	XATTR_ADDR,
	XATTR_PORT,
	XATTR_PROTO,
	XATTR_HELO,
	XATTR_LOGIN,
	XATTR_DESTADDR,
	XATTR_DESTPORT,
	XATTR_REVERSE_NAME,
	XATTR_IDENT,
	XATTR_SOURCE,
	XATTRS
};

/* What "[UNAVAILABLE]" and "[TEMPUNAVAIL]" mean. */
enum smtp_xattr_kind { XATTR_VALUE, XATTR_UNAVAILABLE, XATTR_TEMPUNAVAIL };

enum { XATTR_VALUE_LIMIT = 255 };

/* As sets of (1 << XATTR_*): what each command may say. */
extern const unsigned smtp_xclient_attributes, smtp_xforward_attributes;

/* Letters, digits, '_', '-' inside of a label, and single dots; one may stand at the end. */
bool smtp_is_hostname(struct slice name);

/* "REVERSE_NAME". */
const char *smtp_xattr_name(enum smtp_xattr a);

/*
 * Takes the next attribute off *rest. 0: value (set by the caller, with a limit over the one above)
 * has it, decoded (ASCII without control characters), empty when it is not available. It has the
 * form that its attribute wants: a host name, an address without "IPv6:", a port, SMTP or ESMTP in
 * upper case, LOCAL or REMOTE. ERR_NOT_FOUND: there are no more. ERR_SYNTAX: reply says why.
 */
int smtp_xattr_next(struct slice *rest, unsigned allowed, enum smtp_xattr *a,
	enum smtp_xattr_kind *kind, struct buf *value, struct buf *reply);

#endif
