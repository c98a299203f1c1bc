/* SPDX-License-Identifier: ISC */
#ifndef DNS_HOSTS_H
#define DNS_HOSTS_H

#include "dns/answer.h"

/*
 * The hosts and addresses that a next hop leads to (RFC 5321, 5.1), how each host can be
 * authenticated (RFC 7672), and for how long all of it holds: one encoded answer a name, which the
 * resolver collects from what name servers said. Pure; smtp-client reads, orders and cuts it with
 * these functions and connects.
 */
enum {
	HOSTS_MX_MAX = 20,            /* hosts */
	HOSTS_ADDR_MAX = 200,         /* addresses of all of them */
	HOSTS_TLSA_BYTES = 32 * 1024, /* TLSA records of all of them */
	HOSTS_ENCODED_MAX = 60000     /* what a frame's value holds */
};

/* What there is to know a host by. */
enum tlsa_status {
	TLSA_INSECURE, /* not asked for: no DNSSEC on the way to the host; or no record it vouches
			  for */
	TLSA_NONE,     /* DNSSEC says: there is none */
	TLSA_FOUND,
	TLSA_FAILED, /* the name servers do not say now: never as good as none */
};

struct host {
	struct slice name; /* of the MX record, or the next hop itself; all slices are borrowed */
	struct slice canonical; /* behind its aliases; without any the same */
	uint16_t pref;
	bool secure;            /* DNSSEC vouches for addresses of it */
	enum dns_status status; /* DNS_OK: it has addresses */
	enum dns_type failed;   /* else: of which type there are none */
	uint32_t ttl;           /* of its addresses, seconds */
	enum tlsa_status tlsa;
	struct slice base; /* TLSA_FOUND, TLSA_FAILED: the name that they are of, without port */
	uint32_t tlsa_ttl;
	struct slice records; /* private: host_record_next */
	unsigned count;
};

struct host_addr {
	uint16_t pref;
	uint8_t family;    /* AF_INET, AF_INET6 */
	uint8_t at;        /* index of its host */
	uint8_t addr[16];  /* the first 4 for AF_INET */
	struct slice host; /* its host's name */
};

/* What was found for a name. Failures carry the name and type whose lookup decided. */
struct hosts {
	enum dns_status status; /* DNS_OK: n > 0 */
	uint32_t ttl;           /* until when all of it may be used, seconds */
	bool mx;                /* the name has MX records */
	bool mx_secure;         /* which DNSSEC vouches for */
	struct slice mx_name;   /* where they were found: behind the name's aliases */
	uint32_t mx_ttl;
	uint16_t best;      /* the lowest preference announced, with an address or not */
	enum dns_type type; /* what failed */
	struct slice name;  /* what failed; borrowed */
	struct host host[HOSTS_MX_MAX];
	unsigned hosts;
	struct host_addr addr[HOSTS_ADDR_MAX];
	unsigned n;
};

/* Building. Over a limit the host (-1) or address is left out. */
int hosts_add_host(struct hosts *h, struct slice name, uint16_t pref);
void hosts_add_addr(struct hosts *h, int host, int family, const void *addr);

/* Encodes / decodes. The decoded slices point into encoded. ERR_SYNTAX. */
void hosts_encode(struct buf *out, const struct hosts *h);
int hosts_decode(struct slice encoded, struct hosts *h);

/* Adds a TLSA record's data to records that are being built. */
void host_record_add(struct buf *records, struct slice data);
/* Takes the next one's data off; false at the end. Pass a copy of records to walk twice. */
bool host_record_next(struct slice *records, struct slice *data);

/*
 * The order of attempts: by preference; among equal ones by chance when randomize is set
 * (smtp_randomize_addresses), the preferred family (AF_INET, AF_INET6, or 0 for any) first. Then
 * at most limit addresses stay (0: all); with balance and no preference both families are among
 * them where there are two (smtp_balance_inet_protocols).
 */
void hosts_order(struct hosts *h, bool randomize, int prefer, bool balance, unsigned limit);

/*
 * Removes the addresses that are as far from the domain as is_self's best one, and all behind it
 * (RFC 5321, 5.1: a relay does not go back). 0: none is our own, or better ones are left.
 * ERR_EXISTS: we are the best: "mail for X loops back to myself". ERR_NOT_FOUND: a better one was
 * announced but none has an address.
 */
int hosts_cut_self(
	struct hosts *h, bool (*is_self)(const struct host_addr *a, void *arg), void *arg);

#endif
