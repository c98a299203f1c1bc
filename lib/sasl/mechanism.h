/* SPDX-License-Identifier: ISC */
#ifndef SASL_MECHANISM_H
#define SASL_MECHANISM_H

#include "util/buf.h"

/*
 * SASL mechanisms (RFC 4422) by name and what is known of them, for smtpd_sasl_security_options and
 * its kin. The names of properties are those that Dovecot uses.
 */
enum sasl_property {
	SASL_PLAINTEXT = 1 << 0, /* whoever hears it has the password */
	SASL_ANONYMOUS = 1 << 1,
	SASL_DICTIONARY = 1 << 2, /* whoever hears it can guess passwords */
	SASL_ACTIVE = 1 << 3,     /* whoever stands between can take it over */
	SASL_FORWARD_SECRECY = 1 << 4,
	SASL_MUTUAL_AUTH = 1 << 5,
};

enum { SASL_NAME_MAX = 20, SASL_LOGIN_MAX = 255 };

struct sasl_mechanism {
	const char *name;
	unsigned properties;
};

/* What vault can do with a table, strongest first; ends with a NULL name. */
extern const struct sasl_mechanism sasl_table_mechanisms[];

/* 1 to 20 of A-Z, 0-9, '-', '_', in either case (RFC 4422, 3.1). */
bool sasl_is_mechanism(struct slice name);
/* One that binds the exchange to the TLS session (RFC 5801, 4). */
bool sasl_is_bound(struct slice name);
/* "plaintext", "mutual-auth" …; 0: no property that counts. */
unsigned sasl_property(struct slice name);

/* noplaintext, noactive, nodictionary, noanonymous, forward_secrecy, mutual_auth. */
struct sasl_options {
	unsigned forbidden, wanted;
};
/* ERR_SYNTAX: why names the word that is none. */
int sasl_options_parse(struct slice text, struct buf *why, struct sasl_options *o);
bool sasl_options_permit(const struct sasl_options *o, unsigned properties);

/* A login or password: UTF-8 without control characters, not empty. See prep.h for its form. */
bool sasl_is_text(struct slice s);

#endif
