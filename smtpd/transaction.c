/* SPDX-License-Identifier: ISC */
#include "smtpd/transaction.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "conf/conf.h"
#include "mail/verp.h"
#include "queue/envelope.h"
#include "server/counters.h"
#include "smtpd/content.h"
#include "smtpd/farewell.h"
#include "smtpd/inquiry.h"
#include "smtpd/recipient.h"
#include "smtpd/limits.h"
#include "smtpd/report.h"
#include "smtpd/session.h"
#include "smtpd/starttls.h"
#include "smtpd/xclient.h"
#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"
#include "util/wire.h"

enum { LOG_LIMIT = 65536, EFFECTS_LIMIT = 65536, HEADER_FROM_LIMIT = 65536, TRACE_LIMIT = 4096 };

static unsigned serial;

struct transaction *transaction_new(struct session *s)
{
	struct transaction *t = mem_alloc(sizeof(*t));

	t->session = s;
	buf_init(&t->sender, ADDRESS_LIMIT);
	buf_init(&t->log, LOG_LIMIT);
	buf_init(&t->effects, EFFECTS_LIMIT);
	buf_init(&t->header_from, HEADER_FROM_LIMIT);
	(void)snprintf(t->instance, sizeof(t->instance), "%x.%llx.%x", (unsigned)getpid(),
		(unsigned long long)clock_real(), ++serial);
	return t;
}

/* What a message's first line says behind its queue id. */
static void first_line(const struct transaction *t, struct buf *line)
{
	const struct session *s = t->session;
	struct buf from = BUF_INIT(4096);

	if (s->is_local) {
		address_add_external(&from, buf_slice(&t->sender));
		(void)buf_add_fmt(line, "uid=%u from=<", (unsigned)s->uid);
		log_quote(line, buf_slice(&from), ADDRESS_LIMIT);
		(void)buf_add_char(line, '>');
	} else {
		(void)buf_add_fmt(line, "client=%s", s->namaddr);
		xforward_add_log(s, line);
	}
	if (s->login != NULL)
		(void)buf_add_fmt(line, ", sasl_method=%s, sasl_username=%s",
			s->sasl_method != NULL ? s->sasl_method : "", log_qs(s->login));
	if (t->sasl_sender != NULL)
		(void)buf_add_fmt(line, ", sasl_sender=%s", log_qs(t->sasl_sender));
	buf_clear(&from);
}

/* It ended before its queue id came: its lines wait for that alone. False: there is nothing to wait
 * for. */
static bool part(struct transaction *t)
{
	struct session *s = t->session;
	struct buf first = BUF_INIT(LOG_LIMIT);

	if (t->message == NULL || *message_queue_id(t->message) != '\0')
		return false;
	first_line(t, &first);
	if (!farewell_begin(&s->farewell, t->message, s->is_local, &first, &t->log)) {
		buf_clear(&first);
		return false;
	}
	buf_init(&t->log, LOG_LIMIT);
	t->message = NULL;
	return true;
}

void transaction_free(struct transaction **tp)
{
	struct transaction *t = *tp;

	*tp = NULL;
	if (t == NULL)
		return;
	if (!part(t))
		farewell_lines(&t->log, "NOQUEUE");
	message_free(&t->message);
	buf_clear(&t->sender);
	buf_clear(&t->effects);
	buf_clear(&t->header_from);
	mem_free(t->only_recipient);
	mem_free(t->failure);
	mem_free(t->sasl_sender);
	mem_free(t);
}

const char *transaction_id(const struct session *s)
{
	const struct transaction *t = s->transaction;
	const char *id = t != NULL && t->message != NULL ? message_queue_id(t->message) : "";

	return *id != '\0' ? id : "NOQUEUE";
}

void transaction_log(struct session *s, struct slice line)
{
	struct transaction *t = s->transaction;

	/* The id of a message that is being opened is on its way. */
	if (t != NULL && t->message != NULL && *message_queue_id(t->message) == '\0') {
		(void)buf_add_slice(&t->log, line);
		(void)buf_add_char(&t->log, '\n');
	} else {
		log_info("%s: %.*s", transaction_id(s), SLICE_FMT(line));
	}
}

void transaction_warn(struct session *s, const char *text)
{
	struct transaction *t = s->transaction;

	if (t->message != NULL && *message_queue_id(t->message) == '\0')
		(void)buf_add_fmt(&t->log, FAREWELL_WARNING "%s\n", text);
	else
		log_warning("%s: %s", transaction_id(s), text);
}

/* Effects. */

static void send_effects(struct transaction *t)
{
	struct reader in = reader_of(buf_slice(&t->effects));

	while (in.in.len > 0) {
		enum policy_note_kind kind = (enum policy_note_kind)reader_u8(&in);

		message_action(t->message, kind, reader_counted(&in, in.in.len));
	}
	buf_clear(&t->effects);
}

void transaction_effect(struct transaction *t, enum policy_note_kind kind, struct slice value)
{
	t->is_held = t->is_held || kind == POLICY_HOLD;
	t->is_discarded = t->is_discarded || kind == POLICY_DISCARD;
	wire_u8(&t->effects, (uint8_t)kind);
	wire_counted(&t->effects, value);
	if (t->message != NULL)
		send_effects(t);
}

static void warn_syntax(struct session *s, const char *command, struct slice shown)
{
	if (!s->is_local)
		log_warning("Illegal address syntax from %s in %s command: %s", s->namaddr, command,
			log_q(shown));
}

/* What cleanup says. */

static void on_opened(void *arg)
{
	struct session *s = arg;
	struct transaction *t = s->transaction;
	const char *id = message_queue_id(t->message);
	struct buf line = BUF_INIT(LOG_LIMIT);

	first_line(t, &line);
	farewell_first(s->is_local, id, buf_str(&line));
	buf_clear(&line);
	farewell_lines(&t->log, id);
	evaluation_opened(s);
}

static void on_room(void *arg)
{
	struct session *s = arg;

	if (s->state != CONTENT && s->state != CHUNK)
		return;
	stream_read(s->stream, true);
	loop_soon(&s->run);
}

static void on_done(void *arg)
{
	struct session *s = arg;
	struct transaction *t = s->transaction;

	counters_add(COUNTER_MESSAGES, 1);
	s->errors = s->junk = 0;
	session_count(s, t->bdat ? SMTP_BDAT : SMTP_DATA, true);
	limits_bytes(s, t->decoder.size);
	if (t->bdat)
		session_reply(s, "250 2.0.0 Ok: %llu bytes queued as %s",
			(unsigned long long)t->decoder.size, message_queue_id(t->message));
	else
		session_reply(s, "250 2.0.0 Ok: queued as %s", message_queue_id(t->message));
	transaction_free(&s->transaction);
	xforward_clear(s);
	session_go_on(s);
}

static void on_failed(int code, const char *status, struct slice text, void *arg)
{
	struct session *s = arg;
	struct transaction *t = s->transaction;
	char *reply = mem_fmt("%d %s %.*s", code, status, SLICE_FMT(text));

	if (s->state == WAITING && t->has_content && s->evaluation == NULL) {
		transaction_fail(s, reply);
		session_go_on(s);
	} else if (t->failure == NULL) {
		/* Said when the client has sent its content. */
		t->failure = mem_str(reply);
		on_room(s);
		evaluation_opened(s);
	}
	mem_free(reply);
}

static void on_facts(struct message_facts *f, void *arg)
{
	struct session *s = arg;

	content_facts(s, f);
}

static void on_doubt(void *arg)
{
	struct session *s = arg;

	log_warning(
		"%s: in doubt: cleanup was lost before it answered; closing without a reply to %s",
		transaction_id(s), s->namaddr);
	session_drop(s);
}

static const struct message_events events = {
	on_opened, on_room, on_facts, on_done, on_failed, on_doubt};

void transaction_fail(struct session *s, const char *reply)
{
	session_count(s, s->transaction->bdat ? SMTP_BDAT : SMTP_DATA, false);
	session_reply_text(s, slice_str(reply));
	transaction_free(&s->transaction);
	xforward_clear(s);
}

/* MAIL. */

/* A MAIL that is refused before or after its arguments were read. */
static bool refuse_mail(struct session *s)
{
	uint64_t size = s->transaction->size;
	static const char *const too_large = "552 5.3.4 Message size exceeds fixed limit";
	static const char *const no_space = "452 4.3.1 Insufficient system storage";
	uint64_t free_bytes = 0;
	const char *reply = NULL;

	if (s->is_local && !settings_may_submit(s->uid))
		reply = "550 5.7.1 Error: you are not authorized to submit mail";
	else if (session_size_limit(s) > 0 && size > session_size_limit(s))
		reply = session_too_large(s, size, too_large);
	else if (author_is_full(&free_bytes) || size > free_bytes)
		reply = no_space;
	if (reply == NULL)
		return false;
	report_refusal(s, slice_str(reply));
	session_count(s, SMTP_MAIL, false);
	session_reply(s, "%s", reply);
	transaction_free(&s->transaction);
	return true;
}

/* NULL: there is none. */
static char *sasl_sender_of(const struct smtp_mail *m)
{
	struct buf text = BUF_INIT(ADDRESS_LIMIT);
	char *sender = NULL;

	if (m->auth.len > 0 && address_xtext_decode(&text, m->auth) == 0)
		sender = slice_dup(buf_slice(&text));
	buf_clear(&text);
	return sender;
}

/* The time runs from MAIL on. One that is over was told of by who has sent it here. */
static void keep_by(struct transaction *t, const struct smtp_mail *m)
{
	if (m->by == SMTP_BY_NONE)
		return;
	t->deadline = clock_real() + m->by_time * CLOCK_SEC;
	t->by = (m->by == SMTP_BY_NOTIFY ? QUEUE_FLAG_BY_NOTIFY : 0) |
		(m->by_time <= 0 ? QUEUE_FLAG_BY_TOLD : 0) |
		(m->by_trace ? QUEUE_FLAG_BY_TRACE : 0);
}

static void keep_mail(struct transaction *t, const struct smtp_mail *m)
{
	t->size = m->size;
	t->utf8 = m->utf8;
	t->requiretls = m->requiretls;
	t->verify = m->verify;
	t->trace = m->trace;
	t->body = m->body;
	t->ret = m->ret;
	t->sasl_sender = sasl_sender_of(m);
	keep_by(t, m);
	memcpy(t->envid, m->envid.p != NULL ? m->envid.p : "", m->envid.len);
	t->envid[m->envid.len] = '\0';
}

static void mail_decided(struct session *s, const struct policy_verdict *v, struct slice subject)
{
	(void)subject;
	session_count(s, SMTP_MAIL, v->action == POLICY_PERMIT);
	if (v->action == POLICY_PERMIT) {
		session_reply(s, "250 2.1.0 Ok");
	} else {
		transaction_free(&s->transaction);
		evaluation_refuse(s, v);
	}
}

/* 0; ERR_TEMP: refused; ERR_LATER. */
static int ask_completes(struct session *s)
{
	struct policy_facts f;
	int err;

	if (s->is_local)
		return 0;
	evaluation_facts(s, &f);
	err = policy_completes_headers(settings.policy, &f, inquiry_later(s));
	s->transaction->completes = err == 0;
	if (err == ERR_LATER)
		return err;
	inquiry_cancel(s);
	if (err == 0 || err == ERR_NOT_FOUND)
		return 0;
	log_warning("local_header_rewrite_clients: lookup error for %s", s->namaddr);
	session_count(s, SMTP_MAIL, false);
	session_reply(s, "451 4.3.0 Temporary lookup error");
	transaction_free(&s->transaction);
	return err;
}

static void begin_mail(struct session *s, struct slice nothing)
{
	int err = ask_completes(s);

	if (err == ERR_LATER)
		inquiry_wait(s, nothing, begin_mail);
	else if (err == 0 && !refuse_mail(s))
		evaluation_begin(s, POLICY_MAIL, SLICE_NONE, mail_decided);
}

static unsigned options_of(const struct session *s)
{
	return s->options | (s->may_verp ? SMTP_OPT_XVERP : 0) |
	       (s->is_local ? SMTP_OPT_REPORTS : 0);
}

/* Delimiters, and a sender that they can be put into. */
static int verp_of(const struct smtp_mail *m, char verp[3], struct buf *reply)
{
	struct slice filter = slice_str(conf_str(P_verp_delimiter_filter));
	struct slice chosen =
		m->verp.len > 0 ? m->verp : slice_str(conf_str(P_default_verp_delimiters));

	if (!m->has_verp)
		return 0;
	buf_reset(reply);
	if (!verp_is_good(chosen, filter))
		(void)buf_add_fmt(reply, "501 5.5.4 Error: XVERP needs two characters from %.*s",
			SLICE_FMT(filter));
	else if (m->sender->len == 0)
		(void)buf_add_str(reply, "503 5.5.4 Error: XVERP requires non-null sender");
	else
		memcpy(verp, chosen.p, chosen.len);
	return reply->len > 0 ? ERR_SYNTAX : 0;
}

/* RFC 2852, 4: what cannot be promised is not taken on. */
static int check_by(const struct smtp_mail *m, struct buf *reply)
{
	if (m->by != SMTP_BY_RETURN || m->by_time >= settings.deliver_by_min)
		return 0;
	buf_reset(reply);
	(void)buf_add_fmt(reply, "555 5.5.4 Error: BY with mode R needs at least %lld seconds",
		(long long)settings.deliver_by_min);
	return ERR_SYNTAX;
}

void transaction_mail(struct session *s, struct slice args)
{
	struct transaction *t = transaction_new(s);
	struct buf reply = BUF_INIT(1024);
	struct smtp_mail m = {.sender = &t->sender};
	bool bad_address = false;
	int err = smtp_mail_parse(args, options_of(s), &m, &bad_address, &reply);

	if (err == 0)
		err = verp_of(&m, t->verp, &reply);
	if (err == 0)
		err = check_by(&m, &reply);
	if (err != 0) {
		if (bad_address)
			warn_syntax(s, "MAIL", m.shown);
		session_count(s, SMTP_MAIL, false);
		session_reply_text(s, buf_slice(&reply));
		transaction_free(&t);
	} else {
		keep_mail(t, &m);
		s->transaction = t;
		s->bdat_failed = false;
		begin_mail(s, SLICE_NONE);
	}
	buf_clear(&reply);
}

/* RFC 3848. */
static const char *protocol_of(const struct session *s)
{
	if (s->login != NULL)
		return s->tls != NULL ? "ESMTPSA" : "ESMTPA";
	if (!s->esmtp)
		return "SMTP";
	return s->tls != NULL ? "ESMTPS" : "ESMTP";
}

/* The message is opened. False: there is no cleanup just now. */
static bool open_message(struct session *s)
{
	struct transaction *t = s->transaction;
	struct message_spec spec = {
		.sender = buf_slice(&t->sender),
		.client_name = s->is_local ? SLICE_NONE : slice_str(s->name),
		.client_addr = slice_str(s->addr),
		.helo = slice_str(s->helo),
		.protocol = slice_str(protocol_of(s)),
		.login = slice_str(s->login),
		.envid = slice_str(t->envid),
		.verp = slice_str(t->verp),
		.flags = (t->utf8 ? QUEUE_FLAG_SMTPUTF8 : 0) |
			 (t->requiretls ? QUEUE_FLAG_REQUIRETLS : 0) | t->by |
			 (t->verify ? QUEUE_FLAG_PROBE : 0) |
			 (t->verify || t->trace ? QUEUE_FLAG_TRACE : 0) |
			 (s->is_local ? QUEUE_FLAG_LOCAL : 0) |
			 (t->completes ? QUEUE_FLAG_COMPLETE : 0) |
			 (s->login != NULL && settings.show_login ? QUEUE_FLAG_SHOW_LOGIN : 0),
		.deadline = (uint64_t)t->deadline,
		.client_port = s->port,
		.uid = s->uid,
		.ret = t->ret,
		.body = t->body,
		.size = t->size,
		.is_local = s->is_local,
	};

	xforward_fill(s, &spec);
	if (t->message == NULL) {
		struct buf trace = BUF_INIT(TRACE_LIMIT);

		starttls_trace(s, &trace);
		spec.trace = trace.len > 0 ? buf_slice(&trace) : SLICE_NONE;
		t->message = message_open(&spec, &events, s);
		buf_clear(&trace);
	}
	if (t->message != NULL)
		send_effects(t);
	return t->message != NULL;
}

static void keep_only(struct transaction *t, struct slice recipient)
{
	mem_free(t->only_recipient);
	t->only_recipient = t->recipients++ == 0 ? slice_dup(recipient) : NULL;
}

bool transaction_add(struct session *s, struct slice recipient, struct slice orcpt, unsigned notify)
{
	if (!open_message(s) || !message_rcpt(s->transaction->message, recipient, orcpt, notify))
		return false;
	keep_only(s->transaction, recipient);
	return true;
}

/* RCPT. */

static const char *rcpt_out_of_order(const struct session *s)
{
	if (s->transaction == NULL)
		return "503 5.5.1 Error: need MAIL command";
	return s->transaction->bdat || s->bdat_failed ? "503 5.5.1 Error: RCPT after BDAT" : NULL;
}

static bool is_safe(const struct session *s)
{
	struct policy_facts f;

	evaluation_facts(s, &f);
	return policy_is_safe(settings.policy, &f);
}

/* Over the limit: not an error of the session before it is far over it. Safe clients have none. */
static bool is_over_limit(struct session *s)
{
	struct transaction *t = s->transaction;
	bool overshoot = t->over < settings.rcpt_overshoot;

	if (t->recipients < settings.rcpt_limit || s->is_local || is_safe(s))
		return false;
	t->over++;
	session_count(s, SMTP_RCPT, overshoot);
	session_reply(s, "452 4.5.3 Error: too many recipients");
	return true;
}

void transaction_rcpt(struct session *s, struct slice args)
{
	struct buf recipient = BUF_INIT(ADDRESS_LIMIT), reply = BUF_INIT(1024);
	struct smtp_rcpt r = {.recipient = &recipient};
	const char *order = rcpt_out_of_order(s);
	bool bad_address = false;

	if (order != NULL) {
		session_count(s, SMTP_RCPT, false);
		session_reply(s, "%s", order);
	} else if (smtp_rcpt_parse(
			   args, s->options, s->transaction->utf8, &r, &bad_address, &reply) != 0) {
		if (bad_address)
			warn_syntax(s, "RCPT", r.shown);
		session_count(s, SMTP_RCPT, false);
		session_reply_text(s, buf_slice(&reply));
	} else if (!is_over_limit(s)) {
		recipient_begin(s, buf_slice(&recipient), r.orcpt, r.notify);
	}
	buf_clear(&recipient);
	buf_clear(&reply);
}

void transaction_verify(struct session *s, enum smtp_verb verb, struct slice args)
{
	struct buf address = BUF_INIT(ADDRESS_LIMIT), reply = BUF_INIT(1024);
	const char *name = smtp_verb_name(verb);
	bool bad_address = false;

	if (!(verb == SMTP_EXPN ? settings.expn : settings.vrfy)) {
		session_count(s, verb == SMTP_EXPN ? SMTP_UNKNOWN : verb, false);
		session_reply(s, "502 5.5.1 %s command is disabled", name);
	} else if (smtp_vrfy_parse(args, s->options, &address, &bad_address, &reply) != 0) {
		if (bad_address)
			warn_syntax(s, name, args);
		session_count(s, verb, false);
		session_reply_text(s, buf_slice(&reply));
	} else {
		recipient_verify(s, verb, buf_slice(&address));
	}
	buf_clear(&address);
	buf_clear(&reply);
}
