/* SPDX-License-Identifier: ISC */
#ifndef CLIENT_DANE_H
#define CLIENT_DANE_H

#include "tls/tls.h"

/*
 * What the levels dane and dane-only come to for one host (RFC 7672, 2.2), by the TLSA records of
 * it and by what DNSSEC says of the way to it.
 */
enum tlsa_status {
	TLSA_INSECURE, /* no record that could be trusted; this is also "none" without DNSSEC */
	TLSA_NONE,     /* DNSSEC says: there is none */
	TLSA_FOUND,
	TLSA_FAILED, /* the name servers do not say */
};

struct tlsa_answer {
	enum tlsa_status status;
	bool mx, mx_secure; /* the host comes of MX records, which DNSSEC vouches for */
	const char *base;   /* the host that the records are of; with FOUND */
	const struct tls_tlsa *records;
	size_t n;
};

struct delivery;

/*
 * The records of a host of the delivery's present next hop. DNSSEC is not asked for yet: there is
 * none that could be trusted.
 */
void client_tlsa(
	const struct delivery *d, const char *host, uint16_t port, struct tlsa_answer *out);

/*
 * level is dane or dane-only; insecure_mx is smtp_tls_dane_insecure_mx_policy: may, encrypt or
 * dane. 0: *out is the level for this host, TLS_DANE with usable records alone. ERR_TEMP: the
 * host gets no mail now; why, as for the sender. As Postfix: dane without records is may, with
 * unusable ones encrypt; dane-only is never less.
 */
int dane_choose(enum tls_level level, const struct tlsa_answer *a, enum tls_level insecure_mx,
	enum tls_level *out, struct buf *why);

#endif
