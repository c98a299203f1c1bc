/* SPDX-License-Identifier: ISC */
#include "smtp-client/kept.h"

#include <string.h>

#include "conf/conf.h"
#include "server/server.h"
#include "smtp-client/auth.h"
#include "smtp-client/level.h"
#include "smtp-client/policy.h"
#include "smtp-client/setting.h"
#include "smtp-client/starttls.h"
#include "util/mem.h"

TAILQ_HEAD(session_list, session);
static struct session_list idle = TAILQ_HEAD_INITIALIZER(idle);
static unsigned idle_count, idle_limit;

void kept_start(unsigned limit)
{
	idle_limit = limit;
}

/* qmgr hands jobs to the worker that has a session for them. */
static void say_idle(const char *nexthop)
{
	const struct session *s;
	unsigned n = 0;
	TAILQ_FOREACH(s, &idle, link)
	{
		n += strcmp(s->nexthop, nexthop) == 0;
	}
	job_say_idle(nexthop, n);
}

void kept_forget(struct session *s)
{
	if (s->state == SESSION_IDLE) {
		TAILQ_REMOVE(&idle, s, link);
		idle_count--;
	}
}

void kept_end(struct session *s, bool said)
{
	char *nexthop = mem_str(s->nexthop);
	if (said) {
		session_quit(&s);
	} else {
		session_drop(&s);
	}
	say_idle(nexthop);
	mem_free(nexthop);
}

/* ---- What is kept. ---- */

/* smtp_connection_cache_destinations; "static:" matches any. */
static bool is_listed(const char *site)
{
	struct slice rest = slice_str(conf_str(setting_of(P_smtp_connection_cache_destinations))),
		     word;
	while (slice_token(&rest, ", \t\r\n", &word)) {
		if (slice_case_eq_str(word, site) || slice_starts(word, "static:")) {
			return true;
		}
	}
	return false;
}

static bool is_wanted(const struct session *s)
{
	return conf_bool(setting_of(P_smtp_connection_cache_on_demand)) || is_listed(s->site);
}

static bool may_be_kept(const struct session *s)
{
	int64_t count = conf_int(setting_of(P_smtp_connection_reuse_count_limit));
	int64_t time = conf_time(setting_of(P_smtp_connection_reuse_time_limit));
	return !s->closing && !s->plain && (s->tls == NULL || s->policy->reuse) &&
	       !server_is_stopping() && is_wanted(s) && loop_now() - s->opened < time &&
	       (count == 0 || s->uses <= count);
}

bool kept_park(struct session *s)
{
	s->delivery->session = NULL;
	s->delivery = NULL;
	session_rest(s);
	if (!may_be_kept(s)) {
		session_quit(&s);
		return false;
	}
	s->state = SESSION_IDLE;
	TAILQ_INSERT_TAIL(&idle, s, link);
	if (++idle_count > idle_limit) {
		kept_end(TAILQ_FIRST(&idle), true);
	}
	stream_deadline(
		s->stream, loop_now() + conf_time(setting_of(P_smtp_connection_cache_time_limit)));
	say_idle(s->nexthop);
	return true;
}

void kept_quit_all(void)
{
	struct session *s;
	while ((s = TAILQ_FIRST(&idle)) != NULL) {
		session_quit(&s);
	}
}

/* ---- What is used again. ---- */

static void take(struct session *s, struct delivery *d)
{
	kept_forget(s);
	s->state = SESSION_BUSY;
	s->uses++;
	s->delivery = d;
	d->session = s;
	starttls_reused(s);
}

/* What no other delivery could do either way. */
static bool may_serve(const struct session *s, const struct delivery *d)
{
	return !level_is_required(d) || (s->ehlo.features & EHLO_REQUIRETLS) != 0;
}

/*
 * The server has said nothing since, and is there. What it has said, or its going, is looked at
 * when the loop comes to it; here it would be taken for the reply to a command that comes behind
 * it.
 */
static bool is_quiet(const struct session *s)
{
	return !reply_has_begun(&s->reply) && stream_is_quiet(s->stream);
}

bool kept_find(struct delivery *d)
{
	struct session *s;
	if (d->policy->level >= TLS_DANE) {
		/* What its hosts are known by now must be looked up first. */
		return false;
	}
	TAILQ_FOREACH_REVERSE(s, &idle, session_list, link)
	{
		if (strcmp(s->site, d->site) == 0 && strcmp(s->policy->key, d->policy->key) == 0 &&
			may_serve(s, d) && auth_is_same(s, d) && is_quiet(s)) {
			take(s, d);
			return true;
		}
	}
	return false;
}

/* TLS as it would be agreed on now, for this host. */
static bool is_same_tls(const struct session *s, const struct delivery *d)
{
	struct buf way = BUF_INIT(STARTTLS_WAY_MAX);
	starttls_add_way(&way, d, s->name);
	bool same = s->way != NULL && !buf_failed(&way) && strcmp(s->way, buf_str(&way)) == 0;
	buf_clear(&way);
	return same;
}

/* It leads to this next hop from now on: there is mail for it. */
static void rename_to(struct session *s, const struct delivery *d)
{
	char *nexthop = s->nexthop;
	s->nexthop = mem_str(d->job->nexthop);
	mem_free(s->site);
	s->site = mem_str(d->site);
	policy_unref(&s->policy);
	s->policy = policy_ref(d->policy);
	say_idle(nexthop);
	mem_free(nexthop);
}

bool kept_find_host(struct delivery *d, const char *host, const char *address, uint16_t port)
{
	struct session *s;
	if (d->plain) {
		return false;
	}
	TAILQ_FOREACH_REVERSE(s, &idle, session_list, link)
	{
		if (s->port == port && strcmp(s->address, address) == 0 &&
			strcmp(s->name, host) == 0 && may_serve(s, d) && is_same_tls(s, d) &&
			auth_is_same(s, d) && is_quiet(s)) {
			take(s, d);
			rename_to(s, d);
			return true;
		}
	}
	return false;
}
