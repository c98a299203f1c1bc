/* SPDX-License-Identifier: ISC */
#ifndef DNS_ANSWER_H
#define DNS_ANSWER_H

#include <stdbool.h>
#include <stdint.h>

#include "util/buf.h"

/*
 * A DNS answer as plain bytes: what the resolver keeps in its cache, sends to the other programs
 * and what they read. No type of a DNS library is in it. The bytes come from a local peer, so
 * they are parsed with care: dns_answer_parse walks all of them before the first record is seen.
 *
 * An answer says what the name servers said about (name, type) after following CNAMEs. TEMP is no
 * answer at all (SERVFAIL, time-out, no name server): it is never "not there".
 */
enum dns_type {
	DNS_A = 1,
	DNS_NS = 2,
	DNS_CNAME = 5,
	DNS_SOA = 6,
	DNS_PTR = 12,
	DNS_MX = 15,
	DNS_TXT = 16,
	DNS_AAAA = 28,
	DNS_TLSA = 52,
};

enum dns_status {
	DNS_OK = 0,       /* at least one record */
	DNS_NODATA = 1,   /* the name is there, a record of this type is not */
	DNS_NXDOMAIN = 2, /* the name is not there */
	DNS_NULLMX = 3,   /* the domain takes no mail (RFC 7505) */
	DNS_BAD = 4,      /* an answer, but nothing in it can be used (malformed names) */
	DNS_TEMP = 5,     /* no answer now */
	DNS_FILTERED = 6, /* there are records, all were dropped; not the resolver's word */
};

enum {
	DNS_NAME_MAX = 253,        /* text form, without the last dot (RFC 1035, 2.3.4) */
	DNS_RECORDS_MAX = 100,     /* of one answer; the rest is left out */
	DNS_ANSWER_MAX = 32 * 1024 /* encoded */
};

struct dns_record {
	enum dns_type type;
	uint16_t pref;     /* MX */
	struct slice data; /* A: 4 bytes, AAAA: 16; MX, NS, PTR, CNAME: host name without last dot;
			      TXT, TLSA: bytes */
};

struct dns_answer {
	enum dns_status status;
	bool secure;          /* a name server that is trusted with that has validated all of it */
	uint32_t ttl;         /* seconds that it may be kept, counted down by the cache */
	struct slice name;    /* where the records were found, behind all CNAMEs; borrowed */
	struct slice records; /* private */
	unsigned count;
	unsigned at; /* private: how many were taken off */
	uint64_t dropped[(DNS_RECORDS_MAX + 63) / 64];
};

/* Reads encoded bytes, which stay borrowed. ERR_SYNTAX: not an answer. */
int dns_answer_parse(struct slice encoded, struct dns_answer *a);
/* Takes the next record off a; false at the end. Pass a copy to walk twice. */
bool dns_answer_next(struct dns_answer *a, struct dns_record *r);
/* Record i (0: the first of all) is passed over from now on; the bytes stay. */
void dns_answer_drop(struct dns_answer *a, unsigned i);

/* Building: begin, add records, end. Over a limit a record is left out. */
void dns_answer_begin(
	struct buf *out, enum dns_status status, bool secure, uint32_t ttl, struct slice name);
void dns_answer_add(struct buf *out, enum dns_type type, uint16_t pref, struct slice data);
/* The same answer with another time to live (a cache hit). */
void dns_answer_set_ttl(struct buf *encoded, uint32_t ttl);
/* The same answer, secure only if secure, to be kept no longer than ttl. */
void dns_answer_weaken(struct buf *encoded, bool secure, uint32_t ttl);

const char *dns_type_str(enum dns_type type);               /* "MX"; "TYPE" for one not listed */
int dns_type_parse(struct slice text, enum dns_type *type); /* "mx"; ERR_SYNTAX: not listed */
/* As Postfix says it: "Host not found", "Host not found, try again", … */
const char *dns_status_str(enum dns_status status);

#endif
