/* SPDX-License-Identifier: ISC */
#include "smtp-client/session.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "conf/conf.h"
#include "net/addr.h"
#include "server/counters.h"
#include "server/server.h"
#include "smtp-client/level.h"
#include "smtp-client/policy.h"
#include "smtp-client/self.h"
#include "smtp-client/starttls.h"
#include "smtp-client/xact.h"
#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"

TAILQ_HEAD(session_list, session);
static struct session_list idle = TAILQ_HEAD_INITIALIZER(idle);
static unsigned idle_count, idle_limit;

static void on_input(struct stream *stream, void *arg);
static void on_drained(struct stream *stream, void *arg);
static void on_end(struct stream *stream, int err, void *arg);
static void on_up(int what, void *arg);

static const struct stream_events events = {on_input, on_drained, on_end};

int64_t session_deadline(const struct session *s, int smtp_param, int lmtp_param)
{
	return loop_now() + conf_time((enum param)(s->lmtp ? lmtp_param : smtp_param));
}

bool session_is_up(const struct session *s)
{
	return s->state >= SESSION_BUSY;
}

/* ---- The end. ---- */

static void forget_idle(struct session *s)
{
	if (s->state == SESSION_IDLE) {
		TAILQ_REMOVE(&idle, s, link);
		idle_count--;
	}
}

static void session_free(struct session *s)
{
	forget_idle(s);
	starttls_forget(s);
	if (s->delivery != NULL) {
		s->delivery->session = NULL;
	}
	if (s->gone != NULL) {
		*s->gone = true;
	}
	counters_add(COUNTER_SESSIONS, -1);
	xact_free(&s->xact);
	reply_clear(&s->reply);
	loop_watch_free(&s->up);
	stream_free(&s->stream);
	policy_unref(&s->policy);
	mem_free(s->site);
	mem_free(s->nexthop);
	mem_free(s->name);
	mem_free(s->host);
	mem_free(s->relay);
	mem_free(s);
}

void session_drop(struct session **s)
{
	if (*s != NULL) {
		session_free(*s);
		*s = NULL;
	}
}

void session_quit(struct session **sp)
{
	struct session *s = *sp;
	*sp = NULL;
	if (s != NULL) {
		(void)stream_write(s->stream, "QUIT\r\n", 6);
		stream_finish(&s->stream);
		session_free(s);
	}
}

/* ---- Texts. ---- */

void session_said(struct session *s, const char *command)
{
	struct problem *p = &s->delivery->why;
	struct buf text = BUF_INIT(4096);
	reply_add_text(&text, &s->reply);
	problem_set(p, reply_class(&s->reply) >= 4 ? s->reply.status : "4.5.0",
		"host %s said: %s (in reply to %s)", s->host, buf_str(&text), command);
	buf_add_slice(&p->diagnostic, buf_slice(&text));
	p->remote = mem_str(s->relay);
	buf_clear(&text);
}

void session_refused(struct session *s)
{
	struct problem *p = &s->delivery->why;
	struct buf text = BUF_INIT(4096);
	reply_add_text(&text, &s->reply);
	problem_set(p, reply_class(&s->reply) >= 4 ? s->reply.status : "4.5.0",
		"host %s refused to talk to me: %s", s->host, buf_str(&text));
	buf_add_slice(&p->diagnostic, buf_slice(&text));
	p->remote = mem_str(s->relay);
	buf_clear(&text);
}

void session_lost(struct session *s, int err, const char *doing)
{
	struct problem *p = &s->delivery->why;
	if (err == ERR_TIMEOUT) {
		problem_set(p, "4.4.2", "conversation with %s timed out while %s", s->host, doing);
	} else if (err == ERR_SYNTAX || err == ERR_LIMIT) {
		problem_set(p, "4.5.0", "host %s sent something that is no reply while %s", s->host,
			doing);
	} else {
		problem_set(p, "4.4.2", "lost connection with %s while %s", s->host, doing);
	}
	p->remote = mem_str(s->relay);
}

/* ---- Connecting and greeting. ---- */

static char *relay_text(const char *host, const char *address, uint16_t port)
{
	return port > 0 ? mem_fmt("%s[%s]:%u", host, address, port)
			: mem_fmt("%s[%s]", host, address);
}

static void cannot_connect(struct delivery *d, const char *relay, const char *reason)
{
	problem_set(&d->why, "4.4.1", "connect to %s: %s", relay, reason);
	log_info("%s", log_q(buf_slice(&d->why.text)));
}

void session_cannot_connect(
	struct delivery *d, const char *host, const char *address, uint16_t port)
{
	int saved = errno;
	char *relay = relay_text(host, address, port);
	cannot_connect(d, relay, strerror(saved));
	mem_free(relay);
}

void session_open(struct delivery *d, int fd, const char *host, const char *address, uint16_t port)
{
	struct session *s = mem_alloc(sizeof(*s));
	int64_t connect = 0;
	s->lmtp = server_is_lmtp();
	s->state = SESSION_CONNECTING;
	s->delivery = d;
	d->session = s;
	s->opened = loop_now();
	s->site = mem_str(d->site);
	s->nexthop = mem_str(d->job->nexthop);
	s->name = mem_str(host);
	s->host = mem_fmt("%s[%s]", host, address);
	s->relay = relay_text(host, address, port);
	s->port = port;
	s->policy = policy_ref(d->policy);
	s->level = d->level;
	s->plain = d->plain;
	reply_init(&s->reply);
	s->stream = stream_new(fd, &events, s, SESSION_IN_MAX, SESSION_OUT_MAX);
	s->hello_until = session_deadline(s, P_smtp_helo_timeout, P_lmtp_lhlo_timeout);
	connect = conf_time(s->lmtp ? P_lmtp_connect_timeout : P_smtp_connect_timeout);
	s->connect_until = connect > 0 ? loop_now() + connect : s->hello_until;
	stream_deadline(
		s->stream, s->connect_until < s->hello_until ? s->connect_until : s->hello_until);
	if (starttls_is_wrapped() && s->level > TLS_NONE) {
		s->up = loop_watch_new(fd, on_up, s);
		loop_watch_set(s->up, LOOP_WRITE);
	} else {
		stream_read(s->stream, true);
	}
	counters_add(COUNTER_SESSIONS, 1);
	counters_add(COUNTER_ACCEPTED, 1);
}

static void leave(struct session *s, bool said)
{
	struct delivery *d = s->delivery;
	if (said) {
		session_quit(&s);
	} else {
		session_drop(&s);
	}
	delivery_next(d);
}

void session_fail(struct session *s, bool said)
{
	const struct delivery *d = s->delivery;
	if (!delivery_is_last(d)) {
		log_info("%s: %s", d->job->id, log_q(buf_slice(&d->why.text)));
	}
	leave(s, said);
}

static const char *hello_command(const struct session *s)
{
	return s->lmtp ? "LHLO" : s->state == SESSION_HELO ? "HELO" : "EHLO";
}

static const char *hello_doing(const struct session *s)
{
	switch (s->state) {
	case SESSION_CONNECTING: return "receiving the initial server greeting";
	case SESSION_HELO: return "performing the HELO handshake";
	case SESSION_STARTTLS: return "receiving the STARTTLS response";
	default: return s->lmtp ? "performing the LHLO handshake" : "performing the EHLO handshake";
	}
}

static void say_hello(struct session *s, enum session_state state)
{
	const char *name = conf_str(s->lmtp ? P_lmtp_lhlo_name : P_smtp_helo_name);

	if (*name == '\0')
		name = conf_str(P_myhostname);
	s->state = state;
	(void)stream_printf(s->stream, "%s %s\r\n", hello_command(s), name);
	stream_deadline(s->stream, s->hello_until);
}

/* RFC 8689, 4.2.1: what must travel with TLS all the way goes to servers that promise the same. */
static bool keeps_tls(const struct session *s)
{
	return !level_is_required(s->delivery) ||
	       (s->tls != NULL && (s->ehlo.features & EHLO_REQUIRETLS) != 0);
}

void session_greet(struct session *s)
{
	/* What was said in clear text counts no more (RFC 3207, 4.2). */
	s->ehlo = (struct ehlo){0};
	s->hello_until = session_deadline(s, P_smtp_helo_timeout, P_lmtp_lhlo_timeout);
	if (starttls_is_wrapped()) {
		s->state = SESSION_CONNECTING;
		stream_deadline(s->stream, s->hello_until);
	} else {
		say_hello(s, SESSION_EHLO);
	}
}

void session_ready(struct session *s)
{
	struct delivery *d = s->delivery;
	if (!keeps_tls(s)) {
		problem_set(&d->why, "5.7.30",
			"REQUIRETLS is required, but was not offered by host %s", s->host);
		d->why.remote = mem_str(s->relay);
		session_fail(s, true);
		return;
	}
	s->state = SESSION_BUSY;
	s->uses = 1;
	delivery_handshake_done(d);
	xact_start(s);
}

/* smtp_skip_5xx_greeting: a refusal at the door says nothing about other hosts. */
static void soften(struct session *s)
{
	if (conf_bool(P_smtp_skip_5xx_greeting) && s->delivery->why.status[0] == '5') {
		s->delivery->why.status[0] = '4';
	}
}

static void greeting(struct session *s)
{
	if (s->reply.code != 220) {
		session_refused(s);
		soften(s);
		session_fail(s, true);
		return;
	}
	if (delivery_may_loop(s->delivery) && self_is_named(&s->reply)) {
		log_warning("host %s greeted me with my own hostname %s", s->relay,
			conf_str(P_myhostname));
	}
	bool helo = conf_bool(P_smtp_never_send_ehlo) && !s->lmtp;
	say_hello(s, helo ? SESSION_HELO : SESSION_EHLO);
}

/* The server is this one, whatever the way to it: mail for it would go in a circle. */
static void met_self(struct session *s)
{
	struct delivery *d = s->delivery;
	log_warning("host %s replied to HELO/EHLO with my own hostname %s", s->relay,
		conf_str(P_myhostname));
	problem_set(&d->why, delivery_is_best(d) ? "5.4.6" : "4.4.6",
		"mail for %s loops back to myself", d->site);
	d->why.remote = mem_str(s->relay);
	session_fail(s, true);
}

/* smtp_tls_block_early_mail_reply: replies to what only somebody in between can have said. */
static bool is_early(const struct session *s)
{
	return s->tls != NULL && stream_input(s->stream).len > 0 &&
	       conf_bool(s->lmtp ? P_lmtp_tls_block_early_mail_reply
				 : P_smtp_tls_block_early_mail_reply);
}

static void talks_early(struct session *s)
{
	problem_set(&s->delivery->why, "4.7.0", "unexpected server message");
	s->delivery->why.remote = mem_str(s->relay);
	session_fail(s, false);
}

static void hello_reply(struct session *s)
{
	int class = reply_class(&s->reply);
	if (class == 2 && delivery_may_loop(s->delivery) && self_is_named(&s->reply)) {
		met_self(s);
	} else if (class == 2) {
		if (s->state == SESSION_EHLO) {
			unsigned discard =
				ehlo_keywords(slice_str(conf_str(P_smtp_discard_ehlo_keywords)));
			ehlo_parse(&s->reply, discard, &s->ehlo);
		}
		if (is_early(s)) {
			talks_early(s);
		} else if (!starttls_take(s)) {
			session_ready(s);
		}
	} else if (class == 5 && s->state == SESSION_EHLO && !s->lmtp) {
		say_hello(s, SESSION_HELO);
	} else {
		session_refused(s);
		session_fail(s, true);
	}
}

/* ---- Input. ---- */

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

/* Idle: the time is over, or the server ends the session (421), or talks out of turn. */
static void idle_ended(struct session *s, bool quit)
{
	char *nexthop = mem_str(s->nexthop);
	if (quit) {
		session_quit(&s);
	} else {
		session_drop(&s);
	}
	say_idle(nexthop);
	mem_free(nexthop);
}

static void take_reply(struct session *s)
{
	switch (s->state) {
	case SESSION_CONNECTING: greeting(s); break;
	case SESSION_EHLO:
	case SESSION_HELO: hello_reply(s); break;
	case SESSION_STARTTLS: starttls_reply(s); break;
	case SESSION_HANDSHAKE: break; /* the stream is silent */
	case SESSION_BUSY: xact_reply(s); break;
	case SESSION_IDLE: idle_ended(s, true); break;
	}
}

static void broken(struct session *s, int err)
{
	if (s->state == SESSION_BUSY) {
		xact_lost(s, err);
	} else if (s->state == SESSION_IDLE) {
		idle_ended(s, false);
	} else {
		session_lost(s, err, hello_doing(s));
		session_fail(s, false);
	}
}

/* One reply; the session may be gone behind it. False: nothing whole is left to read. */
static bool next_reply(struct session *s)
{
	size_t used = 0;
	struct slice in = stream_input(s->stream);
	if (in.len == 0) {
		return false;
	}
	int r = reply_feed(&s->reply, in, &used);
	stream_consume(s->stream, used);
	if (r == ERR_AGAIN) {
		return false;
	}
	s->connected = true;
	if (log_is_debug()) {
		struct buf text = BUF_INIT(REPLY_TEXT_LIMIT * 2);
		reply_add_text(&text, &s->reply);
		log_debug("< %s: %s", s->relay, log_q(buf_slice(&text)));
		buf_clear(&text);
	}
	if (r != 0) {
		broken(s, r);
		return false;
	}
	if (s->reply.code == 421 || s->reply.code == 521) {
		s->closing = true;
	}
	take_reply(s);
	return true;
}

static void on_input(struct stream *stream, void *arg)
{
	struct session *s = arg;
	bool gone = false;
	s->gone = &gone;
	while (next_reply(s)) {
		if (gone) {
			return;
		}
		reply_reset(&s->reply);
	}
	if (gone) {
		return;
	}
	s->gone = NULL;
}

static void on_drained(struct stream *stream, void *arg)
{
	struct session *s = arg;
	if (s->state == SESSION_BUSY) {
		xact_drained(s);
	}
}

static bool is_connected(const struct session *s)
{
	struct net_addr peer;
	return net_peer(stream_fd(s->stream), &peer) == 0;
}

/*
 * The end before the first reply. Nobody has said so far whether the connection is there: that
 * would be a system call for each.
 */
static void end_of_connecting(struct session *s, int err, int saved)
{
	struct delivery *d = s->delivery;
	bool up = err != ERR_SYS && is_connected(s);
	int64_t until = up ? s->hello_until : s->connect_until;
	if (err == ERR_TIMEOUT && loop_now() < until) {
		stream_deadline(s->stream, until);
		return;
	}
	if (up) {
		broken(s, err);
		return;
	}
	cannot_connect(d, s->relay, err == ERR_TIMEOUT ? "Connection timed out" : strerror(saved));
	leave(s, false);
}

/* With TLS from connect: the connection is there, or will never be. */
static void on_up(int what, void *arg)
{
	struct session *s = arg;
	int saved = 0;
	socklen_t len = sizeof(saved);
	loop_watch_free(&s->up);
	if (getsockopt(stream_fd(s->stream), SOL_SOCKET, SO_ERROR, &saved, &len) != 0) {
		saved = errno;
	}
	if (saved != 0) {
		end_of_connecting(s, ERR_SYS, saved);
		return;
	}
	s->connected = true;
	stream_read(s->stream, true);
	starttls_begin(s);
}

static void on_end(struct stream *stream, int err, void *arg)
{
	struct session *s = arg;
	int saved = errno;
	if (s->state == SESSION_IDLE) {
		idle_ended(s, err == ERR_TIMEOUT);
	} else if (s->state == SESSION_CONNECTING && !s->connected) {
		end_of_connecting(s, err, saved);
	} else {
		broken(s, err);
	}
}

/* ---- Idle sessions. ---- */

static bool may_be_kept(const struct session *s)
{
	int64_t count = conf_int(P_smtp_connection_reuse_count_limit);
	return !s->closing && !s->plain && (s->tls == NULL || s->policy->reuse) &&
	       !server_is_stopping() && conf_bool(P_smtp_connection_cache_on_demand) &&
	       loop_now() - s->opened < conf_time(P_smtp_connection_reuse_time_limit) &&
	       (count == 0 || s->uses < count);
}

void session_init(unsigned limit)
{
	idle_limit = limit;
}

bool session_park(struct session *s)
{
	s->delivery->session = NULL;
	s->delivery = NULL;
	xact_free(&s->xact);
	if (!may_be_kept(s)) {
		session_quit(&s);
		return false;
	}
	reply_release(&s->reply);
	s->state = SESSION_IDLE;
	TAILQ_INSERT_TAIL(&idle, s, link);
	if (++idle_count > idle_limit) {
		idle_ended(TAILQ_FIRST(&idle), true);
	}
	stream_deadline(s->stream, loop_now() + conf_time(P_smtp_connection_cache_time_limit));
	say_idle(s->nexthop);
	return true;
}

bool session_reuse(struct delivery *d)
{
	bool wants_tls = level_is_required(d);
	struct session *s;
	TAILQ_FOREACH_REVERSE(s, &idle, session_list, link)
	{
		if (strcmp(s->site, d->site) == 0 && strcmp(s->policy->key, d->policy->key) == 0 &&
			(!wants_tls || (s->ehlo.features & EHLO_REQUIRETLS) != 0)) {
			break;
		}
	}
	if (s == NULL) {
		return false;
	}
	forget_idle(s);
	s->state = SESSION_BUSY;
	s->uses++;
	s->delivery = d;
	d->session = s;
	starttls_reused(s);
	return true;
}

void session_start(struct session *s)
{
	xact_start(s);
}

void session_quit_idle(void)
{
	struct session *s;
	while ((s = TAILQ_FIRST(&idle)) != NULL) {
		session_quit(&s);
	}
}
