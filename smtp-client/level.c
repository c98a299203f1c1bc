/* SPDX-License-Identifier: ISC */
#include "smtp-client/level.h"

#include "queue/envelope.h"
#include "server/server.h"
#include "smtp-client/dane.h"
#include "smtp-client/servers.h"
#include "smtp-client/setting.h"
#include "smtp-client/starttls.h"
#include "util/err.h"
#include "util/log.h"

enum { WHY_LIMIT = 4096 };

static void refuse(struct delivery *d, const char *host)
{
	d->why.stage = STAGE_TLS;
	log_warning(
		"TLS policy lookup for %s/%s: %s", d->site, host, log_q(buf_slice(&d->why.text)));
}

/* The word that the table of policies is asked for. */
static struct slice policy_key(const struct delivery *d)
{
	struct slice site = slice_str(d->site);
	if (server_is_lmtp() && (slice_starts(site, "inet:") || slice_starts(site, "unix:"))) {
		return slice_from(site, strlen("inet:"));
	}
	return site;
}

bool level_is_required(const struct delivery *d)
{
	return (d->job->flags & JOB_REQUIRETLS) != 0 && !d->nexthop.unix_path &&
	       conf_bool(P_requiretls_enable);
}

/*
 * Never without a server that is verified, or rather without TLS than not at all. The path to a
 * UNIX socket is this machine's own.
 */
static void apply_wishes(struct delivery *d)
{
	enum tls_level level = d->policy->level;
	unsigned flags = d->job->flags;
	if (d->nexthop.unix_path) {
		if (level == TLS_MAY) {
			policy_set_level(&d->policy, TLS_NONE);
		}
	} else if (level_is_required(d)) {
		if (level < TLS_FINGERPRINT) {
			policy_set_level(&d->policy, TLS_SECURE);
		} else if (level == TLS_DANE) {
			/* It may come to less than a server that is known. */
			policy_set_level(&d->policy, TLS_DANE_ONLY);
		}
	} else if ((flags & JOB_TLS_OPTIONAL) != 0 && level > TLS_MAY) {
		policy_set_level(&d->policy, starttls_is_wrapped() ? TLS_ENCRYPT : TLS_MAY);
	}
}

/* Nothing that DANE needs may be switched off: it would silently come to less. */
static int check_dns(enum tls_level level, struct buf *why)
{
	if (servers_dns_support() < DNS_SUPPORT_DNSSEC || !servers_use_dns()) {
		buf_add_fmt(
			why, "%s configured with dnssec lookups disabled", tls_level_name(level));
		return ERR_SYNTAX;
	}
	if (!server_is_lmtp() && conf_bool(P_ignore_mx_lookup_error)) {
		buf_add_fmt(
			why, "%s configured with MX lookup errors ignored", tls_level_name(level));
		return ERR_SYNTAX;
	}
	if (*conf_str(setting_of(P_smtp_dns_resolver_options)) != '\0') {
		buf_add_fmt(why, "dns resolver options incompatible with %s TLS",
			tls_level_name(level));
		return ERR_SYNTAX;
	}
	return 0;
}

int level_find(struct delivery *d)
{
	struct buf why = BUF_INIT(WHY_LIMIT);
	int r = policy_find(policy_key(d), &d->later, &d->policy, &why);
	if (r == 0) {
		apply_wishes(d);
	}
	if (r == 0 && d->nexthop.unix_path && d->policy->level >= TLS_DANE) {
		buf_add_fmt(&why, "security level \"%s\" is invalid for a UNIX-domain socket",
			tls_level_name(d->policy->level));
		r = ERR_SYNTAX;
	}
	if (r == 0 && d->policy->level >= TLS_DANE) {
		r = check_dns(d->policy->level, &why);
	}
	if (r != 0 && r != ERR_LATER) {
		problem_set(
			&d->why, "4.7.5", "client TLS configuration problem: %s", buf_str(&why));
		refuse(d, "");
	}
	buf_clear(&why);
	return r;
}

static enum tls_level insecure_mx(void)
{
	enum tls_level level = TLS_MAY;
	const char *name = conf_str(P_smtp_tls_dane_insecure_mx_policy);
	return tls_level_parse(slice_str(name), &level) == 0 ? level : TLS_MAY;
}

static bool choose_by_dane(struct delivery *d, const char *host, uint16_t port)
{
	struct buf why = BUF_INIT(WHY_LIMIT);
	struct tlsa_answer tlsa;
	client_tlsa(d, &tlsa);
	int r = dane_choose(d->policy->level, &tlsa, insecure_mx(), &d->level, &why);
	if (dane_counts(d->policy->level, &tlsa, insecure_mx())) {
		dane_log(d->policy->level, &tlsa, host, port);
	}
	if (r != 0 && tlsa.status == TLSA_FAILED) {
		buf_add_fmt(&why, " for %s:%u", host, port);
	}
	if (r != 0) {
		/* RFC 8689, 4.2.1: it is returned where nobody vouches for the server. */
		bool final = level_is_required(d) && tlsa.status != TLSA_FAILED;
		problem_set(&d->why, final ? "5.7.30" : "4.7.5", "%s", buf_str(&why));
	}
	buf_clear(&why);
	return r == 0;
}

bool level_choose(struct delivery *d, const char *host, uint16_t port)
{
	bool good = true;
	d->plain = d->fall_back;
	d->fall_back = false;
	d->level = d->plain ? TLS_NONE : d->policy->level;
	if (d->level >= TLS_DANE) {
		good = choose_by_dane(d, host, port);
	}
	if (good && starttls_is_wrapped() && d->level < TLS_ENCRYPT) {
		problem_set(&d->why, "4.7.5",
			"client TLS configuration problem: %s requires \"%s = encrypt\" (or "
			"stronger)",
			conf_name(setting_of(P_smtp_tls_wrappermode)),
			conf_name(setting_of(P_smtp_tls_security_level)));
		good = false;
	}
	if (!good) {
		refuse(d, host);
	}
	return good;
}
