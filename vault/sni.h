/* SPDX-License-Identifier: ISC */
#ifndef VAULT_SNI_H
#define VAULT_SNI_H

#include "util/later.h"
#include "vault/pem.h"

/*
 * Chains of names that clients ask for (tls_server_sni_maps). A value is what "gatemap -F" stores:
 * PEM text in base64. A name is looked up in lower case, then ".parent" for each of its parents.
 *
 * A key may be asked for by its id without the name, from a vault that has never seen the name:
 * then all values are walked once for each version of the tables, and their ids noted. At most
 * SNI_KEYS_MAX keys are kept ready.
 */
enum { SNI_KEYS_MAX = 1000, SNI_OLD_SECONDS = 300, SNI_NAME_MAX = 255 };

struct sni;

/* While rights are there. Owned by this module. */
struct sni *sni_open(struct slice maps);
/*
 * 0 with the pairs of the name (the caller's: pem_pairs_clear); ERR_NOT_FOUND; ERR_SYNTAX: no host
 * name; ERR_TEMP: a table failed or its value is broken (logged); ERR_LATER.
 */
int sni_find(struct sni *s, struct slice name, struct later *l, struct pem_pairs *pairs);
/* A key of these tables; borrowed until the loop's next turn. NULL: none of that id. */
const struct pem_pair *sni_key(struct sni *s, const uint8_t id[PEM_ID]);

#endif
