/* SPDX-License-Identifier: ISC */
#include "dns/packet.h"

/* Not <ldns/ldns.h>: it takes in OpenSSL, whose names collide with ours. */
#include <ldns/common.h>
#include <ldns/util.h>
#include <ldns/buffer.h>
#include <ldns/rbtree.h>
#include <ldns/dname.h>
#include <ldns/packet.h>
#include <ldns/rr.h>
#include <ldns/host2wire.h>
#include <ldns/wire2host.h>

#include <stdlib.h>
#include <string.h>

#include "util/err.h"

enum { HEADER = 12, QR = 0x80, TC = 0x02, OPCODE = 0x78 };

/* What may stand in a host name of an answer; names of other services have an underscore. */
static bool is_host_char(unsigned char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '-' || c == '_';
}

/* Random case in the question's name, which begins behind the header (0x20, Dagon et al. 2008). */
static void mix_case(char *packet, size_t len)
{
	uint32_t bits = 0;
	unsigned left = 0;
	for (size_t at = HEADER; at < len && packet[at] != 0;) {
		size_t end = at + 1 + (unsigned char)packet[at];
		for (at++; at < end && at < len; at++) {
			bool letter = packet[at] >= 'a' && packet[at] <= 'z';
			if (letter && left == 0) {
				bits = arc4random();
				left = 32;
			}
			if (letter && left-- > 0) {
				packet[at] = (char)(bits & 1 ? packet[at] - 32 : packet[at]);
				bits >>= 1;
			}
		}
	}
}

static ldns_rdf *question_name(const struct dns_question *q)
{
	return ldns_dname_new_frm_str(q->name[0] != '\0' ? q->name : ".");
}

int dns_packet_query(struct buf *out, const struct dns_question *q, uint16_t id, unsigned flags)
{
	buf_reset(out);
	ldns_rdf *name = question_name(q);
	if (name == NULL) {
		return ERR_SYNTAX;
	}
	/* The packet owns the name from here. */
	ldns_pkt *pkt = ldns_pkt_query_new(
		name, (ldns_rr_type)q->type, LDNS_RR_CLASS_IN, LDNS_RD | LDNS_AD);
	if (pkt == NULL) {
		ldns_rdf_deep_free(name);
		return ERR_SYNTAX;
	}
	ldns_pkt_set_id(pkt, id);
	if (flags & DNS_QUERY_EDNS) {
		ldns_pkt_set_edns_udp_size(pkt, DNS_UDP_MAX);
	}
	uint8_t *wire = NULL;
	size_t len = 0;
	int r = ldns_pkt2wire(&wire, pkt, &len) == LDNS_STATUS_OK ? 0 : ERR_SYNTAX;
	if (r == 0) {
		r = buf_add(out, wire, len);
	}
	if (r == 0 && (flags & DNS_QUERY_MIXED)) {
		mix_case(out->data + out->start, out->len);
	}
	LDNS_FREE(wire);
	ldns_pkt_free(pkt);
	return r;
}

/* Length of the one question behind the header, 0 when it is not whole. */
static size_t question_len(struct slice packet)
{
	size_t at = HEADER;
	while (at < packet.len && packet.p[at] != 0) {
		size_t label = (unsigned char)packet.p[at];
		if (label > 63) {
			return 0;
		}
		at += 1 + label;
	}
	return at + 5 <= packet.len ? at + 5 - HEADER : 0;
}

int dns_packet_check(struct slice sent, struct slice reply, bool stream)
{
	const unsigned char *h = (const unsigned char *)reply.p;
	size_t len = sent.len > HEADER ? question_len(sent) : 0;
	if (len == 0 || reply.len < HEADER || memcmp(sent.p, reply.p, 2) != 0 || (h[2] & QR) == 0 ||
		(h[2] & OPCODE) != 0) {
		return ERR_NOT_FOUND;
	}
	if (h[4] != 0 || h[5] != 1) {
		/* Some servers that refuse send no question back: worth no more than a failure. */
		bool bare = h[4] == 0 && h[5] == 0 && (h[3] & 15) != LDNS_RCODE_NOERROR &&
			    (h[3] & 15) != LDNS_RCODE_NXDOMAIN;
		return bare ? 0 : ERR_NOT_FOUND;
	}
	struct slice asked = slice_first(slice_from(sent, HEADER), len);
	struct slice said = slice_first(slice_from(reply, HEADER), len);
	if (!slice_eq(asked, said)) {
		/* Folding changes no length byte (at most 63) and no type of ours into another. */
		if (!slice_case_eq(asked, said)) {
			return ERR_NOT_FOUND;
		}
		return stream ? 0 : ERR_AGAIN;
	}
	return (h[2] & TC) != 0 && !stream ? ERR_AGAIN : 0;
}

/* A domain name as text; false when it is no host name. The root gives "". */
static bool name_to_text(const ldns_rdf *name, char out[static DNS_NAME_MAX + 2])
{
	const uint8_t *p = ldns_rdf_data(name);
	size_t size = ldns_rdf_size(name), at = 0, n = 0;
	while (at < size && p[at] != 0) {
		size_t label = p[at++];
		if (label > 63 || at + label > size || n + label + 1 > DNS_NAME_MAX + 1) {
			return false;
		}
		for (size_t i = 0; i < label; i++, at++) {
			if (!is_host_char(p[at])) {
				return false;
			}
			/* Compression may point into the question, whose case was mixed. */
			bool is_upper = p[at] >= 'A' && p[at] <= 'Z';
			out[n++] = (char)(is_upper ? p[at] + ('a' - 'A') : p[at]);
		}
		out[n++] = '.';
	}
	out[n > 0 ? n - 1 : 0] = '\0';
	return at < size && n <= DNS_NAME_MAX + 1;
}

/* The text of the first character strings together (RFC 7208, 3.3: without blanks between). */
static void add_txt(struct buf *answer, const ldns_rr *rr)
{
	struct buf text = BUF_INIT(DNS_ANSWER_MAX / 2);
	for (size_t i = 0; i < ldns_rr_rd_count(rr); i++) {
		const ldns_rdf *f = ldns_rr_rdf(rr, i);
		if (ldns_rdf_size(f) > 1) {
			buf_add(&text, ldns_rdf_data(f) + 1, ldns_rdf_size(f) - 1);
		}
	}
	dns_answer_add(answer, DNS_TXT, 0, buf_slice(&text));
	buf_clear(&text);
}

static void add_tlsa(struct buf *answer, const ldns_rr *rr)
{
	struct buf data = BUF_INIT(DNS_ANSWER_MAX / 2);
	for (size_t i = 0; i < ldns_rr_rd_count(rr); i++) {
		const ldns_rdf *f = ldns_rr_rdf(rr, i);
		buf_add(&data, ldns_rdf_data(f), ldns_rdf_size(f));
	}
	dns_answer_add(answer, DNS_TLSA, 0, buf_slice(&data));
	buf_clear(&data);
}

struct walk {
	struct buf *answer;
	enum dns_type type;
	unsigned good, bad, null;
	uint32_t ttl;
};

static void add_name(struct walk *w, const ldns_rdf *name, uint16_t pref)
{
	char text[DNS_NAME_MAX + 2];
	if (name == NULL || ldns_rdf_get_type(name) != LDNS_RDF_TYPE_DNAME ||
		!name_to_text(name, text)) {
		w->bad++;
	} else if (text[0] == '\0') {
		w->null++;
	} else {
		dns_answer_add(w->answer, w->type, pref, slice_str(text));
		w->good++;
	}
}

static void add_record(struct walk *w, const ldns_rr *rr)
{
	const ldns_rdf *first = ldns_rr_rd_count(rr) > 0 ? ldns_rr_rdf(rr, 0) : NULL;
	if (w->type == DNS_TLSA) {
		/* One that is too short is there all the same, and unusable (RFC 7672, 2.2). */
		add_tlsa(w->answer, rr);
		w->good++;
		return;
	}
	if (first == NULL) {
		w->bad++;
		return;
	}
	switch (w->type) {
	case DNS_A:
	case DNS_AAAA:
		if (ldns_rdf_size(first) != (w->type == DNS_A ? 4 : 16)) {
			w->bad++;
			return;
		}
		dns_answer_add(w->answer, w->type, 0,
			slice_of(ldns_rdf_data(first), ldns_rdf_size(first)));
		w->good++;
		return;
	case DNS_MX:
		add_name(w, ldns_rr_rd_count(rr) == 2 ? ldns_rr_rdf(rr, 1) : NULL,
			ldns_rdf_size(first) == 2 ? ldns_rdf2native_int16(first) : 0);
		return;
	case DNS_PTR:
	case DNS_CNAME:
	case DNS_NS: add_name(w, first, 0); return;
	case DNS_TXT:
		add_txt(w->answer, rr);
		w->good++;
		return;
	default:
		add_tlsa(w->answer, rr);
		w->good++;
		return;
	}
}

static uint32_t min32(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

/* RFC 2181, 8: with the highest bit it is none. */
static uint32_t ttl_of(const ldns_rr *rr)
{
	return ldns_rr_ttl(rr) > INT32_MAX ? 0 : ldns_rr_ttl(rr);
}

/* Adds the records of name; says where an alias leads when there are none. */
static const ldns_rdf *walk_name(struct walk *w, const ldns_rr_list *list, const ldns_rdf *name)
{
	const ldns_rdf *alias = NULL;
	unsigned seen = 0;
	for (size_t i = 0; i < ldns_rr_list_rr_count(list); i++) {
		const ldns_rr *rr = ldns_rr_list_rr(list, i);
		if (ldns_rr_get_class(rr) != LDNS_RR_CLASS_IN ||
			ldns_dname_compare(ldns_rr_owner(rr), name) != 0) {
			continue;
		}
		ldns_rr_type type = ldns_rr_get_type(rr);
		if (type == (ldns_rr_type)w->type) {
			add_record(w, rr);
			seen++;
		} else if (type == LDNS_RR_TYPE_CNAME && ldns_rr_rd_count(rr) == 1) {
			alias = ldns_rr_rdf(rr, 0);
		} else {
			continue;
		}
		w->ttl = min32(w->ttl, ttl_of(rr));
	}
	return seen == 0 ? alias : NULL;
}

/* How long "not there" holds: from the zone's SOA (RFC 2308, 5); without one, not at all. */
static uint32_t negative_ttl(const ldns_pkt *pkt, bool *has_soa, bool *has_ns)
{
	const ldns_rr_list *list = ldns_pkt_authority(pkt);
	uint32_t ttl = 0;
	*has_soa = *has_ns = false;
	for (size_t i = 0; i < ldns_rr_list_rr_count(list); i++) {
		const ldns_rr *rr = ldns_rr_list_rr(list, i);
		if (ldns_rr_get_type(rr) == LDNS_RR_TYPE_SOA && ldns_rr_rd_count(rr) == 7) {
			*has_soa = true;
			ttl = min32(ttl_of(rr), ldns_rdf2native_int32(ldns_rr_rdf(rr, 6)));
		}
		*has_ns = *has_ns || ldns_rr_get_type(rr) == LDNS_RR_TYPE_NS;
	}
	return min32(ttl, DNS_NEGATIVE_TTL_MAX);
}

static enum dns_status walk_status(const struct walk *w)
{
	if (w->good > 0) {
		return DNS_OK;
	}
	if (w->null > 0 && w->bad == 0) {
		return w->type == DNS_MX ? DNS_NULLMX : DNS_NODATA;
	}
	return w->bad > 0 ? DNS_BAD : DNS_NODATA;
}

/* Follows the aliases within the packet from asked. *name is where they end. */
static int walk_answer(
	struct walk *w, const ldns_pkt *pkt, const ldns_rdf *asked, const ldns_rdf **name)
{
	*name = asked;
	for (unsigned hops = 0; hops <= DNS_CNAME_LIMIT; hops++) {
		const ldns_rdf *next = walk_name(w, ldns_pkt_answer(pkt), *name);
		if (next == NULL) {
			return 0;
		}
		*name = next;
	}
	return ERR_LIMIT;
}

/* With the bits of EDNS (RFC 6891, 6.1.3): a failure of those alone is none of its lower four. */
static unsigned whole_rcode(const ldns_pkt *pkt)
{
	unsigned more = ldns_pkt_edns(pkt) ? ldns_pkt_edns_extended_rcode(pkt) : 0;
	return more << 4 | ldns_pkt_get_rcode(pkt);
}

static int rcode_result(unsigned rcode)
{
	enum { BADVERS = 16 };
	switch (rcode) {
	case LDNS_RCODE_NOERROR:
	case LDNS_RCODE_NXDOMAIN: return 0;
	case LDNS_RCODE_FORMERR:
	case LDNS_RCODE_NOTIMPL:
	case BADVERS: return ERR_STATE;
	default: return ERR_TEMP;
	}
}

static int parse_pkt(const ldns_pkt *pkt, const ldns_rdf *asked, const struct dns_question *q,
	struct buf *answer, struct dns_follow *follow)
{
	unsigned rcode = whole_rcode(pkt);
	int r = rcode_result(rcode);
	if (r != 0) {
		return r;
	}
	struct walk w = {.answer = answer, .type = q->type, .ttl = DNS_TTL_MAX};
	const ldns_rdf *name = NULL;
	char text[DNS_NAME_MAX + 2];
	/* Status and name are known at the end only: the first pass fills a place that is dropped.
	 */
	dns_answer_begin(answer, DNS_NODATA, false, 0, SLICE_NONE);
	bool endless = walk_answer(&w, pkt, asked, &name) != 0;
	bool named = name_to_text(name, text);
	if (endless || (!named && w.good + w.bad + w.null == 0 && name != asked)) {
		dns_answer_begin(answer, DNS_BAD, false, 0, SLICE_NONE);
		return 0;
	}
	bool secure = ldns_pkt_ad(pkt), has_soa = false, has_ns = false;
	uint32_t negative = negative_ttl(pkt, &has_soa, &has_ns);
	struct slice found = named ? slice_str(text) : slice_str(q->name);
	enum dns_status status = rcode == LDNS_RCODE_NXDOMAIN ? DNS_NXDOMAIN : walk_status(&w);
	if (status == DNS_NODATA && !has_soa && name != asked) {
		follow->secure = secure;
		follow->ttl = w.ttl;
		return dns_question_set(&follow->to, q->type, found) == 0 ? ERR_AGAIN : ERR_SYNTAX;
	}
	if (status == DNS_NODATA && !has_soa && has_ns && !ldns_pkt_aa(pkt)) {
		return ERR_TEMP; /* a referral: this server does not recurse for us */
	}
	if (status == DNS_NODATA || status == DNS_NXDOMAIN) {
		w.ttl = min32(w.ttl, negative);
	}
	dns_answer_begin(answer, status, secure, w.ttl, found);
	if (status == DNS_OK) {
		w.good = w.bad = w.null = 0;
		(void)walk_name(&w, ldns_pkt_answer(pkt), name);
	}
	return 0;
}

int dns_packet_parse(struct slice reply, const struct dns_question *q, struct buf *answer,
	struct dns_follow *follow)
{
	*follow = (struct dns_follow){0};
	buf_reset(answer);
	ldns_pkt *pkt = NULL;
	if (reply.len >= HEADER && (reply.p[2] & QR) != 0 && rcode_result(reply.p[3] & 15) != 0) {
		/* What comes with a failure is of no use, even when it is no whole packet. */
		return rcode_result(reply.p[3] & 15);
	}
	if (ldns_wire2pkt(&pkt, (const uint8_t *)reply.p, reply.len) != LDNS_STATUS_OK) {
		return ERR_SYNTAX;
	}
	ldns_rdf *asked = question_name(q);
	int r = asked != NULL ? parse_pkt(pkt, asked, q, answer, follow) : ERR_SYNTAX;
	if (r != 0) {
		buf_reset(answer);
	}
	ldns_rdf_deep_free(asked);
	ldns_pkt_free(pkt);
	return r;
}
