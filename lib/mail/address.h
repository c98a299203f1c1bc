/* SPDX-License-Identifier: ISC */
#ifndef MAIL_ADDRESS_H
#define MAIL_ADDRESS_H

#include "util/buf.h"

/*
 * Mail addresses of the envelope (RFC 5321, 4.1.2 and 4.5.3.1; RFC 6531).
 *
 * Two forms. Internal: local@domain with all quoting taken off the local part (`a b@example.com`),
 * what tables, the queue and comparisons use; the domain begins behind the last '@'. External:
 * what goes on the wire and into the log (`"a b"@example.com`). The null sender is empty in both,
 * "<>" is its spelling in SMTP. An address never holds a control character; without ADDRESS_UTF8
 * it may hold bytes over 127 only if they are valid UTF-8, as in Postfix (strict_smtputf8 = no).
 */
enum {
	ADDRESS_LIMIT =
		1000, /* bytes of an internal address, as virtual_alias_address_length_limit */
	ADDRESS_PATH_LIMIT = 2048, /* bytes of a path with source route, as line_length_limit */

	ADDRESS_STRICT = 1,     /* strict_rfc821_envelopes: <> wanted, RFC 5321's grammar alone */
	ADDRESS_NULL = 2,       /* "<>" is allowed: the null sender */
	ADDRESS_UTF8 = 4,       /* SMTPUTF8 was declared */
	ADDRESS_ASCII_ONLY = 8, /* strict_smtputf8 without SMTPUTF8: other bytes are ERR_DENIED */
};

/*
 * Takes a path off the front of *rest (leading blanks skipped), as in MAIL FROM: and RCPT TO:, and
 * gives its internal form. Source routes are dropped (@a,@b:user@c gives user@c). Tolerated
 * unless ADDRESS_STRICT, as Postfix does: no angle brackets (then the path ends at a blank), blanks
 * inside the brackets, dots at odd places, unquoted '@' in the local part, backslash outside
 * quotes, a trailing dot of the domain (dropped). A missing domain is no error: see
 * address_complete. ERR_SYNTAX, ERR_LIMIT (too long), ERR_DENIED; *rest is then undefined.
 */
int address_parse_path(struct slice *rest, int flags, struct buf *internal);
/* One address without brackets, as on a command line or in a table: the whole of text. */
int address_parse(struct slice text, int flags, struct buf *internal);

/* Appends the external form: the local part is quoted if it needs to be. Null sender: nothing. */
void address_add_external(struct buf *out, struct slice internal);

/* local may be empty; domain is empty (p NULL) when there is no '@'. Both borrowed. */
void address_split(struct slice internal, struct slice *local, struct slice *domain);
/* Is it a domain name (labels of letters, digits, '-', '_' and UTF-8; no empty one; 255 bytes)? */
bool address_is_domain(struct slice domain);
/* Is it an address literal, [192.0.2.1] or [IPv6:2001:db8::1]? *ip (may be NULL) is what is inside.
 */
bool address_is_literal(struct slice domain, struct slice *ip);

/*
 * Splits "user+ext" at the first byte of delimiters (recipient_delimiter: a set; empty: never).
 * False when there is nothing to split: user is then all of local, ext empty. As in Postfix
 * postmaster, mailer-daemon and double-bounce are never split, and where '-' is a delimiter not
 * owner-x and x-request (owner_request_special). A delimiter at either end does not split.
 */
bool address_split_extension(
	struct slice local, const char *delimiters, struct slice *user, struct slice *ext);

/* ASCII letters in lower case, all of it: the key of tables. */
void address_fold(struct buf *out, struct slice internal);

/* How an incomplete or old-fashioned address is completed; the texts are borrowed. */
struct address_rules {
	struct slice origin; /* myorigin; empty: append_at_myorigin = no */
	struct slice domain; /* mydomain; empty: append_dot_mydomain = no (the default) */
	bool percent_hack;   /* allow_percent_hack: user%dom without '@' becomes user@dom */
	bool swap_bangpath;  /* site!user without '@' becomes user@site */
};

/*
 * out is reset and gets the completed internal address. The null sender stays. ERR_LIMIT when the
 * result is too long.
 */
int address_complete(struct slice internal, const struct address_rules *rules, struct buf *out);

/*
 * Does a local part hold a routing operator ('@', '%', '!', as the rules have them on)? For an
 * address whose domain is one of ours it then names another destination, which only a trusted
 * client may ask for (allow_untrusted_routing).
 */
bool address_has_route(struct slice local, const struct address_rules *rules);
/*
 * The address that such a local part means: user%far, far!user and user@far (was quoted) give
 * user@far in out. ERR_NOT_FOUND when address_has_route says no; ERR_LIMIT.
 */
int address_follow_route(struct slice local, const struct address_rules *rules, struct buf *out);

/*
 * xtext (RFC 3461, 4). decode: ERR_SYNTAX for a byte that may not stand there, a "+" without two
 * upper-case hexadecimal digits behind it, or a control character hidden in one.
 */
void address_xtext_encode(struct buf *out, struct slice s);
int address_xtext_decode(struct buf *out, struct slice s);
/*
 * The value of ORCPT=: "rfc822;xtext" or, with ADDRESS_UTF8, "utf-8;text" (RFC 6533, 3). type
 * is borrowed from value, the decoded address is appended to out. ERR_SYNTAX.
 */
int address_orcpt_decode(struct slice value, int flags, struct slice *type, struct buf *out);

#endif
