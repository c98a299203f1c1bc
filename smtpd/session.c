/* SPDX-License-Identifier: ISC */
#include "smtpd/session.h"

#include <stdio.h>
#include <sys/socket.h>

#include "server/counters.h"
#include "smtp/ehlo.h"
#include "smtpd/answer.h"
#include "smtpd/auth.h"
#include "smtpd/dialogue.h"
#include "smtpd/farewell.h"
#include "smtpd/gate.h"
#include "smtpd/inquiry.h"
#include "smtpd/limits.h"
#include "smtpd/proxy.h"
#include "smtpd/recipient.h"
#include "smtpd/report.h"
#include "smtpd/starttls.h"
#include "smtpd/transcript.h"
#include "smtpd/xclient.h"
#include "util/err.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/mem.h"

enum { IN_LIMIT = 32768 };

static TAILQ_HEAD(, session) sessions = TAILQ_HEAD_INITIALIZER(sessions);
static size_t total;

static void end_program(void *arg)
{
	(void)arg;
	farewell_end_all();
	server_done();
}

static struct loop_task all_done = {.run = end_program};

size_t session_total(void)
{
	return total;
}

/* The end of a session. */

static void reap(void *arg)
{
	struct session *s = arg;

	loop_task_cancel(&s->run);
	loop_timer_clear(&s->sleep);
	buf_clear(&s->held);
	mem_free(s->name);
	mem_free(s->namaddr);
	mem_free(s->helo);
	mem_free(s->reverse_name);
	for (int i = 0; i < 3; i++)
		mem_free(s->deferral[i]);
	mem_free(s->chunk_reply);
	mem_free(s->last_words);
	mem_free(s->login);
	mem_free(s->sasl_method);
	xforward_clear(s);
	mem_free(s);
}

/* Whatever is gathered is still sent. The memory goes at the end of the iteration. */
void session_drop(struct session *s)
{
	if (s->state != CLOSED)
		answer_awaited(s);
	if (s->state == CLOSED)
		return;
	s->state = CLOSED;
	evaluation_cancel(s);
	inquiry_cancel(s);
	gate_cancel(s);
	limits_cancel(s);
	transcript_end(s);
	starttls_cancel(s);
	auth_cancel(s);
	recipient_cancel(s);
	transaction_free(&s->transaction);
	peername_cancel(&s->peername);
	tally_leave(&s->tally);
	if (s->held.len > 0)
		(void)stream_write_slice(s->stream, buf_slice(&s->held));
	stream_finish(&s->stream);
	report_disconnect(s);
	farewell_end(&s->farewell);
	TAILQ_REMOVE(&sessions, s, next);
	total--;
	counters_add(COUNTER_SESSIONS, -1);
	loop_timer_clear(&s->sleep);
	loop_soon(&s->reap);
	/* Behind the tasks that send the last replies. */
	if (total == 0 && server_is_stopping())
		loop_soon(&all_done);
}

void session_count(struct session *s, enum smtp_verb verb, bool good)
{
	s->count[verb].all++;
	if (good)
		s->count[verb].ok++;
	else
		s->errors++;
}

/* The beginning. */

static void greet(struct session *s, const struct policy_verdict *v, struct slice subject)
{
	(void)subject;
	s->state = COMMAND;
	s->is_denied = v->action == POLICY_REJECT;
	if (s->is_denied) {
		s->errors++;
		evaluation_refuse(s, v);
	} else {
		session_reply(s, "220 %s", settings.banner);
	}
	if (s->state == CLOSED)
		return;
	s->is_greeted = true;
	stream_deadline(s->stream, loop_now() + s->bounds->timeout);
	stream_read(s->stream, true);
	loop_soon(&s->run);
}

static struct policy_facts client_facts(const struct session *s)
{
	return (struct policy_facts){
		.client_name = slice_str(s->name), .client_addr = slice_str(s->addr)};
}

/* Who is neither ours nor trusted may have a smaller limit. */
static uint64_t size_limit_of(const struct session *s, const struct policy_facts *facts)
{
	uint64_t own = settings.stranger_size_limit;

	if (own == 0 || (settings.size_limit > 0 && own >= settings.size_limit) || s->is_local ||
		policy_is_trusted(settings.policy, facts) || policy_is_safe(settings.policy, facts))
		return settings.size_limit;
	return own;
}

uint64_t session_size_limit(const struct session *s)
{
	return s->login != NULL ? settings.size_limit : s->size_limit;
}

const char *session_stranger_reply(const struct session *s, const char *reply)
{
	return s->is_unsure && s->login == NULL ? "451 4.3.0 Error: temporary lookup failure"
						: reply;
}

const char *session_too_large(const struct session *s, uint64_t size, const char *reply)
{
	return settings.size_limit > 0 && size > settings.size_limit
		       ? reply
		       : session_stranger_reply(s, reply);
}

static void ask_policy(struct session *s)
{
	evaluation_begin(s, POLICY_CONNECT, SLICE_NONE, greet);
}

static void gated(struct session *s)
{
	if (starttls_is_awaited(s))
		starttls_wrap(s, ask_policy);
	else
		ask_policy(s);
}

void session_set_offer(struct session *s)
{
	s->hidden = s->discarded | starttls_hides(s);
	s->options = settings_options(s->hidden);
}

static void begin(struct session *s);

static void begin_again(struct session *s, struct slice addr)
{
	(void)addr;
	begin(s);
}

/*
 * Nothing of it is a matter of safety, so without an answer the listener's own list counts. False:
 * the answer is to come.
 */
static bool discard_keywords(struct session *s)
{
	struct buf value = BUF_INIT(4096);
	int err = ERR_NOT_FOUND;

	s->discarded = settings.discarded;
	if (settings.discard_maps != NULL)
		err = map_list_find(
			settings.discard_maps, slice_str(s->addr), inquiry_later(s), &value);
	if (err == ERR_LATER)
		inquiry_wait(s, slice_str(s->addr), begin_again);
	else if (err == 0)
		s->discarded = ehlo_keywords(buf_slice(&value));
	else if (err != ERR_NOT_FOUND)
		log_warning("smtpd_discard_ehlo_keyword_address_maps: no answer for %s", s->addr);
	session_set_offer(s);
	buf_clear(&value);
	return err != ERR_LATER;
}

/* Both answers are here, or not needed. */
static void begin(struct session *s)
{
	struct policy_facts facts = client_facts(s);

	if (!s->name_known || !s->counted || s->state != GREETING)
		return;
	if (!discard_keywords(s))
		return;
	inquiry_cancel(s);
	s->size_limit = size_limit_of(s, &facts);
	s->is_unsure = !s->is_local && policy_is_unsure(settings.policy, &facts);
	if (!s->is_announced)
		report_connect(s);
	s->is_announced = true;
	xclient_begin(s);
	if (limits_turn_away(s))
		return;
	gate_begin(s, gated);
}

void session_set_namaddr(struct session *s)
{
	mem_free(s->namaddr);
	if (settings.log_port)
		s->namaddr = mem_fmt("%s[%s]:%u", s->name, s->addr, s->port);
	else
		s->namaddr = mem_fmt("%s[%s]", s->name, s->addr);
}

static void take_name(const struct peername_result *r, void *arg)
{
	struct session *s = arg;

	s->peername = NULL;
	mem_free(s->name);
	mem_free(s->reverse_name);
	s->name = mem_str(r->name);
	s->reverse_name = mem_str(r->reverse_name);
	s->name_status = r->name_status;
	s->reverse_status = r->reverse_status;
	s->forward_status = r->forward_status;
	session_set_namaddr(s);
	s->name_known = true;
	begin(s);
}

static void take_no_name(struct session *s)
{
	take_name(&(struct peername_result){"unknown", "unknown", POLICY_NAME_UNKNOWN,
			  POLICY_NAME_UNKNOWN, POLICY_NAME_UNKNOWN},
		s);
}

void session_identify(struct session *s)
{
	struct net_addr peer;

	s->state = GREETING;
	inquiry_cancel(s);
	if (limits_enter(s, begin))
		return;
	if (s->name_known)
		begin(s);
	else if (settings.name_lookup && !s->is_local &&
		 net_addr_parse(slice_str(s->addr), s->port, &peer) == 0)
		s->peername = peername_ask(&peer, take_name, s);
	else
		take_no_name(s);
}

void session_new(int fd, const struct net_addr *peer, bool is_local)
{
	struct session *s = mem_alloc(sizeof(*s));
	struct net_addr local;
	struct ucred who;
	socklen_t len = sizeof(who);

	s->where = "CONNECT";
	s->is_local = is_local;
	s->uid = (uid_t)-1;
	if (is_local) {
		if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) == 0)
			s->uid = who.uid;
	} else {
		net_addr_text(peer, s->addr);
		s->port = net_addr_port(peer);
	}
	if (!is_local && settings.wants_server_addr && net_local(fd, &local) == 0) {
		net_addr_text(&local, s->server_addr);
		s->server_port = net_addr_port(&local);
	}
	loop_task_init(&s->run, dialogue_run, s);
	loop_task_init(&s->reap, reap, s);
	loop_timer_init(&s->sleep, answer_slept, s);
	buf_init(&s->held, ANSWER_UNREAD);
	s->stream = stream_new(fd, &dialogue_events, s, IN_LIMIT, ANSWER_UNREAD);
	TAILQ_INSERT_TAIL(&sessions, s, next);
	total++;
	counters_add(COUNTER_SESSIONS, 1);
	s->bounds = stress_bounds();
	counters_add(COUNTER_ACCEPTED, 1);
	if (!is_local && settings.wants_proxy)
		proxy_begin(s);
	else
		session_identify(s);
}

void session_refuse(int fd)
{
	char text[512];
	int n = snprintf(text, sizeof(text), "421 4.3.2 %s All server ports are busy\r\n",
		settings.hostname);

	counters_add(COUNTER_REFUSED, 1);
	/* Who waits for TLS is told nothing in clear. */
	if (n > 0 && n < (int)sizeof(text) && !starttls_is_first())
		(void)!send(fd, text, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT);
	fd_close(&fd);
}

static bool is_idle(const struct session *s)
{
	return s->transaction == NULL &&
	       (s->state == COMMAND || s->state == RESPONSE || s->state == GREETING ||
		       s->state == PROXY || s->state == HANDSHAKE);
}

void session_end_idle(const char *reason)
{
	struct session *s, *after;

	TAILQ_FOREACH_SAFE(s, &sessions, next, after)
	{
		s->end_soon = true;
		if (is_idle(s))
			session_end(s, "421 4.3.2 %s %s", settings.hostname, reason);
	}
}

void session_cut_banned(void)
{
	struct session *s, *after;

	TAILQ_FOREACH_SAFE(s, &sessions, next, after)
	{
		if (s->state == PROXY || !limits_is_banned(s))
			continue;
		s->is_banned = true;
		if (s->state != WAITING)
			limits_cut(s);
	}
}

void session_end_all(void)
{
	struct session *s, *after;

	session_end_idle("Service is shutting down");
	TAILQ_FOREACH_SAFE(s, &sessions, next, after)
	session_drop(s);
}
