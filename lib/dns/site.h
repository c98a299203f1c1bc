/* SPDX-License-Identifier: ISC */
#ifndef DNS_SITE_H
#define DNS_SITE_H

#include "dns/answer.h"

/*
 * The site of a next hop: what it has in common with all next hops behind the same hosts. It is the
 * names of the mail exchangers with the best preference, in lower case, sorted and joined by ",";
 * or the name of the host itself. ":port" follows when that is not 25. Over SITE_MAX bytes it is
 * the first name, "+" and a hash of the whole, the same in every process and after every start.
 */
enum { SITE_MAX = 255 };

/* Of a domain, by its MX records: an answer with DNS_OK. out is set. */
void site_of_mx(struct buf *out, const struct dns_answer *mx, uint16_t port);
/* Of a host, or of a domain that is its own. */
void site_of_host(struct buf *out, struct slice host, uint16_t port);

#endif
