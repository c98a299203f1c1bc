/* SPDX-License-Identifier: ISC */
#ifndef DNS_PACKET_H
#define DNS_PACKET_H

#include "dns/answer.h"

/*
 * DNS messages (RFC 1035, 4), on ldns, without any I/O: who sends them and waits is the resolver.
 * No function here believes a packet: a reply must carry the id and, byte for byte, the question
 * that was sent (with letters of random case, which makes guessing harder), and what it says is
 * taken only for the name that was asked and the CNAMEs that lead on from it.
 */
struct dns_question {
	enum dns_type type;
	char name[DNS_NAME_MAX + 1]; /* lower case ASCII, no dot at the end */
};

enum {
	DNS_QUERY_EDNS = 1,  /* with an OPT record that allows replies of DNS_UDP_MAX (RFC 6891) */
	DNS_QUERY_MIXED = 2, /* letters of random case */
};

enum {
	DNS_UDP_MAX = 1232,         /* what passes without fragments nearly everywhere */
	DNS_PACKET_MAX = 65535,     /* over TCP */
	DNS_QUERY_MAX = 512,        /* of a query of ours */
	DNS_CNAME_LIMIT = 10,       /* names in a row */
	DNS_NEGATIVE_TTL_MAX = 900, /* "not there" is kept at most this long (RFC 2308, 5) */
	DNS_TTL_MAX = 86400,
};

/*
 * Makes a question; a name in UTF-8 becomes its A-label form (RFC 5891). ERR_SYNTAX: not a domain
 * name (empty, labels over 63 bytes, blanks, control characters, …).
 */
int dns_question_set(struct dns_question *q, enum dns_type type, struct slice name);

/* The name of a PTR question: "1.2.0.192.in-addr.arpa"; addr has 4 or 16 bytes, else ERR_RANGE. */
int dns_reverse_name(struct slice addr, char name[static DNS_NAME_MAX + 1]);

/* Encodes a recursive query (random id by the caller). ERR_SYNTAX when ldns refuses the name. */
int dns_packet_query(struct buf *out, const struct dns_question *q, uint16_t id, unsigned flags);

/*
 * Whether reply answers the query sent. 0: yes. ERR_NOT_FOUND: it does not (another id or question,
 * no reply): as if it had never come. ERR_AGAIN: it does, but ask the same server over TCP:
 * truncated, or the letters' case is lost, so that it may be a guess. Over TCP (stream) ERR_AGAIN
 * does not occur.
 */
int dns_packet_check(struct slice sent, struct slice reply, bool stream);

/*
 * Reads a checked reply to q into *answer (encoded, see answer.h). 0: it is an answer. ERR_AGAIN:
 * the name is an alias and its target's records are not in this packet: ask for *follow, then hand
 * that on. ERR_TEMP: this server cannot say (SERVFAIL, REFUSED, NOTIMP, a referral). ERR_STATE: the
 * server does not understand EDNS (FORMERR). ERR_SYNTAX: damaged packet.
 */
int dns_packet_parse(struct slice reply, const struct dns_question *q, struct buf *answer,
	struct dns_question *follow);

#endif
