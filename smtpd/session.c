/* SPDX-License-Identifier: ISC */
#include "smtpd/session.h"

#include <stdio.h>
#include <sys/socket.h>

#include "server/counters.h"
#include "smtp/ehlo.h"
#include "smtpd/auth.h"
#include "smtpd/farewell.h"
#include "smtpd/footer.h"
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

enum {
	IN_LIMIT = 32768,
	OUT_LIMIT = 131072,
	OUT_HIGH = 32768, /* unread replies at which no more commands are carried out */
	REPLY_LIMIT = 4096,
	LINE_COPY = 65536
};

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

static void say_awaited(struct session *s);

/* Whatever is gathered is still sent. The memory goes at the end of the iteration. */
void session_drop(struct session *s)
{
	if (s->state != CLOSED)
		say_awaited(s);
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

/* The command that was under way has failed. */
static void count_unfinished(struct session *s)
{
	if (s->state == CONTENT || s->state == CHUNK)
		session_count(s, s->state == CONTENT ? SMTP_DATA : SMTP_BDAT, false);
}

static void lost(struct session *s)
{
	count_unfinished(s);
	report_lost(s, "lost connection");
	session_drop(s);
}

/* Replies. */

static void soften(char *line, size_t len)
{
	if (line[0] != '5')
		return;
	line[0] = '4';
	if (len > 6 && line[4] == '5' && line[5] == '.')
		line[4] = '4';
}

/* soft_bounce. */
static void soften_lines(char *text, size_t len)
{
	for (char *end = text + len, *next; text < end; text = next) {
		next = memchr(text, '\n', (size_t)(end - text));
		next = next != NULL ? next + 1 : end;
		soften(text, (size_t)(next - text));
	}
}

static void write_reply(struct session *s, char *text, size_t len)
{
	if (settings.soft_bounce && !s->is_local)
		soften_lines(text, len);
	transcript_out(s, slice_of(text, len));
	if (!s->sleeping && s->errors >= s->bounds->soft_errors && s->bounds->error_sleep > 0) {
		s->sleeping = true;
		loop_timer_set(&s->sleep, loop_now() + s->bounds->error_sleep);
	}
	/* A client that reads no replies is cut off when they come to the limit. */
	int err = s->sleeping ? buf_add(&s->held, text, len) : stream_write(s->stream, text, len);
	if (err != 0)
		session_drop(s);
}

static void write_copy(struct session *s, struct slice reply)
{
	char *text = slice_dup(reply);

	write_reply(s, text, reply.len);
	mem_free(text);
}

/* What comes now must not overtake it. */
static void say_awaited(struct session *s)
{
	struct buf out = BUF_INIT(FOOTER_REPLY_LIMIT);

	if (s->footer != NULL) {
		footer_take(s, &out);
		write_copy(s, buf_slice(&out));
	}
	buf_clear(&out);
}

void session_footer_ready(struct session *s, struct slice text)
{
	write_copy(s, text);
	if (s->state != CLOSED)
		loop_soon(&s->run);
}

static void reply_bytes(struct session *s, char *text, size_t len)
{
	struct buf out = BUF_INIT(FOOTER_REPLY_LIMIT);

	/* Between the last word in clear and the first one inside of TLS there is none. */
	if (starttls_is_awaited(s) || (s->has_begun_tls && s->tls == NULL))
		return;
	say_awaited(s);
	if (s->state == CLOSED)
		return;
	if (!footer_is_wanted(s, slice_of(text, len)))
		write_reply(s, text, len);
	else if (footer_add(s, slice_of(text, len), &out) == 0)
		write_copy(s, buf_slice(&out));
	buf_clear(&out);
}

void session_reply_refusal(struct session *s, struct slice text)
{
	char line[REPLY_LIMIT];
	size_t len = text.len < sizeof(line) - 2 ? text.len : sizeof(line) - 2;

	memcpy(line, text.p, len);
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)line[i] < 32 || line[i] == 127)
			line[i] = '?';
	memcpy(line + len, "\r\n", 2);
	if (log_is_debug())
		log_debug("> %s: %s", s->namaddr != NULL ? s->namaddr : "unknown",
			slice_starts(text, "334 ") ? "334 (not shown)"
						   : log_q(slice_of(line, len)));
	reply_bytes(s, line, len + 2);
}

/* What smtpd_ban_errors counts; 5xx alone would count what is refused for better reasons. */
static bool is_protocol_error(struct slice text)
{
	uint64_t code = 0;

	return slice_u64(slice_first(text, 3), 0, 999, &code) == 0 &&
	       ((code >= 500 && code <= 504) || code == 555);
}

void session_reply_text(struct session *s, struct slice text)
{
	transcript_class(s, mail_class_of_reply(text, false));
	session_reply_refusal(s, text);
	if (s->state != CLOSED && is_protocol_error(text))
		gate_error(s);
}

static void reply_va(struct session *s, const char *fmt, va_list ap)
	__attribute__((format(printf, 2, 0)));

static void reply_va(struct session *s, const char *fmt, va_list ap)
{
	char text[REPLY_LIMIT];
	int n = vsnprintf(text, sizeof(text), fmt, ap);

	if (n >= (int)sizeof(text))
		n = (int)sizeof(text) - 1;
	session_reply_text(s, slice_of(text, n > 0 ? (size_t)n : 0));
}

void session_reply(struct session *s, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	reply_va(s, fmt, ap);
	va_end(ap);
}

void session_reply_lines(struct session *s, const char *lines, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	reply_va(s, fmt, ap);
	va_end(ap);
	char *copy = mem_str(lines);
	reply_bytes(s, copy, strlen(copy));
	mem_free(copy);
}

void session_end(struct session *s, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	reply_va(s, fmt, ap);
	va_end(ap);
	session_drop(s);
}

static void slept(void *arg)
{
	struct session *s = arg;

	s->sleeping = false;
	if (stream_write_slice(s->stream, buf_slice(&s->held)) != 0) {
		session_drop(s);
		return;
	}
	buf_clear(&s->held);
	loop_soon(&s->run);
}

void session_count(struct session *s, enum smtp_verb verb, bool good)
{
	s->count[verb].all++;
	if (good)
		s->count[verb].ok++;
	else
		s->errors++;
}

/* Commands. */

/* Commands behind which a client must wait for the reply (RFC 2920, 3.1). */
static bool ends_group(enum smtp_verb verb)
{
	switch (verb) {
	case SMTP_HELO:
	case SMTP_EHLO:
	case SMTP_STARTTLS:
	case SMTP_AUTH:
	case SMTP_DATA:
	case SMTP_NOOP:
	case SMTP_VRFY:
	case SMTP_XCLIENT: return true;
	default: return false;
	}
}

/* A client that talks ahead where it must not may be a web page or an injected command. */
static bool is_out_of_step(struct session *s, enum smtp_verb verb)
{
	struct slice more = stream_input(s->stream);

	if (more.len == 0 || verb == SMTP_UNKNOWN || s->is_local || s->is_pipelining)
		return false;
	if (s->esmtp && !ends_group(verb))
		return false;
	/* For reject_unauth_pipelining, where this alone does not end the session. */
	s->is_pipelining = true;
	/* Behind AUTH it is likely to be a password. */
	report_pipelining(s, verb, s->auth_tried ? SLICE_LIT("(not shown)") : more);
	if (!settings.strict_pipelining)
		return false;
	s->count[verb].all++;
	s->where = smtp_verb_name(verb);
	session_end(s, "554 5.5.0 Error: SMTP protocol synchronization");
	return true;
}

/* Whether the line that comes may hold a password: it is not shown to anybody. */
static bool is_secret(const struct session *s, struct slice line)
{
	return s->state == RESPONSE || slice_case_starts(slice_trim(line), "AUTH");
}

static size_t line_limit(const struct session *s)
{
	return is_secret(s, stream_input(s->stream)) &&
			       settings.response_limit > settings.line_limit
		       ? settings.response_limit
		       : settings.line_limit;
}

static void log_command(const struct session *s, struct slice line, const struct smtp_command *c)
{
	if (!log_is_debug())
		return;
	if (s->state == RESPONSE)
		log_debug("< %s: (a response of AUTH)", s->namaddr);
	else if (c->verb == SMTP_AUTH)
		log_debug("< %s: AUTH (not shown)", s->namaddr);
	else if (c->verb == SMTP_UNKNOWN && s->auth_tried)
		log_debug("< %s: (not shown)", s->namaddr);
	else
		log_debug("< %s: %s", s->namaddr, log_q(line));
}

/*
 * smtpd_command_filter: another line in the place of what came. 0; ERR_LATER; ERR_TEMP, and the
 * session has ended.
 */
static int filter_line(struct session *s, struct buf *other, struct slice *line)
{
	struct slice key = slice_trim(*line);
	bool hide = s->auth_tried || is_secret(s, *line);
	int err;

	if (settings.command_filter == NULL || s->state == RESPONSE || key.len == 0)
		return 0;
	err = map_list_find(settings.command_filter, key, inquiry_later(s), other);
	if (err == ERR_NOT_FOUND || err == ERR_LATER)
		return err == ERR_LATER ? err : 0;
	if (err != 0) {
		log_warning("smtpd_command_filter: lookup error for \"%s\"",
			hide ? "(not shown)" : log_q(slice_first(key, 100)));
		session_end(s, "421 4.3.0 %s Server local data error", settings.hostname);
		return err;
	}
	log_info("%s: replacing client command \"%s\" with \"%s\"", s->namaddr,
		hide ? "(not shown)" : log_q(key), hide ? "(not shown)" : log_q(buf_slice(other)));
	*line = buf_slice(other);
	return 0;
}

static void carry_out_line(struct session *s, struct slice line, bool bare)
{
	struct smtp_command c;

	smtp_command_parse(line, &c);
	s->auth_tried = s->auth_tried || c.verb == SMTP_AUTH;
	log_command(s, line, &c);
	transcript_in(s, is_secret(s, line) ? SLICE_LIT("(not shown)") : line, c.verb);
	if (s->state == RESPONSE)
		auth_line(s, line);
	else if (!is_out_of_step(s, c.verb))
		command_run(s, line, &c, bare);
}

static void use_line_again(struct session *s, struct slice line);
static void use_bare_line_again(struct session *s, struct slice line);

/* line is a copy that is overwritten afterwards. */
static void use_line(struct session *s, struct slice line, bool bare)
{
	struct buf other = BUF_SECRET(LINE_COPY);
	struct inquiry *inquiry = NULL;
	int err = filter_line(s, &other, &line);

	if (err == ERR_LATER) {
		inquiry_wait(s, line, bare ? use_bare_line_again : use_line_again);
	} else if (err == 0) {
		inquiry = inquiry_take(s);
		carry_out_line(s, line, bare);
		inquiry_free(&inquiry);
	}
	buf_clear(&other);
}

static void use_line_again(struct session *s, struct slice line)
{
	use_line(s, line, false);
}

static void use_bare_line_again(struct session *s, struct slice line)
{
	use_line(s, line, true);
}

static void long_line(struct session *s, int err)
{
	if (s->state == RESPONSE && err == ERR_LIMIT) {
		auth_long_line(s);
	} else if (err == ERR_RANGE) {
		session_end(s, "500 5.5.2 Error: line too long");
	} else if (err == ERR_LIMIT) {
		session_count(s, SMTP_UNKNOWN, false);
		session_reply(s, "500 5.5.2 Error: line too long");
	}
}

/* Takes one line. False: there is no whole one. */
static bool take_line(struct session *s)
{
	static char copy[LINE_COPY]; /* the stream's bytes go when they are consumed */
	struct slice line, in = stream_input(s->stream);
	size_t used;
	bool bare, fresh = s->lines.skipped == 0;
	int err = smtp_line_next(&s->lines, in, line_limit(s), &line, &bare, &used);

	if (err == 0) {
		line = slice_first(line, sizeof(copy));
		memcpy(copy, line.p, line.len);
		line.p = copy;
		if (is_secret(s, line) || s->auth_tried)
			stream_wipe(s->stream, used);
		else
			stream_consume(s->stream, used);
		use_line(s, line, bare);
		if (s->auth_tried)
			explicit_bzero(copy, line.len);
		return true;
	}
	if (fresh && used > 0 && !s->auth_tried && !is_secret(s, in))
		report_long_line(s, slice_first(in, 30));
	stream_wipe(s->stream, used);
	long_line(s, err);
	return err == ERR_LIMIT;
}

/* Takes one command. False: there is no whole line, or nothing more is to be done. */
static bool next_command(struct session *s)
{
	if (s->errors >= s->bounds->hard_errors && !s->is_local) {
		report_lost(s, "too many errors");
		session_end(s, "421 4.7.0 %s Error: too many errors", settings.hostname);
		return false;
	}
	if (s->end_soon && s->transaction == NULL) {
		session_end(s, "421 4.3.2 %s Service is being restarted", settings.hostname);
		return false;
	}
	return take_line(s);
}

/* The client must read replies before more is done for it; on_drained tells when it has. */
static bool is_blocked(struct session *s)
{
	if (stream_unsent(s->stream) > OUT_HIGH)
		stream_flush(s->stream);
	return s->state != CLOSED && stream_unsent(s->stream) > OUT_HIGH;
}

static bool step(struct session *s)
{
	if (s->sleeping || s->footer != NULL || s->state == CLOSED || is_blocked(s) ||
		s->state == CLOSED)
		return false;
	if (s->is_banned && s->state != WAITING && s->state != GREETING) {
		limits_cut(s);
		return false;
	}
	switch (s->state) {
	case COMMAND: return next_command(s);
	case RESPONSE: return take_line(s);
	case CONTENT:
	case CHUNK: return content_run(s);
	default: return false;
	}
}

static void run(struct session *s)
{
	bool moved = false;

	if (s->state == HANDSHAKE) {
		starttls_go_on(s);
		return;
	}
	while (step(s))
		moved = true;
	if (s->state == CLOSED)
		return;
	if (s->state == WAITING || s->state == GREETING || s->sleeping || s->footer != NULL)
		stream_deadline(s->stream, CLOCK_NEVER);
	else if (s->client_gone && s->state != GREETING && !is_blocked(s))
		lost(s);
	else if (s->state == CONTENT || s->state == CHUNK)
		stream_deadline(s->stream, s->content_deadline);
	else if ((s->state == COMMAND || s->state == RESPONSE) && moved)
		stream_deadline(s->stream, loop_now() + s->bounds->timeout);
}

static void run_task(void *arg)
{
	struct session *s = arg;

	/* As if something had moved: the deadline of the next command begins now. */
	if (s->state == COMMAND || s->state == RESPONSE)
		stream_deadline(s->stream, loop_now() + s->bounds->timeout);
	run(s);
}

void session_go_on(struct session *s)
{
	if (s->state == CLOSED)
		return;
	s->state = COMMAND;
	loop_soon(&s->run);
}

void session_await_response(struct session *s)
{
	if (s->state == CLOSED)
		return;
	s->state = RESPONSE;
	loop_soon(&s->run);
}

static void on_input(struct stream *stream, void *arg)
{
	struct session *s = arg;

	(void)stream;
	if (s->state == PROXY)
		proxy_input(s);
	else if (s->state == GREETING)
		gate_input(s);
	else
		run(s);
}

static void on_drained(struct stream *stream, void *arg)
{
	struct session *s = arg;

	(void)stream;
	loop_soon(&s->run);
}

static void on_end(struct stream *stream, int err, void *arg)
{
	struct session *s = arg;

	(void)stream;
	if (s->state == PROXY) {
		proxy_end(s, err);
	} else if (err == ERR_TIMEOUT) {
		count_unfinished(s);
		report_lost(s, "timeout");
		session_end(s, "421 4.4.2 %s Error: timeout exceeded", settings.hostname);
	} else if (err == ERR_CLOSED && s->state != GREETING && s->auth == NULL) {
		/* A client may end its half of the connection and still read: what it has said is
		 * carried out, even where the answer that it waits for has come just now. */
		s->client_gone = true;
		run(s);
	} else {
		if (s->state == GREETING)
			gate_gone(s);
		lost(s);
	}
}

static const struct stream_events events = {on_input, on_drained, on_end};

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
	loop_task_init(&s->run, run_task, s);
	loop_task_init(&s->reap, reap, s);
	loop_timer_init(&s->sleep, slept, s);
	buf_init(&s->held, OUT_LIMIT);
	s->stream = stream_new(fd, &events, s, IN_LIMIT, OUT_LIMIT);
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
