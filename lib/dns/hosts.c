/* SPDX-License-Identifier: ISC */
#include "dns/hosts.h"

#include <stdlib.h>
#include <sys/socket.h>

#include "util/err.h"
#include "util/wire.h"

enum { FLAG_MX = 1, FLAG_SECURE = 2, HOST_SECURE = 1 };

int hosts_add_host(struct hosts *h, struct slice name, uint16_t pref)
{
	if (h->hosts == HOSTS_MX_MAX) {
		return -1;
	}
	h->host[h->hosts] = (struct host){.name = name, .canonical = name, .pref = pref};
	return (int)h->hosts++;
}

void hosts_add_addr(struct hosts *h, int host, int family, const void *addr)
{
	if (host < 0 || h->n == HOSTS_ADDR_MAX) {
		return;
	}
	struct host_addr *a = &h->addr[h->n++];
	*a = (struct host_addr){.pref = h->host[host].pref,
		.family = (uint8_t)family,
		.at = (uint8_t)host,
		.host = h->host[host].name};
	memcpy(a->addr, addr, family == AF_INET ? 4 : 16);
	h->status = DNS_OK;
}

void host_record_add(struct buf *records, struct slice data)
{
	wire_counted(records, data);
}

bool host_record_next(struct slice *records, struct slice *data)
{
	struct reader r = reader_of(*records);
	*data = SLICE_NONE;
	if (records->len == 0) {
		return false;
	}
	*data = reader_counted(&r, HOSTS_TLSA_BYTES);
	*records = r.err == 0 ? r.in : SLICE_NONE;
	return r.err == 0;
}

/* ---- Encoding. ---- */

static void host_encode(struct buf *out, const struct host *h)
{
	wire_counted(out, h->name);
	wire_counted(out, slice_eq(h->name, h->canonical) ? SLICE_NONE : h->canonical);
	wire_u16(out, h->pref);
	wire_u8(out, h->secure ? HOST_SECURE : 0);
	wire_u8(out, (uint8_t)h->status);
	wire_u16(out, (uint16_t)h->failed);
	wire_u32(out, h->ttl);
	wire_u8(out, (uint8_t)h->tlsa);
	wire_counted(out, h->base);
	wire_u32(out, h->tlsa_ttl);
	wire_u16(out, (uint16_t)h->count);
	wire_counted(out, h->records);
}

void hosts_encode(struct buf *out, const struct hosts *h)
{
	buf_reset(out);
	wire_u8(out, (uint8_t)h->status);
	wire_u8(out, (h->mx ? FLAG_MX : 0) | (h->mx_secure ? FLAG_SECURE : 0));
	wire_u32(out, h->ttl);
	wire_u16(out, h->best);
	wire_u16(out, (uint16_t)h->type);
	wire_counted(out, h->name);
	wire_counted(out, h->mx_name);
	wire_u32(out, h->mx_ttl);
	wire_u16(out, (uint16_t)h->hosts);
	for (unsigned i = 0; i < h->hosts; i++) {
		host_encode(out, &h->host[i]);
	}
	wire_u16(out, (uint16_t)h->n);
	for (unsigned i = 0; i < h->n; i++) {
		const struct host_addr *a = &h->addr[i];
		size_t len = a->family == AF_INET6 ? 16 : 4;
		wire_u8(out, a->at);
		wire_u8(out, (uint8_t)len);
		buf_add(out, a->addr, len);
	}
}

static struct slice name_decode(struct reader *r)
{
	struct slice name = reader_counted(r, DNS_NAME_MAX);
	if (!slice_is_printable(name)) {
		r->err = ERR_SYNTAX;
	}
	return name;
}

static bool records_are_sound(struct slice records, unsigned count)
{
	struct slice data;
	unsigned n = 0;
	while (records.len > 0) {
		if (!host_record_next(&records, &data)) {
			return false;
		}
		n++;
	}
	return n == count && n <= DNS_RECORDS_MAX;
}

static void host_decode(struct reader *r, struct host *h)
{
	h->name = name_decode(r);
	h->canonical = name_decode(r);
	h->canonical = h->canonical.len > 0 ? h->canonical : h->name;
	h->pref = reader_u16(r);
	h->secure = (reader_u8(r) & HOST_SECURE) != 0;
	uint8_t status = reader_u8(r);
	h->failed = (enum dns_type)reader_u16(r);
	h->ttl = reader_u32(r);
	uint8_t tlsa = reader_u8(r);
	h->base = name_decode(r);
	h->tlsa_ttl = reader_u32(r);
	h->count = reader_u16(r);
	h->records = reader_counted(r, HOSTS_TLSA_BYTES);
	if (h->name.len == 0 || status > DNS_TEMP || tlsa > TLSA_FAILED ||
		!records_are_sound(h->records, h->count) ||
		(tlsa == TLSA_FOUND) != (h->count > 0 && h->base.len > 0)) {
		r->err = ERR_SYNTAX;
		return;
	}
	h->status = (enum dns_status)status;
	h->tlsa = (enum tlsa_status)tlsa;
}

static void addr_decode(struct reader *r, struct hosts *h)
{
	uint8_t at = reader_u8(r);
	uint8_t len = reader_u8(r);
	struct slice addr = reader_bytes(r, len);
	if (r->err != 0 || at >= h->hosts || (len != 4 && len != 16)) {
		r->err = ERR_SYNTAX;
		return;
	}
	hosts_add_addr(h, at, len == 4 ? AF_INET : AF_INET6, addr.p);
}

static void lists_decode(struct reader *r, struct hosts *h)
{
	uint16_t hosts = reader_u16(r);
	if (hosts > HOSTS_MX_MAX) {
		r->err = ERR_SYNTAX;
	}
	for (unsigned i = 0; i < hosts && r->err == 0; i++) {
		host_decode(r, &h->host[i]);
		h->hosts++;
	}
	uint16_t n = reader_u16(r);
	if (n > HOSTS_ADDR_MAX) {
		r->err = ERR_SYNTAX;
	}
	for (unsigned i = 0; i < n && r->err == 0; i++) {
		addr_decode(r, h);
	}
	reader_end(r);
}

int hosts_decode(struct slice encoded, struct hosts *h)
{
	struct reader r = reader_of(encoded);
	*h = (struct hosts){.status = DNS_TEMP};
	uint8_t status = reader_u8(&r);
	uint8_t flags = reader_u8(&r);
	h->mx = (flags & FLAG_MX) != 0;
	h->mx_secure = (flags & FLAG_SECURE) != 0;
	h->ttl = reader_u32(&r);
	h->best = reader_u16(&r);
	h->type = (enum dns_type)reader_u16(&r);
	h->name = reader_counted(&r, DNS_NAME_MAX);
	h->mx_name = name_decode(&r);
	h->mx_ttl = reader_u32(&r);
	lists_decode(&r, h);
	if (r.err != 0 || status > DNS_TEMP || (status == DNS_OK) != (h->n > 0)) {
		*h = (struct hosts){.status = DNS_TEMP};
		return ERR_SYNTAX;
	}
	h->status = (enum dns_status)status;
	return 0;
}

/* ---- Order. ---- */

static int family_rank(const struct host_addr *a, int prefer)
{
	return prefer == 0 || a->family == prefer ? 0 : 1;
}

static bool comes_before(const struct host_addr *a, const struct host_addr *b, int prefer)
{
	if (a->pref != b->pref) {
		return a->pref < b->pref;
	}
	return family_rank(a, prefer) < family_rank(b, prefer);
}

static void swap(struct host_addr *a, struct host_addr *b)
{
	struct host_addr t = *a;
	*a = *b;
	*b = t;
}

/* Puts an address of the family that is missing among the first limit at their end. */
static void balance_families(struct hosts *h, unsigned limit)
{
	for (unsigned i = 1; i < limit; i++) {
		if (h->addr[i].family != h->addr[0].family) {
			return;
		}
	}
	for (unsigned i = limit; i < h->n; i++) {
		if (h->addr[i].family != h->addr[0].family) {
			h->addr[limit - 1] = h->addr[i];
			return;
		}
	}
}

void hosts_order(struct hosts *h, bool randomize, int prefer, bool balance, unsigned limit)
{
	for (unsigned i = h->n; randomize && i > 1; i--) {
		swap(&h->addr[i - 1], &h->addr[arc4random_uniform(i)]);
	}
	/* Insertion keeps the order of equals; at most HOSTS_ADDR_MAX. */
	for (unsigned i = 1; i < h->n; i++) {
		for (unsigned j = i; j > 0 && comes_before(&h->addr[j], &h->addr[j - 1], prefer);
			j--) {
			swap(&h->addr[j], &h->addr[j - 1]);
		}
	}
	if (limit == 0 || h->n <= limit) {
		return;
	}
	if (balance && prefer == 0 && limit > 1) {
		balance_families(h, limit);
	}
	h->n = limit;
}

int hosts_cut_self(
	struct hosts *h, bool (*is_self)(const struct host_addr *a, void *arg), void *arg)
{
	uint32_t own = UINT32_MAX;
	for (unsigned i = 0; i < h->n; i++) {
		if (h->addr[i].pref < own && is_self(&h->addr[i], arg)) {
			own = h->addr[i].pref;
		}
	}
	if (own == UINT32_MAX) {
		return 0;
	}
	unsigned kept = 0;
	for (unsigned i = 0; i < h->n; i++) {
		if (h->addr[i].pref < own) {
			h->addr[kept++] = h->addr[i];
		}
	}
	h->n = kept;
	if (kept > 0) {
		return 0;
	}
	return h->best >= own ? ERR_EXISTS : ERR_NOT_FOUND;
}
