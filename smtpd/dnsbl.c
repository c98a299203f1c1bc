/* SPDX-License-Identifier: ISC */
#include "smtpd/dnsbl.h"

#include <arpa/inet.h>
#include <string.h>

#include "dns/client.h"
#include "policy/rbl.h"
#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"

/* One entry of the list; entries with the same domain share one question. */
struct site {
	char *domain; /* owned */
	char *name;   /* owned: what clients are told */
	bool has_filter;
	struct rbl_pattern filter;
	int weight;
	int first; /* the first entry with this domain: it is asked for all of them */
};

static struct site sites[DNSBL_SITES_MAX];
static int sites_n;

struct question {
	struct dnsbl *owner;
	struct dns_query *query;
	int site;
};

struct dnsbl {
	void (*done)(void *arg);
	void *arg;
	char *addr; /* owned */
	int open, score, weight;
	const char *name;
	bool failed; /* some list has not answered */
	struct question questions[];
};

bool dnsbl_is_used(void)
{
	return sites_n > 0;
}

/* The settings. */

static int parse_weight(struct slice text, int *weight)
{
	bool negative = slice_starts(text, "-");
	uint64_t n = 0;

	if (slice_u64(slice_from(text, negative ? 1 : 0), 0, DNSBL_WEIGHT_MAX, &n) != 0)
		return ERR_SYNTAX;
	*weight = negative ? -(int)n : (int)n;
	return 0;
}

static int parse_site(struct slice text, struct site *site, struct buf *why)
{
	ptrdiff_t star = slice_find(text, '*'), equals;
	struct slice item = text;

	*site = (struct site){.weight = 1};
	if (star >= 0 && parse_weight(slice_from(text, (size_t)star + 1), &site->weight) != 0) {
		(void)buf_add_fmt(why, "\"%.*s\": bad weight", SLICE_FMT(item));
		return ERR_SYNTAX;
	}
	if (star >= 0)
		text = slice_first(text, (size_t)star);
	equals = slice_find(text, '=');
	site->has_filter = equals >= 0;
	if (site->has_filter &&
		rbl_pattern_parse(slice_from(text, (size_t)equals + 1), &site->filter, why) != 0)
		return ERR_SYNTAX;
	if (site->has_filter)
		text = slice_first(text, (size_t)equals);
	if (text.len == 0 || text.len > DNS_NAME_MAX) {
		(void)buf_add_fmt(why, "\"%.*s\": no domain", SLICE_FMT(item));
		return ERR_SYNTAX;
	}
	site->domain = slice_dup(text);
	return 0;
}

static char *told_name(const char *domain, struct map_list *names)
{
	struct buf value = BUF_INIT(1024);
	int err = map_list_find(names, slice_str(domain), NULL, &value);
	char *name;

	/* A table that fails must not give the secret away. */
	if (err != 0 && err != ERR_NOT_FOUND)
		log_warning("smtpd_dnsbl_reply_map: no answer for %s", domain);
	if (err == 0)
		name = slice_dup(buf_slice(&value));
	else
		name = mem_str(err == ERR_NOT_FOUND ? domain : "a DNS list");
	buf_clear(&value);
	return name;
}

static int first_of(const char *domain)
{
	int i = 0;

	while (i < sites_n && !slice_case_eq_str(slice_str(domain), sites[i].domain))
		i++;
	return i;
}

/* A comma in a filter's brackets belongs to it. */
static bool next_site(struct slice *rest, struct slice *item)
{
	size_t n = 0;
	bool inside = false;

	while (rest->len > 0 && strchr(", \t\r\n", rest->p[0]) != NULL)
		*rest = slice_from(*rest, 1);
	while (n < rest->len && (inside || strchr(", \t\r\n", rest->p[n]) == NULL)) {
		if (rest->p[n] == '[')
			inside = true;
		if (rest->p[n] == ']')
			inside = false;
		n++;
	}
	*item = slice_first(*rest, n);
	*rest = slice_from(*rest, n);
	return n > 0;
}

int dnsbl_open(struct slice text, struct map_list *names, struct buf *why)
{
	struct slice item;

	while (next_site(&text, &item)) {
		struct site *site = &sites[sites_n];

		if (sites_n == DNSBL_SITES_MAX) {
			(void)buf_add_fmt(why, "more than %d entries", DNSBL_SITES_MAX);
			return ERR_SYNTAX;
		}
		if (parse_site(item, site, why) != 0)
			return ERR_SYNTAX;
		site->first = first_of(site->domain);
		site->name = told_name(site->domain, names);
		sites_n++;
	}
	return 0;
}

/* One client. */

static bool has_record(const struct site *site, struct dns_answer answer)
{
	struct dns_record r;

	while (dns_answer_next(&answer, &r))
		if (r.type == DNS_A && r.data.len == 4 &&
			(!site->has_filter ||
				rbl_pattern_match(&site->filter, (const uint8_t *)r.data.p)))
			return true;
	return false;
}

static void log_records(const struct dnsbl *d, const struct site *site, struct dns_answer answer)
{
	struct dns_record r;
	char text[INET_ADDRSTRLEN];

	while (dns_answer_next(&answer, &r))
		if (r.type == DNS_A && r.data.len == 4 &&
			inet_ntop(AF_INET, r.data.p, text, sizeof(text)) != NULL)
			log_info("addr %s listed by domain %s as %s", d->addr, site->name, text);
}

static void add_scores(struct dnsbl *d, int first, const struct dns_answer *answer)
{
	for (int i = first; i < sites_n; i++) {
		const struct site *site = &sites[i];

		if (site->first != first || !has_record(site, *answer))
			continue;
		d->score += site->weight;
		if (*d->name == '\0' || site->weight > d->weight) {
			d->name = site->name;
			d->weight = site->weight;
		}
	}
}

static void answered(void *arg, const struct dns_answer *answer)
{
	struct question *q = arg;
	struct dnsbl *d = q->owner;

	q->query = NULL;
	if (answer->status == DNS_OK) {
		log_records(d, &sites[q->site], *answer);
		add_scores(d, q->site, answer);
	} else if (answer->status == DNS_TEMP || answer->status == DNS_BAD) {
		log_warning("no answer from DNS list %s about %s: %s", sites[q->site].name, d->addr,
			dns_status_str(answer->status));
		d->failed = true;
	}
	if (--d->open == 0)
		d->done(d->arg);
}

struct dnsbl *dnsbl_ask(struct slice addr, int64_t deadline, void (*done)(void *arg), void *arg)
{
	struct buf name = BUF_INIT(DNS_NAME_MAX + 1);
	struct dnsbl *d = NULL;

	if (sites_n == 0 || rbl_query_name(addr, slice_str(sites[0].domain), &name) != 0) {
		buf_clear(&name);
		return NULL;
	}
	d = mem_alloc(sizeof(*d) + (size_t)sites_n * sizeof(d->questions[0]));
	d->done = done;
	d->arg = arg;
	d->addr = slice_dup(addr);
	d->name = "";
	for (int i = 0; i < sites_n; i++) {
		struct question *q = &d->questions[i];

		q->owner = d;
		q->site = i;
		buf_reset(&name);
		if (sites[i].first != i ||
			rbl_query_name(addr, slice_str(sites[i].domain), &name) != 0)
			continue;
		q->query = dns_query(DNS_A, buf_slice(&name), deadline, answered, q);
		d->open++;
	}
	buf_clear(&name);
	return d;
}

void dnsbl_free(struct dnsbl **dp)
{
	struct dnsbl *d = *dp;

	*dp = NULL;
	if (d == NULL)
		return;
	for (int i = 0; i < sites_n; i++)
		dns_cancel(&d->questions[i].query);
	mem_free(d->addr);
	mem_free(d);
}

bool dnsbl_is_done(const struct dnsbl *d)
{
	return d->open == 0;
}

int dnsbl_score(const struct dnsbl *d)
{
	return d->score;
}

const char *dnsbl_name(const struct dnsbl *d)
{
	return d->name;
}

bool dnsbl_is_complete(const struct dnsbl *d)
{
	return d->open == 0 && !d->failed;
}
