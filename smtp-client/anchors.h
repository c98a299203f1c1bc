/* SPDX-License-Identifier: ISC */
#ifndef CLIENT_ANCHORS_H
#define CLIENT_ANCHORS_H

#include "map/map.h"

/*
 * Files of trusted certificates (smtp_tls_trust_anchor_file, tafile= in smtp_tls_policy_maps). This
 * program opens no path once it has dropped its rights, so they are read before: those of the
 * parameter, and those that entries of tables name which can be listed (map_walk). Of a file
 * nothing but its certificates and public keys is kept.
 */
enum { ANCHORS_FILES = 1000, ANCHORS_FILE_LIMIT = 1 << 20 };

void anchors_init(void);
/* At start alone. ERR_SYS, ERR_SYNTAX (no certificate in it), ERR_LIMIT; said in the log. */
int anchors_read(struct slice path);
/* The files that the entries of the tables name. */
void anchors_read_tables(const struct map_list *tables);
/* PEM, for ever; NULL: it was not read, or could not be. */
const char *anchors_find(struct slice path);

#endif
