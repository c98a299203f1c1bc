/* SPDX-License-Identifier: ISC */
#include "dns/answer.h"

#include "util/err.h"
#include "util/wire.h"

/*
 * u8 status, u8 flags (1: secure), u32 ttl, u16 count, counted name, then per record: u16 type,
 * u16 pref, counted data.
 */
enum { FLAG_SECURE = 1, AT_FLAGS = 1, AT_TTL = 2, AT_COUNT = 6, HEADER = 8 };

static bool record_read(struct reader *r, struct dns_record *rec)
{
	*rec = (struct dns_record){0};
	uint16_t type = reader_u16(r);
	uint16_t pref = reader_u16(r);
	struct slice data = reader_counted(r, DNS_ANSWER_MAX);
	if (r->err != 0) {
		return false;
	}
	*rec = (struct dns_record){.type = (enum dns_type)type, .pref = pref, .data = data};
	return true;
}

static bool record_is_sound(const struct dns_record *r)
{
	switch (r->type) {
	case DNS_A: return r->data.len == 4;
	case DNS_AAAA: return r->data.len == 16;
	case DNS_MX:
	case DNS_NS:
	case DNS_PTR:
	case DNS_CNAME:
		return r->data.len > 0 && r->data.len <= DNS_NAME_MAX &&
		       slice_is_printable(r->data);
	default: return true;
	}
}

int dns_answer_parse(struct slice encoded, struct dns_answer *a)
{
	*a = (struct dns_answer){.status = DNS_TEMP};
	struct reader r = reader_of(encoded);
	uint8_t status = reader_u8(&r);
	uint8_t flags = reader_u8(&r);
	uint32_t ttl = reader_u32(&r);
	uint16_t count = reader_u16(&r);
	struct slice name = reader_counted(&r, DNS_NAME_MAX);
	struct slice records = r.in;
	if (r.err != 0 || status > DNS_TEMP || count > DNS_RECORDS_MAX) {
		return ERR_SYNTAX;
	}
	for (unsigned i = 0; i < count; i++) {
		struct dns_record rec;
		if (!record_read(&r, &rec) || !record_is_sound(&rec)) {
			return ERR_SYNTAX;
		}
	}
	reader_end(&r);
	if (r.err != 0 || (status == DNS_OK) != (count > 0)) {
		return ERR_SYNTAX;
	}
	*a = (struct dns_answer){.status = (enum dns_status)status,
		.secure = (flags & FLAG_SECURE) != 0,
		.ttl = ttl,
		.name = name,
		.records = records,
		.count = count};
	return 0;
}

static bool take_off(struct dns_answer *a, struct dns_record *r)
{
	*r = (struct dns_record){0};
	if (a->count == 0) {
		return false;
	}
	struct reader in = reader_of(a->records);
	if (!record_read(&in, r)) {
		a->count = 0;
		return false;
	}
	a->records = in.in;
	a->count--;
	a->at++;
	return true;
}

bool dns_answer_next(struct dns_answer *a, struct dns_record *r)
{
	while (take_off(a, r)) {
		unsigned i = a->at - 1;
		if (i >= DNS_RECORDS_MAX || (a->dropped[i / 64] >> i % 64 & 1) == 0) {
			return true;
		}
	}
	*r = (struct dns_record){0};
	return false;
}

void dns_answer_drop(struct dns_answer *a, unsigned i)
{
	if (i < DNS_RECORDS_MAX) {
		a->dropped[i / 64] |= UINT64_C(1) << i % 64;
	}
}

void dns_answer_begin(
	struct buf *out, enum dns_status status, bool secure, uint32_t ttl, struct slice name)
{
	buf_reset(out);
	wire_u8(out, (uint8_t)status);
	wire_u8(out, secure ? FLAG_SECURE : 0);
	wire_u32(out, ttl);
	wire_u16(out, 0);
	wire_counted(out, slice_first(name, DNS_NAME_MAX));
}

void dns_answer_add(struct buf *out, enum dns_type type, uint16_t pref, struct slice data)
{
	char *head = out->data + out->start;
	uint16_t count = wire_get_u16(head + AT_COUNT);
	if (count >= DNS_RECORDS_MAX || out->len + 8 + data.len > DNS_ANSWER_MAX) {
		return;
	}
	wire_u16(out, (uint16_t)type);
	wire_u16(out, pref);
	wire_counted(out, data);
	/* The buffer may have moved. */
	head = out->data + out->start;
	wire_put_u16(head + AT_COUNT, (uint16_t)(count + 1));
	head[0] = DNS_OK;
}

void dns_answer_set_ttl(struct buf *encoded, uint32_t ttl)
{
	if (encoded->len >= HEADER) {
		wire_put_u32(encoded->data + encoded->start + AT_TTL, ttl);
	}
}

void dns_answer_weaken(struct buf *encoded, bool secure, uint32_t ttl)
{
	char *head = encoded->data + encoded->start;
	if (encoded->len < HEADER) {
		return;
	}
	if (!secure) {
		head[AT_FLAGS] &= ~FLAG_SECURE;
	}
	if (wire_get_u32(head + AT_TTL) > ttl) {
		wire_put_u32(head + AT_TTL, ttl);
	}
}

const char *dns_type_str(enum dns_type type)
{
	switch (type) {
	case DNS_A: return "A";
	case DNS_NS: return "NS";
	case DNS_CNAME: return "CNAME";
	case DNS_SOA: return "SOA";
	case DNS_PTR: return "PTR";
	case DNS_MX: return "MX";
	case DNS_TXT: return "TXT";
	case DNS_AAAA: return "AAAA";
	case DNS_TLSA: return "TLSA";
	}
	return "TYPE";
}

int dns_type_parse(struct slice text, enum dns_type *type)
{
	static const enum dns_type known[] = {
		DNS_A, DNS_NS, DNS_CNAME, DNS_SOA, DNS_PTR, DNS_MX, DNS_TXT, DNS_AAAA, DNS_TLSA};
	*type = DNS_A;
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (slice_case_eq_str(text, dns_type_str(known[i]))) {
			*type = known[i];
			return 0;
		}
	}
	return ERR_SYNTAX;
}

const char *dns_status_str(enum dns_status status)
{
	switch (status) {
	case DNS_OK: return "Success";
	case DNS_NODATA: return "Host found but no data record of requested type";
	case DNS_NXDOMAIN: return "Host not found";
	case DNS_NULLMX: return "Domain does not accept mail (nullMX)";
	case DNS_BAD: return "Malformed or unexpected name server reply";
	case DNS_TEMP: return "Host not found, try again";
	case DNS_FILTERED: return "DNS reply filter policy";
	}
	return "Unknown error";
}
