/* SPDX-License-Identifier: ISC */
#ifndef VAULT_CHAIN_H
#define VAULT_CHAIN_H

#include "vault/pem.h"

/*
 * The chains of services, from files that master opened. Services with the same files share one
 * chain. When a file has changed, all files of its chain are read again a moment later, since a
 * certificate and its key are seldom replaced at once; what does not fit together is reported and
 * changes nothing. Keys that were replaced still sign for handshakes under way, for
 * CHAIN_OLD_SECONDS.
 */
enum { CHAIN_OLD_SECONDS = 300, CHAIN_SETTLE_MSEC = 3000 };

#define CHAIN_WARNING "warning: "

struct chain;

/* A group of vault_services, while rights are there. Owned by this module. */
struct chain *chain_open(struct slice group);
/*
 * Reads the files: behind the forks that must not have keys. Fatal when one is broken and workers
 * of older settings still serve with theirs.
 */
void chain_start(void (*changed)(const struct chain *c));
/* master has opened a file afresh; fd is taken over. */
void chain_file(const char *name, int fd);

/* Those in force; empty as long as the files were never good. */
const struct pem_pairs *chain_pairs(const struct chain *c);
/* A key in force or lately so; NULL. */
const struct pem_pair *chain_find(const struct chain *c, const uint8_t id[PEM_ID]);
/*
 * For the command line: whether the chains of a group ("{ … }" of vault_services) are good, its
 * files opened by their names. What is not goes to why; of good ones a warning, behind
 * CHAIN_WARNING.
 */
int chain_check(struct slice group, struct buf *why);
/* Does any chain have it? */
bool chain_knows(const uint8_t id[PEM_ID]);

#endif
