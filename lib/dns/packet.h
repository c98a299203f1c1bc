/* SPDX-License-Identifier: ISC */
#ifndef DNS_PACKET_H
#define DNS_PACKET_H

#include "dns/question.h"

/*
 * DNS messages (RFC 1035, 4), on ldns, without any I/O: who sends them and waits is the resolver.
 * No function here believes a packet: a reply must carry the id and, byte for byte, the question
 * that was sent (with letters of random case, which makes guessing harder), and what it says is
 * taken only for the name that was asked and the CNAMEs that lead on from it.
 */
/* An alias whose target is not in the packet that it was in. */
struct dns_follow {
	struct dns_question to;
	bool secure;  /* the alias itself is validated */
	uint32_t ttl; /* of the alias */
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
 * the name is an alias and its target's records are not in this packet: ask for follow->to, then
 * hand that on, as validated as the two of them are (dns_answer_weaken). ERR_TEMP: this server
 * cannot say (SERVFAIL, REFUSED, NOTIMP, a referral). ERR_STATE: the server does not understand
 * EDNS (FORMERR). ERR_SYNTAX: damaged packet. An answer is secure when the name server says that
 * all of it is validated (AD, RFC 4035, 3.2.3): whether that counts is for the caller to know.
 */
int dns_packet_parse(struct slice reply, const struct dns_question *q, struct buf *answer,
	struct dns_follow *follow);

#endif
