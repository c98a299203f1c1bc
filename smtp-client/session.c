/* SPDX-License-Identifier: ISC */
#include "smtp-client/session.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "conf/conf.h"
#include "mail/mailclass.h"
#include "net/addr.h"
#include "server/counters.h"
#include "server/server.h"
#include "smtp-client/auth.h"
#include "smtp-client/command.h"
#include "smtp-client/filter.h"
#include "smtp-client/hello.h"
#include "smtp-client/kept.h"
#include "smtp-client/policy.h"
#include "smtp-client/setting.h"
#include "smtp-client/starttls.h"
#include "smtp-client/transcript.h"
#include "smtp-client/xact.h"
#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"

enum { TEXT_LIMIT = 4096, QUESTIONS = 100 };

TAILQ_HEAD(session_list, session);
static struct session_list quitting = TAILQ_HEAD_INITIALIZER(quitting);
static unsigned quitting_count, quitting_limit;

static void on_input(struct stream *stream, void *arg);
static void on_drained(struct stream *stream, void *arg);
static void on_end(struct stream *stream, int err, void *arg);
static void on_up(int what, void *arg);
static void on_answer(void *arg);

static const struct stream_events events = {on_input, on_drained, on_end};

void session_init(void)
{
	hello_init();
	filter_init();
	auth_init();
	command_init();
}

void session_start(unsigned limit)
{
	quitting_limit = limit;
	kept_start(limit);
}

int64_t session_deadline(enum param smtp)
{
	return loop_now() + conf_time(setting_of(smtp));
}

bool session_is_up(const struct session *s)
{
	return s->state >= SESSION_BUSY;
}

/* ---- The end. ---- */

static void session_free(struct session *s)
{
	kept_forget(s);
	starttls_forget(s);
	auth_forget(s);
	transcript_end(s);
	if (s->state == SESSION_QUIT) {
		TAILQ_REMOVE(&quitting, s, link);
		quitting_count--;
	}
	if (s->delivery != NULL) {
		s->delivery->session = NULL;
	}
	if (s->gone != NULL) {
		*s->gone = true;
	}
	counters_add(COUNTER_SESSIONS, -1);
	xact_free(&s->xact);
	later_clear(&s->later);
	reply_clear(&s->reply);
	loop_watch_free(&s->up);
	stream_free(&s->stream);
	policy_unref(&s->policy);
	mem_free(s->site);
	mem_free(s->nexthop);
	mem_free(s->name);
	mem_free(s->address);
	mem_free(s->host);
	mem_free(s->relay);
	mem_free(s->login);
	mem_free(s->way);
	mem_free(s);
}

void session_drop(struct session **s)
{
	if (*s != NULL) {
		session_free(*s);
		*s = NULL;
	}
}

void session_rest(struct session *s)
{
	xact_free(&s->xact);
	later_clear(&s->later);
	s->asks = s->has_reply = false;
	reply_release(&s->reply);
}

/* A server that does not read, or has been asked already, is not waited for. */
static bool waits_for_quit(const struct session *s)
{
	return !conf_bool(setting_of(P_smtp_skip_quit_response)) && s->state != SESSION_HANDSHAKE &&
	       !server_is_stopping() && quitting_count < quitting_limit;
}

void session_quit(struct session **sp)
{
	struct session *s = *sp;
	*sp = NULL;
	if (s == NULL) {
		return;
	}
	(void)stream_write(s->stream, "QUIT\r\n", 6);
	if (!waits_for_quit(s)) {
		stream_finish(&s->stream);
		session_free(s);
		return;
	}
	kept_forget(s);
	starttls_forget(s);
	auth_forget(s);
	if (s->delivery != NULL) {
		s->delivery->session = NULL;
		s->delivery = NULL;
	}
	session_rest(s);
	s->state = SESSION_QUIT;
	TAILQ_INSERT_TAIL(&quitting, s, link);
	quitting_count++;
	stream_deadline(s->stream, session_deadline(P_smtp_quit_timeout));
}

/* ---- Texts. ---- */

void session_problem(struct session *s, enum stage stage, const char *status, const char *fmt, ...)
{
	struct problem *p = &s->delivery->why;
	char text[TEXT_LIMIT];
	va_list ap;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	problem_set(p, status, "%s", text);
	p->stage = stage;
	p->remote = mem_str(s->relay);
}

static const char *reply_status(const struct session *s)
{
	return reply_class(&s->reply) >= 4 ? s->reply.status : "4.5.0";
}

void session_add_reply(struct session *s, struct buf *text)
{
	struct problem *p = &s->delivery->why;
	p->code = (unsigned)s->reply.code;
	buf_add_slice(&p->diagnostic, buf_slice(text));
	buf_clear(text);
	transcript_failed(s);
}

void session_said(struct session *s, enum stage stage, const char *command)
{
	struct buf text = BUF_INIT(TEXT_LIMIT);
	reply_add_text(&text, &s->reply);
	session_problem(s, stage, reply_status(s), "host %s said: %s (in reply to %s)", s->host,
		buf_str(&text), command);
	session_add_reply(s, &text);
}

void session_refused(struct session *s)
{
	bool greets = s->state == SESSION_CONNECTING;
	struct buf text = BUF_INIT(TEXT_LIMIT);
	reply_add_text(&text, &s->reply);
	session_problem(s, greets ? STAGE_GREETING : STAGE_HELO, reply_status(s),
		"host %s refused to talk to me: %s", s->host, buf_str(&text));
	session_add_reply(s, &text);
}

void session_lost(struct session *s, int err, enum stage stage, const char *doing)
{
	if (err == ERR_TIMEOUT) {
		session_problem(s, stage, "4.4.2", "conversation with %s timed out while %s",
			s->host, doing);
	} else if (err == ERR_SYNTAX || err == ERR_LIMIT) {
		transcript_class(s, MAIL_CLASS_PROTOCOL);
		session_problem(s, stage, "4.5.0",
			"host %s sent something that is no reply while %s", s->host, doing);
	} else if (err == ERR_TEMP) {
		transcript_class(s, MAIL_CLASS_DATA);
		session_problem(s, stage, "4.3.0", "local data error while talking to %s", s->host);
	} else {
		session_problem(
			s, stage, "4.4.2", "lost connection with %s while %s", s->host, doing);
	}
}

static enum stage stage_of(const struct session *s)
{
	switch (s->state) {
	case SESSION_CONNECTING: return STAGE_GREETING;
	case SESSION_STARTTLS:
	case SESSION_HANDSHAKE: return STAGE_TLS;
	case SESSION_AUTH: return STAGE_AUTH;
	default: return STAGE_HELO;
	}
}

/* ---- Connecting. ---- */

static char *relay_text(const char *host, const char *address, uint16_t port)
{
	return port > 0 ? mem_fmt("%s[%s]:%u", host, address, port)
			: mem_fmt("%s[%s]", host, address);
}

static void cannot_connect(struct delivery *d, const char *relay, const char *reason)
{
	problem_set(&d->why, "4.4.1", "connect to %s: %s", relay, reason);
	d->why.stage = STAGE_CONNECT;
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

static char *way_of(const struct delivery *d, const char *host)
{
	struct buf way = BUF_INIT(STARTTLS_WAY_MAX);
	char *text = NULL;
	if (!d->nexthop.unix_path) {
		starttls_add_way(&way, d, host);
		text = buf_failed(&way) ? NULL : mem_str(buf_str(&way));
	}
	buf_clear(&way);
	return text;
}

static struct session *session_new(
	struct delivery *d, const char *host, const char *address, uint16_t port)
{
	struct session *s = mem_alloc(sizeof(*s));
	s->lmtp = server_is_lmtp();
	s->state = SESSION_CONNECTING;
	s->delivery = d;
	d->session = s;
	s->opened = loop_now();
	s->site = mem_str(d->site);
	s->nexthop = mem_str(d->job->nexthop);
	s->name = mem_str(host);
	s->address = mem_str(address);
	s->host = mem_fmt("%s[%s]", host, address);
	s->relay = relay_text(host, address, port);
	s->port = port;
	s->policy = policy_ref(d->policy);
	s->level = d->level;
	s->plain = d->plain;
	s->way = way_of(d, host);
	later_init(&s->later, QUESTIONS, on_answer, s);
	reply_init(&s->reply);
	filter_attach(s);
	return s;
}

void session_open(struct delivery *d, int fd, const char *host, const char *address, uint16_t port)
{
	struct session *s = session_new(d, host, address, port);
	int64_t connect = conf_time(setting_of(P_smtp_connect_timeout));
	s->stream = stream_new(fd, &events, s, SESSION_IN_MAX, SESSION_OUT_MAX);
	s->hello_until = session_deadline(P_smtp_helo_timeout);
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

void session_ready(struct session *s)
{
	struct delivery *d = s->delivery;
	s->state = SESSION_BUSY;
	s->uses = 1;
	delivery_handshake_done(d);
	xact_start(s);
}

/* ---- Input. ---- */

static void take_reply(struct session *s)
{
	switch (s->state) {
	case SESSION_CONNECTING: hello_greeting(s); break;
	case SESSION_EHLO:
	case SESSION_HELO: hello_reply(s); break;
	case SESSION_STARTTLS: starttls_reply(s); break;
	case SESSION_HANDSHAKE: break; /* the stream is silent */
	case SESSION_AUTH: auth_reply(s); break;
	case SESSION_BUSY: xact_reply(s); break;
	case SESSION_IDLE: kept_end(s, true); break;
	case SESSION_QUIT: session_drop(&s); break;
	}
}

static void broken(struct session *s, int err)
{
	if (s->state == SESSION_BUSY) {
		xact_lost(s, err);
	} else if (s->state == SESSION_IDLE) {
		kept_end(s, false);
	} else if (s->state == SESSION_QUIT) {
		session_drop(&s);
	} else {
		session_lost(s, err, stage_of(s), hello_doing(s));
		session_fail(s, false);
	}
}

static void note_reply(struct session *s)
{
	s->connected = true;
	auth_mask(s);
	transcript_in(s);
	if (log_is_debug()) {
		struct buf text = BUF_INIT(REPLY_TEXT_LIMIT * 2);
		reply_add_text(&text, &s->reply);
		log_debug("< %s: %s", s->relay, log_q(buf_slice(&text)));
		buf_clear(&text);
	}
	if (s->reply.code == 421 || s->reply.code == 521) {
		s->closing = true;
	}
}

/* One reply; the session may be gone behind it. False: nothing whole is left to read. */
static bool next_reply(struct session *s)
{
	size_t used = 0;
	struct slice in = stream_input(s->stream);
	/* What comes in clear text behind the reply to STARTTLS was said by nobody (RFC 3207, 5).
	 */
	bool is_deaf = s->asks || s->state == SESSION_HANDSHAKE;
	if (is_deaf || (in.len == 0 && !reply_is_pending(&s->reply))) {
		return false;
	}
	int r = reply_feed(&s->reply, in, &used);
	stream_consume(s->stream, used);
	if (r == ERR_LATER) {
		s->asks = true;
	}
	if (r == ERR_AGAIN || r == ERR_LATER) {
		return false;
	}
	note_reply(s);
	if (r != 0) {
		broken(s, r);
		return false;
	}
	s->has_reply = true;
	take_reply(s);
	return true;
}

/* The reply is done with, unless a table has still to say what it means. */
static void forget_reply(struct session *s)
{
	if (!s->asks) {
		s->has_reply = false;
		reply_reset(&s->reply);
		later_clear(&s->later);
	}
}

static void read_on(struct session *s)
{
	bool gone = false;
	s->gone = &gone;
	while (next_reply(s)) {
		if (gone) {
			return;
		}
		forget_reply(s);
	}
	if (gone) {
		return;
	}
	s->gone = NULL;
}

static void on_input(struct stream *stream, void *arg)
{
	read_on(arg);
}

/* A table has answered. */
static void on_answer(void *arg)
{
	struct session *s = arg;
	bool gone = false;
	s->asks = false;
	if (s->has_reply) {
		s->gone = &gone;
		take_reply(s);
		if (gone) {
			return;
		}
		s->gone = NULL;
		forget_reply(s);
	}
	read_on(s);
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
		kept_end(s, err == ERR_TIMEOUT);
	} else if (s->state == SESSION_CONNECTING && !s->connected) {
		end_of_connecting(s, err, saved);
	} else {
		broken(s, err);
	}
}
