/* SPDX-License-Identifier: ISC */
#ifndef CONF_VAULT_H
#define CONF_VAULT_H

#include "conf/check.h"

/*
 * Which service has which secrets: what vault alone is told, and gets descriptors of. Of smtpd:
 * password tables, chains, SNI tables; of smtp-client (and lmtp by names of its own): chains, and
 * credentials for relays. master puts it into three settings of vault, which no file sets:
 *
 *   vault_tables    all tables
 *   vault_files     all files of chains, keys and tokens, as "pem:NAME"
 *   vault_services  { service/type { login domain } { password tables } { chains } { SNI tables }
 *                   { relay tables } yes|no { files of tokens } } …
 *
 * chains: files that are read one behind the other, or, from the older parameters,
 * { certificate key } once or twice. yes: the sender's address is looked up first.
 */

/* A file that is handed to vault unread: the type before its name. */
#define VAULT_FILE "pem:"

/* Has this service a chain in its settings? Without one STARTTLS cannot be offered. */
bool vault_has_chain(const struct service *v, const struct conf *c);
/* Is this table parameter of service i read by vault in its place? */
bool vault_reads(const struct instance *in, size_t i, enum param p);
/* Is this one of the files of vault's settings? */
bool vault_grants(const struct conf *settings, struct slice spec);
/* Calls visit for the chains of each service that has some, "{ … }" as above, and their place. */
void vault_walk_chains(const struct instance *in,
	void (*visit)(const char *group, struct place where, void *arg), void *arg);
/* Chains, SNI tables, TLS without a chain. with_files: whether the files are there. */
void vault_check(const struct instance *in, bool with_files, struct mistakes *m);

#endif
