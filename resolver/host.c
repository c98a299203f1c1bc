/* SPDX-License-Identifier: ISC */
#include "resolver/host.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "util/err.h"

static void ask_tlsa(struct host_lookup *h, const char *base);

static const struct hostsfile *hosts_file;

void host_set_file(const struct hostsfile *file)
{
	hosts_file = file;
}

static uint32_t min32(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

static bool is_alias(const struct host_lookup *h)
{
	return strcmp(h->canonical, h->name) != 0;
}

unsigned host_count(const struct host_lookup *h)
{
	return h->n4 + h->n6 < HOST_ADDRS ? h->n4 + h->n6 : HOST_ADDRS;
}

/* ---- TLSA. ---- */

static void tlsa_end(struct host_lookup *h, enum tlsa_status status)
{
	h->tlsa = status;
	h->done(h->arg);
}

static void take_records(struct host_lookup *h, struct dns_answer *a)
{
	struct dns_record r;
	h->count = 0;
	while (dns_answer_next(a, &r)) {
		host_record_add(&h->records, r.data);
		h->count++;
	}
	tlsa_end(h, buf_failed(&h->records) ? TLSA_FAILED : TLSA_FOUND);
}

/* False: it does not say what is there. */
static bool take_answer(struct host_lookup *h, struct slice encoded, struct dns_answer *a)
{
	if (dns_answer_parse(encoded, a) != 0) {
		return false;
	}
	h->tlsa_ttl = min32(h->tlsa_ttl, a->ttl);
	return a->status != DNS_TEMP && a->status != DNS_BAD;
}

static void tlsa_answer(void *arg, struct slice encoded)
{
	struct host_lookup *h = arg;
	struct dns_answer a;
	if (!take_answer(h, encoded, &a)) {
		tlsa_end(h, TLSA_FAILED);
	} else if (a.status == DNS_OK && a.secure) {
		take_records(h, &a);
	} else if (h->base == h->canonical) {
		ask_tlsa(h, h->name);
	} else {
		tlsa_end(h, a.secure ? TLSA_NONE : TLSA_INSECURE);
	}
}

static void ask_tlsa(struct host_lookup *h, const char *base)
{
	char name[DNS_NAME_MAX * 2];
	struct dns_question q;
	h->base = base;
	(void)snprintf(name, sizeof(name), "_%u._tcp.%s", h->port, base);
	if (dns_question_set(&q, DNS_TLSA, slice_str(name)) != 0) {
		tlsa_end(h, TLSA_NONE); /* longer than any name can be */
		return;
	}
	h->tlsa_ask = (struct engine_ask){.done = tlsa_answer, .arg = h};
	engine_ask(h->engine, &q, &h->tlsa_ask);
}

/* RFC 7671, 7: the alias is in a signed zone, what it leads to is not. */
static void cname_answer(void *arg, struct slice encoded)
{
	struct host_lookup *h = arg;
	struct dns_answer a;
	if (!take_answer(h, encoded, &a)) {
		tlsa_end(h, TLSA_FAILED);
	} else if (a.status == DNS_OK && a.secure) {
		ask_tlsa(h, h->name);
	} else {
		tlsa_end(h, TLSA_INSECURE);
	}
}

static void addresses_known(struct host_lookup *h)
{
	struct dns_question q;
	if ((h->flags & LOOKUP_TLSA) == 0 || host_count(h) == 0) {
		tlsa_end(h, TLSA_INSECURE);
	} else if (h->secure || (h->flags & LOOKUP_FORCE) != 0) {
		ask_tlsa(h, is_alias(h) ? h->canonical : h->name);
	} else if (is_alias(h) && dns_question_set(&q, DNS_CNAME, slice_str(h->name)) == 0) {
		h->tlsa_ask = (struct engine_ask){.done = cname_answer, .arg = h};
		engine_ask(h->engine, &q, &h->tlsa_ask);
	} else {
		tlsa_end(h, TLSA_INSECURE);
	}
}

/* ---- Addresses. ---- */

/* Adds addresses; says whether there are any. */
static bool add_addresses(struct host_lookup *h, struct dns_answer a)
{
	struct dns_record r;
	unsigned before = h->n4 + h->n6;
	while (dns_answer_next(&a, &r)) {
		if (r.type == DNS_A && h->n4 < HOST_ADDRS) {
			memcpy(h->v4[h->n4++], r.data.p, 4);
		} else if (r.type == DNS_AAAA && h->n6 < HOST_ADDRS) {
			memcpy(h->v6[h->n6++], r.data.p, 16);
		}
	}
	return h->n4 + h->n6 > before;
}

static bool take_from_file(struct host_lookup *h, enum dns_type type)
{
	struct dns_answer a;
	struct slice known = hostsfile_find(hosts_file, type, slice_str(h->name));
	if (known.len == 0 || dns_answer_parse(known, &a) != 0) {
		return false;
	}
	h->ttl = min32(h->ttl, a.ttl);
	return add_addresses(h, a);
}

/* The families that are wanted. */
static bool take_all_from_file(struct host_lookup *h)
{
	bool v4 = (h->flags & LOOKUP_IPV4) != 0 && take_from_file(h, DNS_A);
	bool v6 = (h->flags & LOOKUP_IPV6) != 0 && take_from_file(h, DNS_AAAA);
	return v4 || v6;
}

static void one_less(struct host_lookup *h)
{
	if (--h->open > 0) {
		return;
	}
	if ((h->flags & LOOKUP_FILE_LAST) != 0 && host_count(h) == 0 && h->status != DNS_TEMP) {
		(void)take_all_from_file(h);
	}
	addresses_known(h);
}

/* The type that Postfix names when a host has no address: the one that it asks last. */
static enum dns_type last_type(const struct host_lookup *h)
{
	return h->flags & LOOKUP_IPV6 ? DNS_AAAA : DNS_A;
}

static void take_addresses(struct host_lookup *h, const struct dns_answer *a)
{
	/* What is secure says where the aliases lead. */
	if (host_count(h) == 0 || (a->secure && !h->secure)) {
		(void)snprintf(h->canonical, sizeof(h->canonical), "%.*s", SLICE_FMT(a->name));
	}
	h->secure = h->secure || a->secure;
	h->ttl = min32(h->ttl, a->ttl);
	(void)add_addresses(h, *a);
}

static void address_answer(struct host_lookup *h, struct slice encoded, enum dns_type type)
{
	struct dns_answer a;
	if (dns_answer_parse(encoded, &a) != 0) {
		a.status = DNS_TEMP;
	}
	if (a.status == DNS_OK) {
		take_addresses(h, &a);
	} else if (h->status != DNS_TEMP) {
		/* A temporary failure stays the reason. */
		h->status = a.status;
		h->failed = a.status == DNS_TEMP ? type : last_type(h);
	}
	one_less(h);
}

static void ipv4_answer(void *arg, struct slice encoded)
{
	address_answer(arg, encoded, DNS_A);
}

static void ipv6_answer(void *arg, struct slice encoded)
{
	address_answer(arg, encoded, DNS_AAAA);
}

static void ask_address(struct host_lookup *h, enum dns_type type)
{
	struct dns_question q;
	struct engine_ask *ask = &h->ask[type == DNS_AAAA];
	uint8_t address[4];
	h->open++;
	if (inet_pton(AF_INET, h->name, address) == 1) {
		/* Not a name, but it is in the DNS as one; Postfix takes it for what it means. */
		if (type == DNS_A) {
			memcpy(h->v4[0], address, sizeof(address));
			h->n4 = 1;
		} else if ((h->flags & LOOKUP_IPV4) == 0) {
			h->status = DNS_NXDOMAIN;
			h->failed = last_type(h);
		}
		one_less(h);
		return;
	}
	if (dns_question_set(&q, type, slice_str(h->name)) != 0) {
		h->status = DNS_NXDOMAIN;
		h->failed = last_type(h);
		one_less(h);
		return;
	}
	*ask = (struct engine_ask){.done = type == DNS_A ? ipv4_answer : ipv6_answer, .arg = h};
	engine_ask(h->engine, &q, ask);
}

void host_start(struct host_lookup *h, struct engine *e, unsigned flags, uint16_t port,
	void (*done)(void *arg), void *arg)
{
	h->engine = e;
	h->flags = flags;
	h->port = port;
	h->done = done;
	h->arg = arg;
	h->ttl = h->tlsa_ttl = DNS_TTL_MAX;
	h->records = BUF_INIT(HOSTS_TLSA_BYTES);
	memcpy(h->canonical, h->name, sizeof(h->canonical));
	/* One more, so that an answer from the cache does not end it before the last is asked. */
	h->open = 1;
	bool known = (flags & LOOKUP_FILE) != 0 && take_all_from_file(h);
	if (!known && flags & LOOKUP_IPV4) {
		ask_address(h, DNS_A);
	}
	if (!known && flags & LOOKUP_IPV6) {
		ask_address(h, DNS_AAAA);
	}
	one_less(h);
}

void host_clear(struct host_lookup *h)
{
	engine_cancel(&h->ask[0]);
	engine_cancel(&h->ask[1]);
	engine_cancel(&h->tlsa_ask);
	buf_clear(&h->records);
}

/* ---- The result. ---- */

/* How many of n have a place beside other ones of the other family: half of all, or what is left.
 */
static unsigned share(unsigned n, unsigned other)
{
	unsigned left = other < HOST_ADDRS / 2 ? HOST_ADDRS - other : HOST_ADDRS / 2;
	return n < left ? n : left;
}

void host_put(const struct host_lookup *h, struct hosts *out, size_t room)
{
	unsigned n4 = share(h->n4, h->n6), n6 = share(h->n6, h->n4);
	int at = hosts_add_host(out, slice_str(h->name), h->pref);
	if (at < 0) {
		return;
	}
	struct host *host = &out->host[at];
	host->canonical = slice_str(h->canonical);
	host->secure = h->secure;
	host->status = n4 + n6 > 0 ? DNS_OK : h->status;
	host->failed = h->failed;
	host->ttl = h->ttl;
	host->tlsa = h->records.len > room ? TLSA_FAILED : h->tlsa;
	host->tlsa_ttl = h->tlsa_ttl;
	if (host->tlsa == TLSA_FOUND || host->tlsa == TLSA_FAILED) {
		host->base = slice_str(h->base != NULL ? h->base : h->name);
	}
	if (host->tlsa == TLSA_FOUND) {
		host->records = buf_slice(&h->records);
		host->count = h->count;
	}
	for (unsigned i = 0; i < n4; i++) {
		hosts_add_addr(out, at, AF_INET, h->v4[i]);
	}
	for (unsigned i = 0; i < n6; i++) {
		hosts_add_addr(out, at, AF_INET6, h->v6[i]);
	}
}
