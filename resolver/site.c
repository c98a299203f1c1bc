/* SPDX-License-Identifier: ISC */
#include "resolver/site.h"

#include "dns/nexthop.h"
#include "dns/site.h"
#include "util/err.h"
#include "util/mem.h"

enum { FIXED_TTL = 86400 /* of what no name server says */ };

struct site_lookup {
	void (*done)(void *arg, int result, struct slice site, uint32_t ttl);
	void *arg;
	struct dns_question question;
	uint16_t port;
	struct engine_ask ask;
	bool *gone; /* tells site_new that all was done at once; else NULL */
};

void site_free(struct site_lookup **l)
{
	if (*l != NULL) {
		engine_cancel(&(*l)->ask);
		mem_free(*l);
		*l = NULL;
	}
}

static void site_done(struct site_lookup *l, int result, struct slice site, uint32_t ttl)
{
	if (l->gone != NULL) {
		*l->gone = true;
	}
	l->done(l->arg, result, site, ttl);
	site_free(&l);
}

static void mx_answer(void *arg, struct slice encoded)
{
	struct site_lookup *l = arg;
	struct buf site = BUF_INIT(SITE_MAX);
	struct dns_answer a;
	if (dns_answer_parse(encoded, &a) != 0) {
		a.status = DNS_TEMP;
	}
	if (a.status == DNS_OK) {
		site_of_mx(&site, &a, l->port);
	} else if (a.status != DNS_TEMP) {
		site_of_host(&site, slice_str(l->question.name), l->port);
	}
	site_done(l, a.status == DNS_TEMP ? ERR_TEMP : 0, buf_slice(&site), a.ttl);
	buf_clear(&site);
}

static void by_name(struct site_lookup *l, const struct nexthop *nh)
{
	struct buf site = BUF_INIT(SITE_MAX);
	const char *name = l->question.name;
	site_of_host(&site, *name != '\0' ? slice_str(name) : nh->host, nh->port);
	site_done(l, 0, buf_slice(&site), FIXED_TTL);
	buf_clear(&site);
}

void site_new(struct engine *e, struct slice nexthop,
	void (*done)(void *arg, int result, struct slice site, uint32_t ttl), void *arg,
	struct site_lookup **lp)
{
	struct site_lookup *l = mem_alloc(sizeof(*l));
	struct slice rest = slice_trim(nexthop);
	struct nexthop nh;
	bool gone = false, lmtp = slice_starts(rest, "inet:") || slice_starts(rest, "unix:");
	*lp = NULL;
	l->done = done;
	l->arg = arg;
	l->gone = &gone;
	l->ask = (struct engine_ask){.done = mx_answer, .arg = l};
	if (nexthop_next(&rest, lmtp, &nh) != 0) {
		/* Nothing is delivered there: a site of its own. */
		nh = (struct nexthop){.host = slice_trim(nexthop)};
	}
	l->port = nh.port;
	int r = nh.literal || nh.unix_path ? ERR_SYNTAX
					   : dns_question_set(&l->question, DNS_MX, nh.host);
	if (r == 0 && nh.mx) {
		engine_ask(e, &l->question, &l->ask);
	} else {
		by_name(l, &nh);
	}
	if (!gone) {
		l->gone = NULL;
		*lp = l;
	}
}
