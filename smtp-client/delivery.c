/* SPDX-License-Identifier: ISC */
#include "smtp-client/delivery.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "conf/conf.h"
#include "net/addr.h"
#include "mail/address.h"
#include "queue/envelope.h"
#include "server/server.h"
#include "smtp-client/generic.h"
#include "smtp-client/level.h"
#include "smtp-client/outcome.h"
#include "smtp-client/kept.h"
#include "smtp-client/policy.h"
#include "smtp-client/self.h"
#include "smtp-client/servers.h"
#include "smtp-client/session.h"
#include "smtp-client/setting.h"
#include "smtp-client/source.h"
#include "smtp-client/xact.h"
#include "util/err.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/mem.h"

enum { SMTP_PORT = 25, POLICY_QUESTIONS = 100, MAPPING_QUESTIONS = 1000 };

static void next_site(struct delivery *d);
static void find_policy(void *arg);
static void next_address(struct delivery *d);

/* ---- Begin and end. ---- */

static void forget_hosts(struct delivery *d)
{
	servers_forget(d);
	if (d->connecting != 0) {
		server_connect_cancel(d->connecting);
		d->connecting = 0;
	}
	d->at = 0;
	d->fall_back = false;
}

static void forget_policy(struct delivery *d)
{
	later_clear(&d->later);
	policy_unref(&d->policy);
}

static void delivery_free(struct delivery *d)
{
	forget_hosts(d);
	forget_policy(d);
	later_clear(&d->mapping);
	generic_envelope_free(&d->generic);
	session_drop(&d->session);
	problem_clear(&d->why);
	mem_free(d->site);
	mem_free(d->tried);
	d->job->work = NULL;
	mem_free(d);
}

void delivery_abandon(struct delivery *d)
{
	delivery_free(d);
}

static void delivery_end(struct delivery *d)
{
	struct job *j = d->job;
	unsigned flags = 0;
	char *text = NULL, status[sizeof(d->why.status)] = "";
	if (d->parked) {
		flags |= JOB_END_IDLE;
	}
	/* What is final, as a domain that does not exist, is no reason to let other mail wait. */
	if (d->sessions == 0 && d->why.text.len > 0 &&
		(problem_is_soft(&d->why) || conf_bool(P_soft_bounce))) {
		flags |= JOB_END_UNREACHABLE;
		text = mem_str(buf_str(&d->why.text));
		memcpy(status, d->why.status, sizeof(status));
	}
	if (d->unreadable) {
		flags |= JOB_END_UNREADABLE;
	}
	delivery_free(d);
	job_end(j, flags, status, text);
	mem_free(text);
}

/*
 * As in Postfix: a relay that the settings name, and that is not there or leads back here, is no
 * fault of the mail, which waits until somebody has looked.
 */
static void excuse_relay(struct delivery *d)
{
	enum param p = d->fallback ? P_smtp_fallback_relay
		       : strcmp(d->job->nexthop, conf_str(P_relayhost)) == 0
			       ? P_relayhost
			       : P_sender_dependent_relayhost_maps;
	if (d->why.stage == STAGE_DNS && !problem_is_soft(&d->why) && delivery_is_relay(d)) {
		log_warning("%s configuration problem", conf_name(p));
		strlcpy(d->why.status, "4.3.5", sizeof(d->why.status));
	}
}

/* No server is left. */
static void give_up(struct delivery *d)
{
	if (d->why.text.len == 0) {
		problem_set(
			&d->why, "4.4.1", "no server could be tried for \"%s\"", d->job->nexthop);
	}
	excuse_relay(d);
	outcome_all_failed(d, true);
	delivery_end(d);
}

/* Content must be what the envelope says: a part of a message is never delivered. */
static bool is_whole(const struct job *j)
{
	uint64_t body = j->body_fd >= 0 ? j->body_size : 0;
	bool wants_body = (j->flags & QUEUE_FLAG_BODY_FILE) != 0;
	return !buf_failed(&j->content) && j->content.len + body == j->size &&
	       wants_body == (j->body_fd >= 0);
}

/* The envelope's addresses for other hosts; then the first of them. */
static void map_envelope(void *arg)
{
	struct delivery *d = arg;
	int r = generic_is_on() ? generic_envelope(d->job, &d->mapping, &d->generic) : 0;
	if (r == ERR_LATER) {
		return;
	}
	later_clear(&d->mapping);
	if (r != 0) {
		log_warning("%s: generic address lookup error", d->job->id);
		problem_set(&d->why, "4.3.0", "generic address lookup error");
		give_up(d);
		return;
	}
	next_site(d);
}

void delivery_start(struct job *j)
{
	struct delivery *d = mem_alloc(sizeof(*d));
	d->job = j;
	j->work = d;
	d->begun = clock_real();
	servers_attach(d);
	d->sites = slice_str(j->nexthop);
	later_init(&d->later, POLICY_QUESTIONS, find_policy, d);
	later_init(&d->mapping, MAPPING_QUESTIONS, map_envelope, d);
	if (j->open == 0) {
		delivery_end(d);
		return;
	}
	if (!is_whole(j)) {
		d->unreadable = true;
		problem_set(&d->why, "4.3.0", "queue file is damaged");
		give_up(d);
		return;
	}
	if (slice_trim(d->sites).len == 0) {
		struct slice local;
		address_split(slice_str(j->rcpts[0].address), &local, &d->sites);
	}
	map_envelope(d);
}

/* ---- Sites. ---- */

bool delivery_is_relay(const struct delivery *d)
{
	const struct job *j = d->job;

	/* Of one message to one next hop it is the same for all; where a table names a relay for
	 * some of them, it is no relay for any. */
	for (size_t i = 0; !d->fallback && i < j->n; i++) {
		unsigned first = j->rcpts[i].via & QUEUE_VIA_RELAY;

		if (first == 0 || d->sites_taken < first)
			return false;
	}
	return true;
}

bool delivery_falls_back(void)
{
	return !server_is_lmtp() && slice_trim(slice_str(conf_str(P_smtp_fallback_relay))).len > 0;
}

static bool has_fallback(const struct delivery *d)
{
	if (d->is_self)
		return false;
	for (size_t i = 0; i < d->job->n; i++)
		if (d->job->rcpts[i].via & QUEUE_VIA_ONLY)
			return false;
	return !d->fallback && delivery_falls_back();
}

static bool has_more_sites(const struct delivery *d)
{
	struct slice rest = d->sites, word;
	return !d->is_self && (slice_token(&rest, ", \t\r\n", &word) || has_fallback(d));
}

static unsigned address_limit(void)
{
	return (unsigned)conf_int(setting_of(P_smtp_mx_address_limit));
}

static bool has_more_addresses(const struct delivery *d)
{
	int64_t limit = conf_int(setting_of(P_smtp_mx_session_limit));
	if (limit > 0 && d->site_sessions >= (uint64_t)limit) {
		return false;
	}
	if (d->hosts == NULL) {
		/* A reused session: what else there is will be looked up. */
		return !d->nexthop.literal && !d->nexthop.unix_path;
	}
	return d->at < d->hosts->n;
}

bool delivery_is_last(const struct delivery *d)
{
	return !has_more_addresses(d) && !has_more_sites(d);
}

static bool take_site(struct delivery *d, struct slice *word)
{
	if (!d->is_self && slice_token(&d->sites, ", \t\r\n", word)) {
		d->sites_taken++;
		return true;
	}
	if (!has_fallback(d)) {
		return false;
	}
	d->fallback = true;
	d->sites = slice_str(conf_str(P_smtp_fallback_relay));
	return slice_token(&d->sites, ", \t\r\n", word);
}

uint16_t delivery_port(const struct delivery *d)
{
	uint16_t port = d->nexthop.port;
	if (port == 0) {
		const char *name = conf_str(setting_of(P_smtp_tcp_port));
		(void)nexthop_port(slice_str(name), &port);
	}
	return port;
}

static void master_connected(int err, int fd, void *arg)
{
	struct delivery *d = arg;
	const char *path = d->nexthop.host.p;
	d->connecting = 0;
	if (err != 0) {
		session_cannot_connect(d, conf_str(P_myhostname), path, 0);
		next_site(d);
		return;
	}
	d->level = d->policy->level;
	d->plain = false;
	session_open(d, fd, conf_str(P_myhostname), path, 0);
}

/* By a new session, whatever is idle. */
static void start_site(struct delivery *d)
{
	forget_hosts(d);
	if (d->nexthop.unix_path) {
		char *name = mem_fmt("unix:%.*s", SLICE_FMT(d->nexthop.host));
		d->connecting = server_connect(name, master_connected, d);
		mem_free(name);
	} else if (d->nexthop.literal) {
		servers_literal(d);
		delivery_found(d);
	} else {
		servers_find(d);
	}
}

static void next_site(struct delivery *d)
{
	struct slice word, rest;
	forget_hosts(d);
	forget_policy(d);
	d->site_sessions = 0;
	if (!take_site(d, &word)) {
		give_up(d);
		return;
	}
	/* That the first next hop is a relay is known to qmgr. */
	if ((d->fallback || d->sites_taken > 1) && delivery_is_relay(d))
		job_relay(d->job);
	mem_free(d->site);
	d->site = slice_dup(word);
	rest = slice_str(d->site);
	if (nexthop_next(&rest, server_is_lmtp(), &d->nexthop) != 0) {
		problem_set(&d->why, "4.3.5", "bad next hop: \"%s\"", d->site);
		next_site(d);
		return;
	}
	find_policy(d);
}

/* A session that was kept serves. */
static void begin_reused(struct delivery *d)
{
	mem_free(d->tried);
	d->tried = mem_str(d->session->relay);
	delivery_handshake_done(d);
	xact_start(d->session);
}

static void go_on(struct delivery *d)
{
	if (kept_find(d)) {
		begin_reused(d);
		return;
	}
	start_site(d);
}

static void find_policy(void *arg)
{
	struct delivery *d = arg;
	int r = level_find(d);
	if (r == ERR_LATER) {
		return;
	}
	later_clear(&d->later);
	if (r == 0) {
		go_on(d);
	} else {
		next_site(d);
	}
}

static void count_sessions(struct delivery *d, int more)
{
	d->sessions += (unsigned)more;
	d->site_sessions += (unsigned)more;
}

void delivery_fall_back(struct delivery *d)
{
	if (d->hosts != NULL && d->at > 0) {
		d->at--;
		d->fall_back = true;
		count_sessions(d, session_is_up(d->session) ? -1 : 0);
		/* Of a reused session, too: were it passed over, the next host would get clear
		 * text. */
		mem_free(d->tried);
		d->tried = NULL;
	}
}

void delivery_retry(struct delivery *d)
{
	mem_free(d->tried);
	d->tried = NULL;
	d->connected = 0;
	count_sessions(d, -1);
	start_site(d);
}

/* ---- Hosts. ---- */

bool delivery_may_loop(const struct delivery *d)
{
	return !server_is_lmtp() && delivery_port(d) == SMTP_PORT;
}

bool delivery_is_best(const struct delivery *d)
{
	return d->hosts != NULL && d->at > 0 &&
	       d->hosts->addr[d->at - 1].pref == d->hosts->addr[0].pref;
}

static bool cut_self(struct delivery *d)
{
	const char *host = d->site;
	unsigned n = d->hosts->n;
	if (!delivery_may_loop(d)) {
		return true;
	}
	int r = hosts_cut_self(d->hosts, self_has, NULL);
	/*
	 * As in Postfix: who waits for the better MX hosts, and what leads back here without any,
	 * gives the mail to nobody else.
	 */
	d->is_self = d->hosts->n < n;
	switch (r) {
	case 0: return true;
	case ERR_EXISTS:
		problem_set(&d->why, "5.4.6", "mail for %s loops back to myself", host);
		return false;
	default:
		problem_set(&d->why, "5.4.4", "unable to find primary relay for %s", host);
		return false;
	}
}

/* best_mx_transport is for domains that are ours without being listed (RFC 5321, 5.1). */
static void self_is_best(struct delivery *d)
{
	bool loops = strcmp(d->why.status, "5.4.6") == 0;
	if (loops && !delivery_is_relay(d) && conf_str(P_best_mx_transport)[0] != '\0') {
		problem_clear(&d->why);
		outcome_all_rerouted(d);
		delivery_end(d);
		return;
	}
	next_site(d);
}

void delivery_not_found(struct delivery *d)
{
	d->why.stage = STAGE_DNS;
	next_site(d);
}

void delivery_found(struct delivery *d)
{
	const char *prefer = conf_str(setting_of(P_smtp_address_preference));
	int family = strcmp(prefer, "ipv4") == 0   ? AF_INET
		     : strcmp(prefer, "ipv6") == 0 ? AF_INET6
						   : 0;
	if (!cut_self(d)) {
		d->why.stage = STAGE_DNS;
		self_is_best(d);
		return;
	}
	hosts_order(d->hosts, conf_bool(setting_of(P_smtp_randomize_addresses)), family,
		conf_bool(setting_of(P_smtp_balance_inet_protocols)), address_limit());
	next_address(d);
}

/* ---- Addresses. ---- */

static void make_addr(const struct host_addr *a, uint16_t port, struct net_addr *to)
{
	*to = (struct net_addr){0};
	if (a->family == AF_INET) {
		struct sockaddr_in *v4 = (struct sockaddr_in *)&to->ss;
		v4->sin_family = AF_INET;
		v4->sin_port = htons(port);
		memcpy(&v4->sin_addr, a->addr, 4);
		to->len = sizeof(*v4);
	} else {
		struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&to->ss;
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons(port);
		memcpy(&v6->sin6_addr, a->addr, 16);
		to->len = sizeof(*v6);
	}
}

static bool was_tried(
	const struct delivery *d, const char *host, const char *address, uint16_t port)
{
	char *relay = mem_fmt("%s[%s]:%u", host, address, port);
	bool same = d->tried != NULL && strcmp(relay, d->tried) == 0;
	mem_free(relay);
	return same;
}

/* One address; false: on to the next one. */
static bool try_address(struct delivery *d, const struct host_addr *a)
{
	char text[NET_ADDR_TEXT], host[DNS_NAME_MAX + 1];
	uint16_t port = delivery_port(d);
	struct net_addr to;
	int fd = -1;
	make_addr(a, port, &to);
	net_addr_text(&to, text);
	memcpy(host, a->host.p, a->host.len);
	host[a->host.len] = '\0';
	if (was_tried(d, host, text, port) || !level_choose(d, host, port)) {
		return false;
	}
	if (kept_find_host(d, host, text, port)) {
		begin_reused(d);
		return true;
	}
	if (source_connect(d, &to, &fd) != 0) {
		if (errno != 0) {
			session_cannot_connect(d, host, text, port);
		}
		return false;
	}
	session_open(d, fd, host, text, port);
	return true;
}

static void next_address(struct delivery *d)
{
	while (has_more_addresses(d)) {
		if (try_address(d, &d->hosts->addr[d->at++])) {
			return;
		}
	}
	next_site(d);
}

void delivery_handshake_done(struct delivery *d)
{
	d->connected = clock_real();
	count_sessions(d, 1);
}

void delivery_next(struct delivery *d)
{
	struct job *j = d->job;
	for (size_t i = 0; i < j->n; i++) {
		if (j->rcpts[i].state == RCPT_KEEP) {
			j->rcpts[i].state = RCPT_OPEN;
		}
	}
	if (j->open == 0) {
		delivery_end(d);
	} else if (d->hosts != NULL) {
		next_address(d);
	} else if (has_more_addresses(d)) {
		start_site(d);
	} else {
		next_site(d);
	}
}
