/* SPDX-License-Identifier: ISC */
#ifndef CLIENT_POLICY_H
#define CLIENT_POLICY_H

#include "conf/conf.h"
#include "tls/tls.h"
#include "util/later.h"

/*
 * How much of TLS a next hop gets: what main.cf says, or the entry of smtp_tls_policy_maps
 * (lmtp_tls_policy_maps). The table is asked for the next hop as it is configured ("[host]:port",
 * "host:port", "domain"); for a domain without entry for its parents, too, ".parent" each. A value
 * is "level attribute=value …":
 *
 *   match=NAME:NAME  fingerprint: the fingerprints, separated by '|'; verify, secure: the names
 *   protocols= ciphers= exclude= servername= connection_reuse=   in place of the parameters
 *   tafile=FILE      verify, secure: trusted in place of the parameters' certificates
 *   enable_rpk=      without effect
 *
 * A value that is not understood, or a table that fails, is never taken for "no entry": the mail
 * waits.
 */
enum { POLICY_WORDS = 100, POLICY_VALUE_LIMIT = 8192 };

struct policy {
	unsigned refs;
	enum tls_level level;
	/* Owned; NULL: as the parameters say. */
	char *protocols, *grade, *exclude, *servername;
	char *match[POLICY_WORDS]; /* owned: as written, or fingerprints */
	size_t match_n;
	char *anchors, *anchor_files; /* owned: PEM, and where it is from; NULL: the context's */
	bool reuse;                   /* connections of it may be kept */
	char *key;                    /* owned: two policies with the same key are the same */
};

/* Reads what files can be read alone now, and the parameters. Tables must not be asked before. */
void policy_init(void);
/*
 * Of a next hop. 0: *p is counted for the caller; ERR_LATER; ERR_TEMP, ERR_SYNTAX: why says what is
 * wrong, for the log and the sender.
 */
int policy_find(struct slice site, struct later *l, struct policy **p, struct buf *why);
/* A value of the table, for a key; as policy_find. */
int policy_parse(struct slice value, const char *where, struct policy **p, struct buf *why);
/* The same on a level that the message itself asks for (RFC 8689). Takes *p over. */
void policy_set_level(struct policy **p, enum tls_level level);

struct policy *policy_ref(struct policy *p);
void policy_unref(struct policy **p);

/* What holds on a level, by entry and parameters. Borrowed. */
const char *policy_protocols(const struct policy *p, enum tls_level level);
const char *policy_grade(const struct policy *p, enum tls_level level);
void policy_add_exclusions(struct buf *out, const struct policy *p, enum tls_level level);

#endif
