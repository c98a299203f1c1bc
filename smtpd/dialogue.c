/* SPDX-License-Identifier: ISC */
#include "smtpd/dialogue.h"

#include "smtp/ehlo.h"
#include "smtpd/auth.h"
#include "smtpd/gate.h"
#include "smtpd/inquiry.h"
#include "smtpd/limits.h"
#include "smtpd/proxy.h"
#include "smtpd/report.h"
#include "smtpd/starttls.h"
#include "smtpd/transcript.h"
#include "util/err.h"
#include "util/log.h"

enum {
	OUT_HIGH = 32768, /* unread replies at which no more commands are carried out */
	LINE_COPY = 65536
};

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
	bool hide = is_secret(s, line) || (c.verb == SMTP_UNKNOWN && s->auth_tried);
	transcript_in(s, hide ? SLICE_LIT("(not shown)") : line, c.verb);
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

void dialogue_run(void *arg)
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

const struct stream_events dialogue_events = {on_input, on_drained, on_end};
