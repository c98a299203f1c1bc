/* SPDX-License-Identifier: ISC */
#ifndef CLIENT_DANE_H
#define CLIENT_DANE_H

#include "dns/hosts.h"
#include "tls/tls.h"

/*
 * What the levels dane and dane-only come to for one host (RFC 7672, 2.2), by the TLSA records of
 * it and by what DNSSEC says of the way to it. Not to be copied: it points into itself.
 */
struct tlsa_answer {
	enum tlsa_status status;
	bool mx, mx_secure;             /* the host comes of MX records, which DNSSEC vouches for */
	char base[DNS_NAME_MAX + 1];    /* the host that the records are of; FOUND, FAILED */
	char mx_name[DNS_NAME_MAX + 1]; /* where secure MX records were found; or empty */
	const struct tls_tlsa *records;
	size_t n;
	struct tls_tlsa record[DNS_RECORDS_MAX]; /* of client_tlsa */
};

struct delivery;

/*
 * The records of the host of the delivery's present address, where some are usable the best of them
 * alone (tls_dane_digests). They borrow from its hosts.
 */
void client_tlsa(const struct delivery *d, struct tlsa_answer *out);

/* Whether records count at all: not behind insecure MX records, unless insecure_mx says so. */
bool dane_counts(enum tls_level level, const struct tlsa_answer *a, enum tls_level insecure_mx);

/*
 * level is dane or dane-only; insecure_mx is smtp_tls_dane_insecure_mx_policy: may, encrypt or
 * dane. 0: *out is the level for this host, TLS_DANE with usable records alone. ERR_TEMP: the
 * host gets no mail now; why, as for the sender. As Postfix: dane without records is may, with
 * unusable ones encrypt; dane-only is never less.
 */
int dane_choose(enum tls_level level, const struct tlsa_answer *a, enum tls_level insecure_mx,
	enum tls_level *out, struct buf *why);

/* Says in the log why a host gets less than its records promise, or no mail: as Postfix does. */
void dane_log(enum tls_level level, const struct tlsa_answer *a, const char *host, uint16_t port);

/*
 * What a server had to show on level TLS_DANE, as text: two hosts for which this is the same are
 * known by the same.
 */
void dane_add_key(struct buf *out, const struct tlsa_answer *a);

#endif
