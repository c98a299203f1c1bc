/* SPDX-License-Identifier: ISC */
#ifndef SMTP_EHLO_H
#define SMTP_EHLO_H

#include "smtp/reply.h"

/* EHLO keywords (RFC 5321, 4.1.1.1, and the extensions' own), as bits. */
enum {
	EHLO_PIPELINING = 1 << 0,
	EHLO_SIZE = 1 << 1,
	EHLO_8BITMIME = 1 << 2,
	EHLO_DSN = 1 << 3,
	EHLO_SMTPUTF8 = 1 << 4,
	EHLO_CHUNKING = 1 << 5,
	EHLO_ENHANCEDSTATUSCODES = 1 << 6,
	EHLO_STARTTLS = 1 << 7,
	EHLO_AUTH = 1 << 8,
	EHLO_VRFY = 1 << 9,
	EHLO_ETRN = 1 << 10,
	EHLO_HELP = 1 << 11,
	EHLO_XCLIENT = 1 << 12,
	EHLO_XFORWARD = 1 << 13,
	EHLO_XVERP = 1 << 14,
	EHLO_REQUIRETLS = 1 << 15,
	EHLO_BINARYMIME = 1 << 16,
	EHLO_EXPN = 1 << 17,
	EHLO_DELIVERBY = 1 << 18,
	EHLO_SILENT_DISCARD = 1 << 30, /* not a keyword: "silent-discard" in a discard list */
};

enum { EHLO_AUTH_LIMIT = 1024, EHLO_NAME_LIMIT = 256 };

/* What a server offered. Embedded; no memory of its own. */
struct ehlo {
	unsigned features;          /* EHLO_* */
	uint64_t size;              /* with EHLO_SIZE: bytes; 0: no fixed limit was told */
	uint64_t min_by;            /* with EHLO_DELIVERBY: seconds, least with mode R (RFC 2852) */
	unsigned xforward;          /* with EHLO_XFORWARD: 1 << XATTR_* (smtp/xattr.h) */
	char name[EHLO_NAME_LIMIT]; /* the server's name for itself, from the first line */
	char auth[EHLO_AUTH_LIMIT]; /* mechanisms in upper case, separated by one blank */
};

/*
 * Reads the reply to EHLO or LHLO (a 250). Unknown keywords are ignored, the old form "AUTH="
 * counts, a SIZE that is no number counts as none told. Those in discard (EHLO_* bits) are left
 * out.
 */
void ehlo_parse(const struct reply *r, unsigned discard, struct ehlo *e);

/*
 * A list of keywords (smtp_discard_ehlo_keywords, smtpd_discard_ehlo_keywords), separated by commas
 * and blanks, in any case; unknown names are ignored.
 */
unsigned ehlo_keywords(struct slice list);

#endif
