/* SPDX-License-Identifier: ISC */
#include "smtp/ehlo.h"
#include "smtpd/auth.h"
#include "smtpd/content.h"
#include "smtpd/etrn.h"
#include "smtpd/gate.h"
#include "smtpd/limits.h"
#include "smtpd/session.h"
#include "smtpd/starttls.h"
#include "smtpd/xclient.h"
#include "util/log.h"
#include "util/mem.h"

static void done(struct session *s, enum smtp_verb verb, bool good, const char *reply)
{
	session_count(s, verb, good);
	session_reply(s, "%s", reply);
}

/* Commands that cost us work and bring no mail: after so many each is an error. */
static void count_junk(struct session *s, enum smtp_verb verb)
{
	switch (verb) {
	case SMTP_HELO:
	case SMTP_EHLO:
	case SMTP_RSET:
	case SMTP_NOOP:
	case SMTP_VRFY:
	case SMTP_EXPN:
	case SMTP_HELP:
	case SMTP_ETRN:
		if (s->junk++ > s->bounds->junk)
			s->errors++;
		break;
	default: break;
	}
}

static void reset(struct session *s)
{
	transaction_free(&s->transaction);
	xforward_clear(s);
	s->bdat_failed = false;
}

/* "250-" before each line but the last. */
static void answer_ehlo(struct session *s)
{
	struct buf lines = BUF_INIT(16384);

	auth_add_ehlo(s, &lines);
	xclient_add_ehlo(s, &lines);
	size_t extra = lines.len;
	settings_add_ehlo(&lines, s->hidden);
	if (extra > 0 && lines.len == extra) {
		ptrdiff_t last =
			slice_find_last(slice_first(buf_slice(&lines), lines.len - 2), '\n');

		lines.data[lines.start + (size_t)(last + 1) + 3] = ' ';
	}
	if (lines.len == 0)
		session_reply(s, "250 %s", settings.hostname);
	else
		session_reply_lines(s, buf_str(&lines), "250-%s", settings.hostname);
	buf_clear(&lines);
}

static void helo_decided(struct session *s, const struct policy_verdict *v, struct slice name)
{
	bool is_ehlo = s->verb == SMTP_EHLO;

	session_count(s, s->verb, v->action == POLICY_PERMIT);
	if (v->action == POLICY_REJECT) {
		evaluation_refuse(s, v);
		return;
	}
	reset(s);
	mem_free(s->helo);
	s->helo = slice_dup(name);
	s->esmtp = is_ehlo;
	if (s->esmtp)
		answer_ehlo(s);
	else
		session_reply(s, "250 %s", settings.hostname);
}

static void helo(struct session *s, const struct smtp_command *c)
{
	struct buf name = BUF_INIT(256), reply = BUF_INIT(256);

	s->verb = c->verb;
	if (smtp_helo_parse(c->verb, c->args, &name, &reply) != 0)
		done(s, c->verb, false, buf_str(&reply));
	else
		evaluation_begin(s, POLICY_HELO, buf_slice(&name), helo_decided);
	buf_clear(&name);
	buf_clear(&reply);
}

static void mail(struct session *s, struct slice args)
{
	if (settings.helo_required && s->helo == NULL && !s->is_local)
		done(s, SMTP_MAIL, false, "503 5.5.1 Error: send HELO/EHLO first");
	else if (s->transaction != NULL)
		done(s, SMTP_MAIL, false, "503 5.5.1 Error: nested MAIL command");
	else
		transaction_mail(s, args);
}

static void rset(struct session *s, struct slice args)
{
	if (args.len > 0) {
		done(s, SMTP_RSET, false, "501 5.5.4 Syntax: RSET");
		return;
	}
	if (s->bounds->rsets > 0 && ++s->rsets > s->bounds->rsets) {
		session_count(s, SMTP_RSET, false);
		session_end(s, "421 4.7.0 %s Error: too many RSET commands", settings.hostname);
		return;
	}
	reset(s);
	done(s, SMTP_RSET, true, "250 2.0.0 Ok");
}

static void quit(struct session *s)
{
	session_count(s, SMTP_QUIT, true);
	session_end(s, "221 2.0.0 Bye");
}

/* "Subject: x" and its like: this is a message or a web request, not a client. */
static bool is_header(struct slice word)
{
	ptrdiff_t colon = slice_find(word, ':');

	return colon > 0 && slice_is_printable(slice_first(word, (size_t)colon));
}

/* A table that fails forbids nothing. */
static bool is_forbidden(const struct smtp_command *c)
{
	return is_header(c->word) || match_domain(settings.forbidden_words, c->word, NULL) == 0;
}

static void unknown(struct session *s, struct slice line, const struct smtp_command *c)
{
	if (c->word.len == 0) {
		done(s, SMTP_UNKNOWN, false, "500 5.5.2 Error: bad syntax");
	} else if (is_forbidden(c)) {
		log_warning("non-SMTP command from %s: %s", s->namaddr,
			s->auth_tried ? "(not shown)" : log_q(line));
		session_count(s, SMTP_UNKNOWN, false);
		gate_error(s);
		session_end(s, "221 2.7.0 Error: I can break rules, too. Goodbye.");
	} else {
		done(s, SMTP_UNKNOWN, false, "500 5.5.2 Error: command not recognized");
	}
}

static void etrn(struct session *s, struct slice args)
{
	if ((s->discarded & EHLO_ETRN) != 0)
		done(s, SMTP_ETRN, false, "502 5.5.1 Error: command not implemented");
	else
		etrn_command(s, args);
}

/* smtpd_noop_commands: of our own, too. */
static bool is_ignored(struct session *s, const struct smtp_command *c)
{
	if (c->word.len == 0 || match_domain(settings.noop_words, c->word, NULL) != 0)
		return false;
	if (c->verb != SMTP_NOOP)
		count_junk(s, SMTP_NOOP);
	done(s, SMTP_NOOP, true, "250 2.0.0 Ok");
	return true;
}

void command_carry_out(struct session *s, struct slice line, const struct smtp_command *c)
{
	switch (c->verb) {
	case SMTP_HELO:
	case SMTP_EHLO: helo(s, c); break;
	case SMTP_MAIL: mail(s, c->args); break;
	case SMTP_RCPT: transaction_rcpt(s, c->args); break;
	case SMTP_DATA: content_data(s, c->args); break;
	case SMTP_BDAT: content_bdat(s, line, c->args); break;
	case SMTP_RSET: rset(s, c->args); break;
	case SMTP_NOOP: done(s, SMTP_NOOP, true, "250 2.0.0 Ok"); break;
	case SMTP_VRFY:
	case SMTP_EXPN: transaction_verify(s, c->verb, c->args); break;
	case SMTP_QUIT: quit(s); break;
	case SMTP_HELP:
		done(s, SMTP_HELP, true,
			"214 2.0.0 Commands: BDAT DATA EHLO ETRN HELO HELP MAIL NOOP "
			"QUIT "
			"RCPT RSET VRFY");
		break;
	case SMTP_AUTH: auth_command(s, c->args); break;
	case SMTP_XCLIENT: xclient_command(s, c->args); break;
	case SMTP_XFORWARD: xforward_command(s, c->args); break;
	case SMTP_STARTTLS: starttls_command(s, c->args); break;
	case SMTP_ETRN: etrn(s, c->args); break;
	default: unknown(s, line, c); break;
	}
}

void command_run(struct session *s, struct slice line, const struct smtp_command *c, bool bare)
{
	const char *refusal = starttls_refusal(s, c->verb);

	if (starttls_turn_away(s))
		return;
	s->where = smtp_verb_name(c->verb);
	count_junk(s, c->verb);
	if (bare && content_refuses_bare_lf(s)) {
		session_count(s, c->verb, false);
		session_end(s, "%d 5.5.2 %s Error: bare <LF> received", settings.bare_lf_code,
			settings.hostname);
	} else if (s->is_denied && c->verb != SMTP_QUIT) {
		char *reply = mem_fmt("503 5.7.0 Error: access denied for %s", s->namaddr);

		session_count(s, c->verb, false);
		session_reply_refusal(s, slice_str(reply));
		mem_free(reply);
	} else if (settings.utf8 && !slice_is_utf8(line)) {
		done(s, c->verb, false, "500 5.5.2 Error: bad UTF-8 syntax");
	} else if (refusal != NULL) {
		session_count(s, c->verb, false);
		session_reply_refusal(s, slice_str(refusal));
	} else if (!is_ignored(s, c) && !limits_hold_up(s, line, c->verb)) {
		command_carry_out(s, line, c);
	}
}
