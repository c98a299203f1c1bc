/* SPDX-License-Identifier: ISC */
#include "smtp-client/xact.h"

#include "conf/conf.h"
#include "mail/mailclass.h"
#include "server/counters.h"
#include "smtp-client/body.h"
#include "smtp-client/command.h"
#include "smtp-client/kept.h"
#include "smtp-client/outcome.h"
#include "smtp-client/setting.h"
#include "smtp-client/starttls.h"
#include "smtp-client/transcript.h"
#include "smtp-client/xforward.h"
#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"

/*
 * Commands by their place: 0 RSET, 1 and 2 XFORWARD, 3 MAIL, then n RCPT, DATA, the final dot. What
 * is before "answered" has its reply, what is before "sent" is on its way. XFORWARD that is not
 * sent, and DATA where content goes by BDAT, count as answered.
 */
enum { AT_RSET, AT_CLIENT, AT_REST, AT_MAIL, AT_RCPT };

enum { GROUP_BYTES = 32 * 1024 /* of commands that are gathered */ };

static size_t at_data(const struct xact *x)
{
	return AT_RCPT + x->n;
}

static size_t at_dot(const struct xact *x)
{
	return at_data(x) + 1;
}

/* The place behind one, or behind it the first whose command is sent at all. */
static size_t skip(const struct xact *x, size_t at)
{
	if (at == AT_CLIENT && (x->forward & XFORWARD_CLIENT) == 0) {
		at++;
	}
	if (at == AT_REST && (x->forward & XFORWARD_REST) == 0) {
		at++;
	}
	return at;
}

bool xact_is_untouched(const struct xact *x)
{
	return x->answered == x->start;
}

void xact_free(struct xact **xp)
{
	struct xact *x = *xp;
	if (x == NULL) {
		return;
	}
	*xp = NULL;
	body_clear(x);
	mem_free(x->to);
	mem_free(x);
}

/* The transaction is over; stale: the server may still hold a part of it. Frees it. */
static void finish(struct session *s, bool stale)
{
	struct delivery *d = s->delivery;
	s->stale_transaction = stale;
	d->parked = kept_park(s);
	delivery_next(d);
}

/* The same without any further word to the server. */
static void finish_dropped(struct session *s)
{
	struct delivery *d = s->delivery;
	session_drop(&s);
	delivery_next(d);
}

void xact_break_off(struct session *s, int err)
{
	struct delivery *d = s->delivery;
	const char *status, *why;
	if (err == ERR_DENIED) {
		why = content_why(&s->xact->content, &status);
		session_problem(s, STAGE_DATA, status, "%s", why);
	} else if (err == ERR_TEMP) {
		transcript_class(s, MAIL_CLASS_DATA);
		session_problem(
			s, STAGE_DATA, "4.3.0", "local data error while talking to %s", s->host);
	} else {
		log_warning("%s: the body cannot be read: %s", d->job->id, err_str(err));
		problem_set(&d->why, "4.3.0", "queue file is damaged");
		d->unreadable = true;
	}
	outcome_all_failed(d, true);
	finish_dropped(s);
}

/* ---- Commands. ---- */

void xact_set_deadline(struct session *s)
{
	const struct xact *x = s->xact;
	int64_t due = 0;
	if (x->answered == AT_RSET) {
		due = session_deadline(P_smtp_rset_timeout);
	} else if (x->answered < AT_MAIL) {
		due = session_deadline(P_smtp_xforward_timeout);
	} else if (x->answered == AT_MAIL) {
		due = session_deadline(P_smtp_mail_timeout);
	} else if (x->answered < at_data(x)) {
		due = session_deadline(P_smtp_rcpt_timeout);
	} else if (x->answered == at_data(x)) {
		due = session_deadline(P_smtp_data_init_timeout);
	} else if (x->dot_sent || x->lone) {
		due = session_deadline(P_smtp_data_done_timeout);
	} else {
		due = body_deadline(s);
	}
	stream_deadline(s->stream, due);
}

static bool is_probe(const struct session *s)
{
	return (s->delivery->job->flags & QUEUE_FLAG_PROBE) != 0;
}

/* A probe ends with the replies to RCPT; else with the reply to DATA. */
static bool ends_at_rcpt(const struct session *s)
{
	const char *target = conf_str(setting_of(P_smtp_address_verify_target));
	return is_probe(s) && strcmp(target, "rcpt") == 0;
}

/* Whether the next command may leave now. */
static bool may_send(const struct session *s)
{
	const struct xact *x = s->xact;
	bool waits = x->chunking || ends_at_rcpt(s);
	if (x->sent == at_data(x) && x->answered < x->sent && waits) {
		return false;
	}
	if (x->aborted || x->sent > at_data(x) || stream_unsent(s->stream) >= GROUP_BYTES) {
		return false;
	}
	return x->sent == x->answered || x->pipelining;
}

static void add_command(struct buf *line, const struct session *s)
{
	const struct xact *x = s->xact;
	if (x->sent == AT_RSET) {
		buf_add_str(line, "RSET\r\n");
	} else if (x->sent < AT_MAIL) {
		xforward_add(line, s, x->sent == AT_CLIENT ? XFORWARD_CLIENT : XFORWARD_REST);
	} else if (x->sent == AT_MAIL) {
		command_mail(line, s);
	} else if (x->sent < at_data(x)) {
		command_rcpt(line, s, x->to[x->sent - AT_RCPT]);
	} else {
		buf_add_str(line, "DATA\r\n");
	}
}

/* Every RCPT is answered, somebody is accepted. */
static void begin_chunks(struct session *s)
{
	s->xact->sent = s->xact->answered = at_dot(s->xact);
	xact_set_deadline(s);
	body_begin(s);
}

static void send_more(struct session *s)
{
	struct xact *x = s->xact;
	struct buf line = BUF_INIT(COMMAND_MAX);
	bool idle = x->sent == x->answered;
	while (may_send(s)) {
		if (x->sent == at_data(x) && x->answered == x->sent && x->accepted == 0) {
			x->aborted = true; /* nobody is left */
			break;
		}
		if (x->sent == at_data(x) && x->chunking) {
			buf_clear(&line);
			begin_chunks(s);
			return;
		}
		buf_reset(&line);
		add_command(&line, s);
		if (log_is_debug()) {
			log_debug("> %s: %s", s->relay, log_q(slice_trim(buf_slice(&line))));
		}
		transcript_out(s, buf_slice(&line));
		(void)stream_write_slice(s->stream, buf_slice(&line));
		x->sent = skip(x, x->sent + 1);
	}
	buf_clear(&line);
	if (x->aborted && x->sent == x->answered) {
		finish(s, true);
	} else if (idle) {
		xact_set_deadline(s);
	}
}

/* With lmtp_assume_final a server without DELIVERBY is the mailbox itself. */
static bool is_mailbox(const struct session *s)
{
	return s->lmtp && conf_bool(P_lmtp_assume_final) &&
	       (s->ehlo.features & EHLO_DELIVERBY) == 0;
}

/* RFC 2852, 4.1.4, mode R: what will not be there in time goes back. */
static bool is_in_time(struct session *s)
{
	const struct job *j = s->delivery->job;
	bool keeps = (s->ehlo.features & EHLO_DELIVERBY) != 0;
	int64_t left = command_time_left(j);
	if (j->deadline == 0 || (j->flags & (QUEUE_FLAG_BY_NOTIFY | QUEUE_FLAG_PROBE)) != 0) {
		return true;
	}
	if (j->deadline <= clock_real()) {
		session_problem(s, STAGE_MAIL, "5.4.7",
			"the delivery time that its sender asked for is over");
	} else if (!keeps && !is_mailbox(s)) {
		session_problem(s, STAGE_MAIL, "5.4.7",
			"DELIVERBY is required, but was not offered by host %s", s->host);
	} else if (keeps && (uint64_t)left < s->ehlo.min_by) {
		session_problem(s, STAGE_MAIL, "5.4.7",
			"%lld seconds are left for delivery, but host %s needs %llu",
			(long long)left, s->host, (unsigned long long)s->ehlo.min_by);
	} else {
		return true;
	}
	return false;
}

/* What no server like this one may get. False: the transaction does not begin. */
static bool is_deliverable(struct session *s)
{
	const struct job *j = s->delivery->job;
	bool has_size = (s->ehlo.features & EHLO_SIZE) != 0 && s->ehlo.size > 0;
	if (has_size && j->size > s->ehlo.size) {
		session_problem(s, STAGE_MAIL, "5.3.4",
			"message size %llu exceeds size limit %llu of server %s",
			(unsigned long long)j->size, (unsigned long long)s->ehlo.size, s->host);
	} else if (command_needs_utf8(s) && !(s->ehlo.features & EHLO_SMTPUTF8)) {
		session_problem(s, STAGE_MAIL, "5.6.7",
			"SMTPUTF8 is required, but was not offered by host %s", s->host);
	} else {
		return is_in_time(s);
	}
	return false;
}

void xact_start(struct session *s)
{
	struct job *j = s->delivery->job;
	if (!is_deliverable(s)) {
		outcome_all_failed(s->delivery, true);
		finish(s, s->stale_transaction);
		return;
	}
	struct xact *x = mem_alloc(sizeof(*x));
	s->xact = x;
	x->session = s;
	x->to = mem_array(j->n, sizeof(struct job_rcpt *));
	for (size_t i = 0; i < j->n; i++) {
		if (j->rcpts[i].state == RCPT_OPEN) {
			x->to[x->n++] = &j->rcpts[i];
		}
	}
	x->pipelining = (s->ehlo.features & EHLO_PIPELINING) != 0;
	x->chunking = (s->ehlo.features & EHLO_CHUNKING) != 0 && !is_probe(s);
	x->forward = xforward_commands(s);
	x->start = x->sent = x->answered = s->stale_transaction ? AT_RSET : skip(x, AT_CLIENT);
	send_more(s);
}

void xact_drained(struct session *s)
{
	struct xact *x = s->xact;
	if (x->answered == at_dot(x)) {
		body_drained(s);
	} else {
		send_more(s);
	}
}

/* ---- Replies. ---- */

static void xforward_reply(const struct session *s)
{
	if (reply_class(&s->reply) != 2) {
		struct buf text = BUF_INIT(REPLY_TEXT_LIMIT * 2);
		reply_add_text(&text, &s->reply);
		log_warning("host %s said: %s (in reply to XFORWARD command)", s->host,
			log_q(buf_slice(&text)));
		buf_clear(&text);
	}
}

static void mail_reply(struct session *s)
{
	if (reply_class(&s->reply) != 2) {
		session_said(s, STAGE_MAIL, "MAIL FROM command");
		outcome_all_failed(s->delivery, false);
		s->xact->aborted = true;
	}
}

static void server_took(struct session *s, struct job_rcpt *r, enum stage stage)
{
	/* DATA's 354 may bring a status of its class. */
	const char *status = s->reply.status[0] == '2' ? s->reply.status : "2.0.0";
	struct buf text = BUF_INIT(REPLY_TEXT_LIMIT * 2);
	reply_add_text(&text, &s->reply);
	outcome_sent(s->delivery, r, stage, status, buf_str(&text));
	buf_clear(&text);
}

static void rcpt_reply(struct session *s, struct job_rcpt *r)
{
	struct xact *x = s->xact;
	if (reply_class(&s->reply) == 2) {
		if (x->aborted) {
			x->odd = true;
		} else if (ends_at_rcpt(s)) {
			server_took(s, r, STAGE_RCPT);
		} else {
			x->accepted++;
		}
		return;
	}
	if (x->aborted) {
		return;
	}
	if (s->reply.code == 552) {
		/* RFC 5321, 4.5.3.1.10: too many recipients, as old servers say it. */
		s->reply.code = 452;
		s->reply.status[0] = '4';
	}
	session_said(s, STAGE_RCPT, "RCPT TO command");
	outcome_rcpt_failed(s->delivery, r);
}

/* The next recipient that waits for its outcome. */
static struct job_rcpt *next_accepted(struct xact *x)
{
	while (x->lmtp_next < x->n && x->to[x->lmtp_next]->state != RCPT_OPEN) {
		x->lmtp_next++;
	}
	return x->lmtp_next < x->n ? x->to[x->lmtp_next++] : NULL;
}

/* Nothing may follow but a message, so the connection ends here. */
static void probe_reply(struct session *s)
{
	struct job_rcpt *r = NULL;
	while ((r = next_accepted(s->xact)) != NULL) {
		server_took(s, r, STAGE_DATA);
	}
	finish_dropped(s);
}

static void data_reply(struct session *s)
{
	struct xact *x = s->xact;
	if (reply_class(&s->reply) != 3) {
		if (x->accepted > 0) {
			session_said(s, STAGE_DATA, "DATA command");
			outcome_all_failed(s->delivery, false);
		}
		finish(s, true);
		return;
	}
	if (x->accepted > 0 && !x->aborted && is_probe(s)) {
		probe_reply(s);
	} else if (x->accepted > 0 && !x->aborted) {
		body_begin(s);
	} else if (x->odd) {
		finish_dropped(s);
	} else {
		x->lone = true;
		x->sent++;
		(void)stream_write(s->stream, ".\r\n", 3);
		xact_set_deadline(s);
	}
}

/* A chunk that is not the last. What else is on its way is read to its end. */
static void chunk_reply(struct session *s)
{
	struct xact *x = s->xact;
	x->open_chunks--;
	if (reply_class(&s->reply) != 2 && !x->aborted) {
		session_said(s, STAGE_DOT, "BDAT command");
		outcome_all_failed(s->delivery, false);
		x->aborted = true;
		x->sending = false;
	}
	if (x->aborted && x->open_chunks == 0) {
		finish(s, true);
	} else if (x->aborted) {
		xact_set_deadline(s);
	} else {
		body_chunk_taken(s);
	}
}

/* The end of content by BDAT, too, in the words that log tools know. */
#define END_COMMAND "end of DATA command"

/* LMTP: one reply for each recipient. True: more of them come. */
static bool lmtp_reply(struct session *s, bool good)
{
	struct xact *x = s->xact;
	struct job_rcpt *r = next_accepted(x);
	if (r != NULL && good) {
		server_took(s, r, STAGE_DOT);
	} else if (r != NULL) {
		session_said(s, STAGE_DOT, END_COMMAND);
		outcome_rcpt_failed(s->delivery, r);
	}
	x->accepted--;
	if (x->accepted == 0) {
		return false;
	}
	xact_set_deadline(s);
	return true;
}

static void dot_reply(struct session *s)
{
	struct xact *x = s->xact;
	struct job_rcpt *r = NULL;
	bool good = reply_class(&s->reply) == 2;
	counters_add(COUNTER_MESSAGES, good && !x->lone);
	if (x->lone) {
		finish(s, false);
		return;
	}
	if (s->lmtp) {
		if (lmtp_reply(s, good)) {
			return;
		}
	} else if (good) {
		while ((r = next_accepted(x)) != NULL) {
			server_took(s, r, STAGE_DOT);
		}
	} else {
		session_said(s, STAGE_DOT, END_COMMAND);
		outcome_all_failed(s->delivery, false);
	}
	finish(s, !good && x->chunking);
}

/* It had been idle for too long: as if it had never been there. */
static void try_anew(struct session *s)
{
	struct delivery *d = s->delivery;
	session_drop(&s);
	delivery_retry(d);
}

/* A reply to nothing, or content that is answered before it has ended: the order is lost. */
static void unexpected(struct session *s)
{
	const struct xact *x = s->xact;
	bool in_body = x->answered == at_dot(x);
	session_said(s, in_body ? STAGE_DOT : STAGE_MAIL, in_body ? "message body" : "no command");
	outcome_all_failed(s->delivery, false);
	finish_dropped(s);
}

/* A reply to a command before the dot; the session may be gone behind it. */
static void command_reply(struct session *s, size_t at)
{
	struct xact *x = s->xact;
	x->answered = skip(x, at + 1);
	if (at == at_data(x)) {
		data_reply(s);
		return;
	}
	if (at == AT_RSET) {
		if (reply_class(&s->reply) != 2) {
			try_anew(s);
			return;
		}
		s->stale_transaction = false;
	} else if (at < AT_MAIL) {
		xforward_reply(s);
	} else if (at == AT_MAIL) {
		mail_reply(s);
	} else {
		rcpt_reply(s, x->to[at - AT_RCPT]);
	}
	xact_set_deadline(s);
	send_more(s);
}

void xact_reply(struct session *s)
{
	struct xact *x = s->xact;
	if (s->uses > 1 && xact_is_untouched(x) && s->reply.code == 421) {
		try_anew(s);
	} else if (x->open_chunks > 0) {
		chunk_reply(s);
	} else if (x->answered == x->sent) {
		unexpected(s);
	} else if (x->answered == at_dot(x)) {
		dot_reply(s);
	} else {
		command_reply(s, x->answered);
	}
}

static const char *doing(const struct xact *x, enum stage *stage)
{
	*stage = STAGE_MAIL;
	if (x->dot_sent) {
		*stage = STAGE_DOT;
		return "sending end of data -- message may be sent more than once";
	}
	if (x->answered > at_data(x)) {
		*stage = STAGE_DATA;
		return "sending message body";
	}
	if (x->answered == at_data(x)) {
		*stage = STAGE_DATA;
		return "sending DATA command";
	}
	if (x->answered >= AT_RCPT) {
		*stage = STAGE_RCPT;
		return "sending RCPT TO";
	}
	return x->answered == AT_MAIL   ? "sending MAIL FROM"
	       : x->answered == AT_RSET ? "sending RSET"
					: "sending XFORWARD";
}

void xact_lost(struct session *s, int err)
{
	struct delivery *d = s->delivery;
	const struct xact *x = s->xact;
	enum stage stage = STAGE_NONE;
	if (s->uses > 1 && xact_is_untouched(x)) {
		try_anew(s);
		return;
	}
	bool final = x->dot_sent;
	if (!final && !x->aborted && starttls_may_fall_back(s)) {
		delivery_fall_back(d);
	}
	const char *what = doing(x, &stage);
	session_lost(s, err, stage, what);
	if (!x->lone && !x->aborted) {
		outcome_all_failed(d, final);
	}
	session_drop(&s);
	delivery_next(d);
}
