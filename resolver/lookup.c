/* SPDX-License-Identifier: ISC */
#include "resolver/lookup.h"

#include <sys/socket.h>

#include "util/mem.h"

/* One MX host and its two questions. */
struct host {
	struct lookup *lookup;
	char name[DNS_NAME_MAX + 1];
	uint16_t pref;
	struct engine_ask ask[2]; /* IPv4, IPv6 */
	enum dns_status status;
	enum dns_type failed;
	unsigned n;
	struct host_addr addr[HOSTS_ADDR_MAX / HOSTS_MX_MAX];
};

struct lookup {
	struct engine *engine;
	void (*done)(void *arg, const struct hosts *h);
	void *arg;
	unsigned flags, open;
	char name[DNS_NAME_MAX + 1];
	struct engine_ask ask; /* the MX question */
	bool mx;
	uint16_t best;
	uint32_t ttl;
	unsigned n;
	struct host *host;    /* owned, HOSTS_MX_MAX */
	struct hosts *result; /* owned */
	bool *gone;           /* tells lookup_new that all was done at once; else NULL */
};

static void lookup_finish(struct lookup *l)
{
	for (unsigned i = 0; i < l->n; i++) {
		engine_cancel(&l->host[i].ask[0]);
		engine_cancel(&l->host[i].ask[1]);
	}
	engine_cancel(&l->ask);
	if (l->gone != NULL) {
		*l->gone = true;
	}
	mem_free(l->host);
	mem_free(l->result);
	mem_free(l);
}

void lookup_free(struct lookup **l)
{
	if (*l != NULL) {
		lookup_finish(*l);
		*l = NULL;
	}
}

static void lookup_done(struct lookup *l)
{
	struct hosts *h = l->result;
	h->mx = l->mx;
	h->best = l->best;
	h->ttl = l->ttl;
	l->done(l->arg, h);
	lookup_finish(l);
}

static void fail(struct lookup *l, enum dns_status status, enum dns_type type, const char *name)
{
	l->result->status = status;
	l->result->type = type;
	l->result->name = slice_str(name);
	lookup_done(l);
}

/* The type that Postfix names when a host has no address: the one that it asks last. */
static enum dns_type last_type(const struct lookup *l)
{
	return l->flags & LOOKUP_IPV6 ? DNS_AAAA : DNS_A;
}

/* All addresses are in, or are not to be had. */
static void collect(struct lookup *l)
{
	struct hosts *h = l->result;
	const struct host *bad = NULL;
	for (unsigned i = 0; i < l->n; i++) {
		const struct host *host = &l->host[i];
		for (unsigned j = 0; j < host->n && h->n < HOSTS_ADDR_MAX; j++) {
			h->addr[h->n] = host->addr[j];
			h->addr[h->n].pref = host->pref;
			h->addr[h->n++].host = slice_str(host->name);
		}
		bool worse = bad == NULL || (host->status == DNS_TEMP && bad->status != DNS_TEMP);
		bad = host->status != DNS_OK && worse ? host : bad;
	}
	if (h->n > 0) {
		h->status = DNS_OK;
		lookup_done(l);
	} else {
		fail(l, bad != NULL ? bad->status : DNS_TEMP,
			bad != NULL ? bad->failed : last_type(l),
			bad != NULL ? bad->name : l->name);
	}
}

static void one_less(struct lookup *l)
{
	if (--l->open == 0) {
		collect(l);
	}
}

static void host_answer(struct host *host, struct slice encoded, enum dns_type type)
{
	struct lookup *l = host->lookup;
	struct dns_answer a;
	struct dns_record r;
	if (dns_answer_parse(encoded, &a) != 0) {
		a.status = DNS_TEMP;
	}
	if (a.status != DNS_OK) {
		/* A temporary failure stays the reason; the last type asked is the one that is
		 * named. */
		if (host->status != DNS_TEMP) {
			host->status = a.status;
			host->failed = a.status == DNS_TEMP ? type : last_type(l);
		}
	}
	if (a.status == DNS_OK && a.ttl < l->ttl) {
		l->ttl = a.ttl;
	}
	while (dns_answer_next(&a, &r) && host->n < HOSTS_ADDR_MAX / HOSTS_MX_MAX) {
		struct host_addr *addr = &host->addr[host->n++];
		addr->family = type == DNS_A ? AF_INET : AF_INET6;
		memcpy(addr->addr, r.data.p, r.data.len);
	}
	one_less(l);
}

static void ipv4_answer(void *arg, struct slice encoded)
{
	host_answer(arg, encoded, DNS_A);
}

static void ipv6_answer(void *arg, struct slice encoded)
{
	host_answer(arg, encoded, DNS_AAAA);
}

static void ask_host(struct host *host, unsigned which)
{
	struct lookup *l = host->lookup;
	struct dns_question q;
	host->ask[which].done = which == 0 ? ipv4_answer : ipv6_answer;
	host->ask[which].arg = host;
	l->open++;
	if (dns_question_set(&q, which == 0 ? DNS_A : DNS_AAAA, slice_str(host->name)) != 0) {
		host->status = DNS_NXDOMAIN;
		host->failed = last_type(l);
		one_less(l);
		return;
	}
	engine_ask(l->engine, &q, &host->ask[which]);
}

static void ask_hosts(struct lookup *l)
{
	/* One more, so that answers from the cache do not end it before the last is asked. */
	l->open = 1;
	for (unsigned i = 0; i < l->n; i++) {
		if (l->flags & LOOKUP_IPV4) {
			ask_host(&l->host[i], 0);
		}
		if (l->flags & LOOKUP_IPV6) {
			ask_host(&l->host[i], 1);
		}
	}
	one_less(l);
}

/* Keeps the nearest HOSTS_MX_MAX hosts; a host named twice counts once, at its best place. */
static void add_host(struct lookup *l, struct slice name, uint16_t pref)
{
	struct host *at = NULL;
	for (unsigned i = 0; i < l->n; i++) {
		if (slice_case_eq_str(name, l->host[i].name)) {
			l->host[i].pref = pref < l->host[i].pref ? pref : l->host[i].pref;
			return;
		}
	}
	if (l->n < HOSTS_MX_MAX) {
		at = &l->host[l->n++];
	} else {
		for (unsigned i = 0; i < l->n; i++) {
			bool farther = at == NULL || l->host[i].pref > at->pref;
			at = l->host[i].pref > pref && farther ? &l->host[i] : at;
		}
	}
	if (at != NULL && name.len <= DNS_NAME_MAX) {
		*at = (struct host){.lookup = l, .pref = pref};
		memcpy(at->name, name.p, name.len);
	}
}

static void mx_answer(void *arg, struct slice encoded)
{
	struct lookup *l = arg;
	struct dns_answer a;
	struct dns_record r;
	if (dns_answer_parse(encoded, &a) != 0) {
		a.status = DNS_TEMP;
	}
	switch (a.status) {
	case DNS_OK:
		l->mx = true;
		l->best = UINT16_MAX;
		l->ttl = a.ttl;
		while (dns_answer_next(&a, &r)) {
			l->best = r.pref < l->best ? r.pref : l->best;
			add_host(l, r.data, r.pref);
		}
		ask_hosts(l);
		return;
	case DNS_NODATA:
		l->ttl = a.ttl > 0 ? a.ttl : 1;
		add_host(l, slice_str(l->name), 0);
		ask_hosts(l);
		return;
	case DNS_NXDOMAIN: fail(l, a.status, last_type(l), l->name); return;
	default: fail(l, a.status, DNS_MX, l->name); return;
	}
}

void lookup_new(struct engine *e, struct slice name, unsigned flags,
	void (*done)(void *arg, const struct hosts *h), void *arg, struct lookup **lp)
{
	struct lookup *l = mem_alloc(sizeof(*l));
	struct dns_question q;
	bool gone = false;
	*lp = NULL;
	l->engine = e;
	l->flags = flags;
	l->done = done;
	l->arg = arg;
	l->ttl = DNS_TTL_MAX;
	l->host = mem_array(HOSTS_MX_MAX, sizeof(*l->host));
	l->result = mem_alloc(sizeof(*l->result));
	l->gone = &gone;
	l->ask = (struct engine_ask){.done = mx_answer, .arg = l};
	if (dns_question_set(&q, DNS_MX, name) != 0) {
		name = slice_first(name, DNS_NAME_MAX);
		memcpy(l->name, name.p, name.len);
		fail(l, DNS_NXDOMAIN, last_type(l), l->name);
		return;
	}
	memcpy(l->name, q.name, sizeof(l->name));
	if (flags & LOOKUP_MX) {
		engine_ask(e, &q, &l->ask);
	} else {
		add_host(l, slice_str(l->name), 0);
		ask_hosts(l);
	}
	if (!gone) {
		l->gone = NULL;
		*lp = l;
	}
}
