/* SPDX-License-Identifier: ISC */
#include "smtp-client/servers.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include "conf/conf.h"
#include "net/addr.h"
#include "server/server.h"
#include "smtp-client/setting.h"
#include "smtp-client/sift.h"
#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"

enum { LOOKUP_TIME = 30, FILTER_QUESTIONS = 500 };

static void look_up(struct delivery *d, bool by_mx);
static void sifted(void *arg);

void servers_init(void)
{
	sift_init();
}

void servers_attach(struct delivery *d)
{
	d->encoded = BUF_INIT(HOSTS_ENCODED_MAX);
	later_init(&d->sifting, FILTER_QUESTIONS, sifted, d);
}

void servers_forget(struct delivery *d)
{
	dns_cancel(&d->query);
	later_clear(&d->sifting);
	mem_free(d->hosts);
	d->hosts = NULL;
	buf_clear(&d->encoded);
}

void servers_literal(struct delivery *d)
{
	struct net_addr a;
	struct hosts *h = mem_alloc(sizeof(*h));
	d->hosts = h;
	if (net_addr_parse(d->nexthop.host, 0, &a) == 0) {
		bool v4 = net_addr_family(&a) == AF_INET;
		const void *p = v4 ? (const void *)&((const struct sockaddr_in *)&a.ss)->sin_addr
				   : (const void *)&((const struct sockaddr_in6 *)&a.ss)->sin6_addr;
		hosts_add_addr(
			h, hosts_add_host(h, d->nexthop.host, 0), v4 ? AF_INET : AF_INET6, p);
	}
}

/* ---- What is wrong. ---- */

static void name_problem(struct delivery *d, const struct hosts *h)
{
	bool soft = h->status == DNS_TEMP ||
		    (h->mx && conf_bool(setting_of(P_smtp_defer_if_no_mx_address_found)));
	if (h->status == DNS_NULLMX) {
		problem_set(&d->why, "5.1.0", "Domain %.*s does not accept mail (nullMX)",
			SLICE_FMT(h->name));
		return;
	}
	if (h->mx) {
		log_warning("no MX host for %s has a valid address record", log_q(d->nexthop.host));
	}
	problem_set(&d->why,
		h->status == DNS_TEMP ? "4.4.3"
		: soft                ? "4.4.4"
				      : "5.4.4",
		"Host or domain name not found. Name service error for name=%.*s type=%s: %s",
		SLICE_FMT(h->name), dns_type_str(h->type), dns_status_str(h->status));
}

static void filter_problem(struct delivery *d, int r, enum dns_type type, struct slice name)
{
	problem_set(&d->why, r == ERR_NOT_FOUND ? "4.7.0" : "4.4.3",
		"Error looking up name=%.*s type=%s: %s", SLICE_FMT(name), dns_type_str(type),
		r == ERR_NOT_FOUND ? "DNS reply filter drops all results"
				   : "Invalid DNS reply filter syntax");
}

/* ---- What is found. ---- */

static void rename_hosts(struct hosts *h)
{
	for (unsigned i = 0; i < h->hosts; i++) {
		h->host[i].name = h->host[i].canonical;
	}
	for (unsigned i = 0; i < h->n; i++) {
		h->addr[i].host = h->host[h->addr[i].at].name;
	}
}

static void sifted(void *arg)
{
	struct delivery *d = arg;
	enum dns_type type = DNS_MX;
	struct slice name = SLICE_NONE;
	int r = sift_is_wanted() ? sift_hosts(d->hosts, delivery_port(d), &d->sifting, &type, &name)
				 : 0;
	if (r == ERR_LATER) {
		return;
	}
	later_clear(&d->sifting);
	if (r != 0) {
		filter_problem(d, r, type, name);
		delivery_not_found(d);
		return;
	}
	if (conf_bool(setting_of(P_smtp_cname_overrides_servername))) {
		rename_hosts(d->hosts);
	}
	delivery_found(d);
}

static void hosts_found(void *arg, const struct hosts *h)
{
	struct delivery *d = arg;
	d->query = NULL;
	if (h->status != DNS_OK) {
		bool by_mx = h->type == DNS_MX && h->status != DNS_NULLMX;
		if (by_mx && conf_bool(P_ignore_mx_lookup_error)) {
			look_up(d, false);
			return;
		}
		name_problem(d, h);
		delivery_not_found(d);
		return;
	}
	/* The answer is the callee's: a copy outlives it. */
	d->hosts = mem_alloc(sizeof(*d->hosts));
	hosts_encode(&d->encoded, h);
	if (hosts_decode(buf_slice(&d->encoded), d->hosts) != 0) {
		d->hosts->n = 0;
	}
	sifted(d);
}

/* ---- Asking. ---- */

static bool has_word(enum param list, const char *name)
{
	struct slice rest = slice_str(conf_str(list)), word;
	while (slice_token(&rest, ", \t\r\n", &word)) {
		if (slice_case_eq_str(word, name)) {
			return true;
		}
	}
	return false;
}

enum dns_support servers_dns_support(void)
{
	const char *level = conf_str(setting_of(P_smtp_dns_support_level));
	if (*level == '\0') {
		return conf_bool(P_disable_dns_lookups) ? DNS_SUPPORT_DISABLED
							: DNS_SUPPORT_ENABLED;
	}
	return strcmp(level, "dnssec") == 0    ? DNS_SUPPORT_DNSSEC
	       : strcmp(level, "enabled") == 0 ? DNS_SUPPORT_ENABLED
					       : DNS_SUPPORT_DISABLED;
}

bool servers_use_dns(void)
{
	return has_word(setting_of(P_smtp_host_lookup), "dns");
}

static void look_up(struct delivery *d, bool by_mx)
{
	bool all = has_word(P_inet_protocols, "all");
	enum param options = setting_of(P_smtp_dns_resolver_options);
	bool disabled = servers_dns_support() == DNS_SUPPORT_DISABLED;
	enum param ways = setting_of(P_smtp_host_lookup);
	bool native = has_word(ways, "native"), dns = servers_use_dns();
	struct dns_hosts_want want = {.mx = by_mx,
		.ipv4 = all || has_word(P_inet_protocols, "ipv4"),
		.ipv6 = all || has_word(P_inet_protocols, "ipv6"),
		.tlsa = d->policy->level >= TLS_DANE,
		.force_tlsa = conf_bool(setting_of(P_smtp_tls_force_insecure_host_tlsa_lookup)),
		.defnames = has_word(options, "res_defnames"),
		.search = has_word(options, "res_dnsrch"),
		.file = disabled || (native && !dns),
		.file_last = native && dns,
		.port = delivery_port(d)};
	d->query = dns_query_hosts(
		d->nexthop.host, &want, loop_now() + LOOKUP_TIME * CLOCK_SEC, hosts_found, d);
}

void servers_find(struct delivery *d)
{
	look_up(d, d->nexthop.mx && servers_dns_support() > DNS_SUPPORT_DISABLED);
}
