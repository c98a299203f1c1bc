/* SPDX-License-Identifier: ISC */
#ifndef CLIENT_SIFT_H
#define CLIENT_SIFT_H

#include "dns/hosts.h"
#include "util/later.h"

/*
 * smtp_dns_reply_filter (lmtp_dns_reply_filter): records that name servers gave and that are to be
 * passed over. Each is looked up as Postfix writes it, without looking at aliases,
 *
 *   name. ttl IN MX preference host.
 *   name. ttl IN A 192.0.2.1
 *   _25._tcp.name. ttl IN TLSA 3 1 1 0123…
 *
 * and goes when the table says IGNORE. A table that fails, or says anything else, leaves nothing of
 * the answer: it is never taken for "keep".
 */
void sift_init(void);
bool sift_is_wanted(void);

/*
 * Takes out of h what is to go; port: of the TLSA records. 0: something is left. ERR_LATER: l
 * wakes, h is untouched. ERR_NOT_FOUND: nothing is left, ERR_SYNTAX: the table is of no use; then
 * *type and *name (which borrows from h) say what of. A host whose TLSA records all go is
 * TLSA_FAILED, as in Postfix: none is not what its name servers say.
 */
int sift_hosts(
	struct hosts *h, uint16_t port, struct later *l, enum dns_type *type, struct slice *name);

#endif
