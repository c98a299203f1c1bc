/* SPDX-License-Identifier: ISC */
#include "resolver/lookup.h"

#include <stdio.h>

#include "util/mem.h"

struct lookup {
	struct engine *engine;
	void (*done)(void *arg, const struct hosts *h);
	void *arg;
	unsigned flags, open;
	uint16_t port;
	char name[DNS_NAME_MAX + 1];
	unsigned searched;     /* domains of resolv.conf that were tried */
	struct engine_ask ask; /* the MX question */
	bool mx, mx_secure;
	char mx_name[DNS_NAME_MAX + 1];
	uint16_t best;
	uint32_t ttl, mx_ttl;
	unsigned n;
	struct host_lookup *host; /* owned */
	unsigned room;            /* of host: most next hops have few */
	struct hosts *result;     /* owned; at the end */
	bool *gone;               /* tells lookup_new that all was done at once; else NULL */
};

static void find_itself(struct lookup *l);

static void clear_hosts(struct lookup *l)
{
	for (unsigned i = 0; i < l->n; i++) {
		host_clear(&l->host[i]);
	}
	l->n = 0;
}

static void make_room(struct lookup *l, unsigned hosts)
{
	mem_free(l->host);
	l->room = hosts < HOSTS_MX_MAX ? hosts : HOSTS_MX_MAX;
	l->host = mem_array(l->room, sizeof(*l->host));
}

static void lookup_finish(struct lookup *l)
{
	clear_hosts(l);
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
	h->mx_secure = l->mx_secure;
	h->mx_name = slice_str(l->mx_name);
	h->mx_ttl = l->mx_ttl;
	h->best = l->best;
	h->ttl = l->ttl;
	l->done(l->arg, h);
	lookup_finish(l);
}

static void fail(struct lookup *l, enum dns_status status, enum dns_type type, const char *name)
{
	l->result = l->result != NULL ? l->result : mem_alloc(sizeof(*l->result));
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

static void add_ttl(struct lookup *l, const struct host_lookup *h)
{
	uint32_t ttl = h->tlsa_ttl < h->ttl ? h->tlsa_ttl : h->ttl;
	if (host_count(h) > 0 && ttl < l->ttl) {
		l->ttl = ttl;
	}
}

/* Everything is in, or is not to be had. */
static void collect(struct lookup *l)
{
	struct hosts *h = l->result = mem_alloc(sizeof(*h));
	const struct host_lookup *bad = NULL;
	size_t room = HOSTS_TLSA_BYTES;
	for (unsigned i = 0; i < l->n; i++) {
		const struct host_lookup *host = &l->host[i];
		host_put(host, h, room);
		room -= host->records.len > room ? 0 : host->records.len;
		add_ttl(l, host);
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

/* A name without a dot that is not there in one domain is looked for in the next one. */
static bool may_search_on(const struct lookup *l)
{
	const struct host_lookup *h = &l->host[0];
	return !l->mx && strchr(l->name, '.') == NULL &&
	       (l->flags & (LOOKUP_DEFNAMES | LOOKUP_SEARCH)) != 0 && host_count(h) == 0 &&
	       h->status != DNS_TEMP && strcmp(h->name, l->name) != 0;
}

static void one_less(void *arg)
{
	struct lookup *l = arg;
	if (--l->open > 0) {
		return;
	}
	if (l->n > 0 && may_search_on(l)) {
		clear_hosts(l);
		find_itself(l);
	} else {
		collect(l);
	}
}

static void ask_hosts(struct lookup *l)
{
	unsigned n = l->n;
	/* One more, so that answers from the cache do not end it before the last is asked. */
	l->open = n + 1;
	for (unsigned i = 0; i < n; i++) {
		host_start(&l->host[i], l->engine, l->flags, l->port, one_less, l);
	}
	one_less(l);
}

/* Keeps the nearest hosts that there is room for; a host named twice counts once, at its best
 * place. */
static void add_host(struct lookup *l, struct slice name, uint16_t pref)
{
	struct host_lookup *at = NULL;
	for (unsigned i = 0; i < l->n; i++) {
		if (slice_case_eq_str(name, l->host[i].name)) {
			l->host[i].pref = pref < l->host[i].pref ? pref : l->host[i].pref;
			return;
		}
	}
	if (l->n < l->room) {
		at = &l->host[l->n++];
	} else {
		for (unsigned i = 0; i < l->n; i++) {
			bool farther = at == NULL || l->host[i].pref > at->pref;
			at = l->host[i].pref > pref && farther ? &l->host[i] : at;
		}
	}
	if (at != NULL && name.len <= DNS_NAME_MAX) {
		*at = (struct host_lookup){.pref = pref};
		memcpy(at->name, name.p, name.len);
	}
}

/* The domain of resolv.conf whose turn it is; NULL: none is left. */
static const char *next_domain(struct lookup *l)
{
	bool may = strchr(l->name, '.') == NULL &&
		   (l->flags & LOOKUP_SEARCH || (l->flags & LOOKUP_DEFNAMES && l->searched == 0));
	return may ? engine_search(l->engine, l->searched++) : NULL;
}

/* Without MX records the name is the host. */
static void find_itself(struct lookup *l)
{
	const char *domain = next_domain(l);
	char *full = domain != NULL ? mem_fmt("%s.%s", l->name, domain) : NULL;
	make_room(l, 1);
	if (full != NULL && strlen(full) <= DNS_NAME_MAX) {
		add_host(l, slice_str(full), 0);
	} else {
		add_host(l, slice_str(l->name), 0);
	}
	mem_free(full);
	ask_hosts(l);
}

static void take_mx(struct lookup *l, struct dns_answer *a)
{
	struct dns_record r;
	l->mx = true;
	l->mx_secure = a->secure;
	l->mx_ttl = l->ttl = a->ttl;
	l->best = UINT16_MAX;
	(void)snprintf(l->mx_name, sizeof(l->mx_name), "%.*s", SLICE_FMT(a->name));
	make_room(l, a->count);
	while (dns_answer_next(a, &r)) {
		l->best = r.pref < l->best ? r.pref : l->best;
		add_host(l, r.data, r.pref);
	}
	ask_hosts(l);
}

static void mx_answer(void *arg, struct slice encoded)
{
	struct lookup *l = arg;
	struct dns_answer a;
	if (dns_answer_parse(encoded, &a) != 0) {
		a.status = DNS_TEMP;
	}
	switch (a.status) {
	case DNS_OK: take_mx(l, &a); return;
	case DNS_NODATA:
		l->ttl = a.ttl > 0 ? a.ttl : 1;
		find_itself(l);
		return;
	case DNS_NXDOMAIN:
		if (l->flags & (LOOKUP_DEFNAMES | LOOKUP_SEARCH)) {
			find_itself(l);
		} else {
			fail(l, a.status, last_type(l), l->name);
		}
		return;
	default: fail(l, a.status, DNS_MX, l->name); return;
	}
}

void lookup_new(struct engine *e, struct slice name, unsigned flags, uint16_t port,
	void (*done)(void *arg, const struct hosts *h), void *arg, struct lookup **lp)
{
	struct lookup *l = mem_alloc(sizeof(*l));
	struct dns_question q;
	bool gone = false;
	*lp = NULL;
	l->engine = e;
	l->flags = flags;
	l->port = port;
	l->done = done;
	l->arg = arg;
	l->ttl = l->mx_ttl = DNS_TTL_MAX;
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
		find_itself(l);
	}
	if (!gone) {
		l->gone = NULL;
		*lp = l;
	}
}
