/* SPDX-License-Identifier: ISC */
#include "smtp-client/xact.h"

#include "conf/conf.h"
#include "server/counters.h"
#include "smtp-client/command.h"
#include "smtp-client/content.h"
#include "smtp-client/outcome.h"
#include "smtp-client/starttls.h"
#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"

/*
 * Commands by their place: 0 RSET, 1 MAIL, 2 … 1 + n RCPT, 2 + n DATA, 3 + n the final dot. What is
 * before "answered" has its reply, what is before "sent" is on its way.
 */
enum { AT_RSET, AT_MAIL, AT_RCPT };

enum {
	GROUP_BYTES = 32 * 1024, /* of commands that are gathered */
	CHUNK = 64 * 1024,       /* of content, gathered before it goes to the kernel */
	TURN = 4,                /* chunks of one message, then others have their turn */
	DOT_RETRY = 2000         /* microseconds */
};

struct xact {
	TAILQ_ENTRY(xact) dots; /* while the dot frame is on its way to qmgr */
	struct session *session;
	struct job_rcpt **to; /* owned array, borrowed recipients */
	size_t n, start, sent, answered;
	size_t accepted; /* recipients that the server took and that have no outcome yet */
	size_t lmtp_next;
	bool pipelining;
	bool aborted; /* no further command; the replies on their way are read */
	bool odd;     /* MAIL refused, yet a recipient accepted */
	bool lone;    /* a dot for nobody */
	bool sending; /* content goes out */
	bool dotting; /* in the list of dots */
	bool dot_sent;
	bool with_content; /* content is still to be written, together with the dot */
	struct content content;
	size_t chunk;          /* bytes of content on their way */
	int64_t content_until; /* with smtp_per_request_deadline */
	struct loop_timer again;
};

TAILQ_HEAD(xact_list, xact);
static struct xact_list dots = TAILQ_HEAD_INITIALIZER(dots);
static struct loop_task dot_task;
static struct loop_timer dot_timer;

static void pump(void *arg);
static void send_more(struct session *s);

static size_t at_data(const struct xact *x)
{
	return AT_RCPT + x->n;
}

static size_t at_dot(const struct xact *x)
{
	return at_data(x) + 1;
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
	if (x->dotting) {
		TAILQ_REMOVE(&dots, x, dots);
	}
	content_clear(&x->content);
	loop_timer_clear(&x->again);
	mem_free(x->to);
	mem_free(x);
}

/* The transaction is over; stale: the server may still hold a part of it. Frees it. */
static void finish(struct session *s, bool stale)
{
	struct delivery *d = s->delivery;
	s->stale_transaction = stale;
	d->parked = session_park(s);
	delivery_next(d);
}

/* The same without any further word to the server. */
static void finish_dropped(struct session *s)
{
	struct delivery *d = s->delivery;
	session_drop(&s);
	delivery_next(d);
}

/* ---- Commands. ---- */

/*
 * The deadline of content: of the part on its way, or, with smtp_per_request_deadline, of all of
 * it, which moves on as parts leave at smtp_min_data_rate, never farther than the time for a part.
 */
static int64_t content_deadline(struct session *s)
{
	struct xact *x = s->xact;
	int64_t part = session_deadline(s, P_smtp_data_xfer_timeout, P_lmtp_data_xfer_timeout);
	if (!conf_bool(s->lmtp ? P_lmtp_per_request_deadline : P_smtp_per_request_deadline)) {
		return part;
	}
	int64_t rate = conf_int(s->lmtp ? P_lmtp_min_data_rate : P_smtp_min_data_rate);
	if (x->content_until == 0) {
		x->content_until = part;
	} else if (stream_unsent(s->stream) == 0) {
		x->content_until += (int64_t)x->chunk * CLOCK_SEC / rate;
		x->chunk = 0;
	}
	x->content_until = x->content_until < part ? x->content_until : part;
	return x->content_until;
}

static void set_deadline(struct session *s)
{
	const struct xact *x = s->xact;
	int64_t due = 0;
	if (x->answered == AT_RSET) {
		due = session_deadline(s, P_smtp_rset_timeout, P_lmtp_rset_timeout);
	} else if (x->answered == AT_MAIL) {
		due = session_deadline(s, P_smtp_mail_timeout, P_lmtp_mail_timeout);
	} else if (x->answered < at_data(x)) {
		due = session_deadline(s, P_smtp_rcpt_timeout, P_lmtp_rcpt_timeout);
	} else if (x->answered == at_data(x)) {
		due = session_deadline(s, P_smtp_data_init_timeout, P_lmtp_data_init_timeout);
	} else if (x->dot_sent || x->lone) {
		due = session_deadline(s, P_smtp_data_done_timeout, P_lmtp_data_done_timeout);
	} else {
		due = content_deadline(s);
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
	const char *target =
		conf_str(s->lmtp ? P_lmtp_address_verify_target : P_smtp_address_verify_target);
	return is_probe(s) && strcmp(target, "rcpt") == 0;
}

/* Whether the next command may leave now. */
static bool may_send(const struct session *s)
{
	const struct xact *x = s->xact;
	if (x->sent == at_data(x) && x->answered < x->sent && ends_at_rcpt(s)) {
		return false;
	}
	if (x->aborted || x->sent > at_data(x) || stream_unsent(s->stream) >= GROUP_BYTES) {
		return false;
	}
	return x->sent == x->answered || x->pipelining;
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
		buf_reset(&line);
		if (x->sent == AT_RSET) {
			buf_add_str(&line, "RSET\r\n");
		} else if (x->sent == AT_MAIL) {
			command_mail(&line, s);
		} else if (x->sent < at_data(x)) {
			command_rcpt(&line, s, x->to[x->sent - AT_RCPT]);
		} else {
			buf_add_str(&line, "DATA\r\n");
		}
		if (log_is_debug()) {
			log_debug("> %s: %s", s->relay, log_q(slice_trim(buf_slice(&line))));
		}
		(void)stream_write_slice(s->stream, buf_slice(&line));
		x->sent++;
	}
	buf_clear(&line);
	if (x->aborted && x->sent == x->answered) {
		finish(s, true);
	} else if (idle) {
		set_deadline(s);
	}
}

/* What no server like this one may get. False: the transaction does not begin. */
static bool is_deliverable(struct session *s)
{
	struct delivery *d = s->delivery;
	const struct job *j = d->job;
	bool has_size = (s->ehlo.features & EHLO_SIZE) != 0 && s->ehlo.size > 0;
	if (has_size && j->size > s->ehlo.size) {
		problem_set(&d->why, "5.3.4",
			"message size %llu exceeds size limit %llu of server %s",
			(unsigned long long)j->size, (unsigned long long)s->ehlo.size, s->host);
	} else if (command_needs_utf8(s) && !(s->ehlo.features & EHLO_SMTPUTF8)) {
		problem_set(&d->why, "5.6.7",
			"SMTPUTF8 is required, but was not offered by host %s", s->host);
	} else if ((j->flags & QUEUE_FLAG_8BIT) && !(s->ehlo.features & EHLO_8BITMIME) &&
		   !conf_bool(P_disable_mime_output_conversion)) {
		problem_set(&d->why, "5.6.3",
			"message content is 8-bit, but 8BITMIME was not offered by host %s",
			s->host);
	} else {
		return true;
	}
	d->why.remote = mem_str(s->relay);
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
	x->start = x->sent = x->answered = s->stale_transaction ? AT_RSET : AT_MAIL;
	loop_timer_init(&x->again, pump, x);
	send_more(s);
}

/* ---- Content. ---- */

/* Puts gathered output into the kernel; false: the session is gone by that. */
static bool flush(struct session *s)
{
	bool gone = false;
	bool *outer = s->gone;
	s->gone = &gone;
	stream_flush(s->stream);
	if (gone) {
		if (outer != NULL) {
			*outer = true;
		}
		return false;
	}
	s->gone = outer;
	return true;
}

/* The body on disk is damaged: what was sent is no message, since no dot ends it. */
static void break_off(struct session *s, int err)
{
	struct delivery *d = s->delivery;
	log_warning("%s: the body cannot be read: %s", d->job->id, err_str(err));
	problem_set(&d->why, "4.3.0", "queue file is damaged");
	d->unreadable = true;
	outcome_all_failed(d, true);
	finish_dropped(s);
}

static void send_dots(void *arg);

/* The dot frame first; when it is with the kernel, content's last part and the dot follow. */
static void want_dot(struct xact *x)
{
	job_dot(x->session->delivery->job);
	x->sending = false;
	x->dotting = true;
	TAILQ_INSERT_TAIL(&dots, x, dots);
	if (dot_task.run == NULL) {
		loop_task_init(&dot_task, send_dots, NULL);
		loop_timer_init(&dot_timer, send_dots, NULL);
	}
	loop_soon(&dot_task);
}

static void send_dot(struct xact *x)
{
	struct session *s = x->session;
	x->dotting = false;
	if (x->with_content && content_write(&x->content, s->stream, CHUNK * 2) != ERR_CLOSED) {
		break_off(s, ERR_LIMIT);
		return;
	}
	(void)stream_write_slice(s->stream, content_end(&x->content));
	x->dot_sent = true;
	x->sent++;
	set_deadline(s);
}

static void send_dots(void *arg)
{
	struct xact *x;
	if (!job_flush_dots()) {
		/* qmgr does not read now; nobody may get a dot that it does not know of. */
		loop_timer_set(&dot_timer, loop_now() + DOT_RETRY);
		return;
	}
	while ((x = TAILQ_FIRST(&dots)) != NULL) {
		TAILQ_REMOVE(&dots, x, dots);
		send_dot(x);
	}
}

static void pump(void *arg)
{
	struct xact *x = arg;
	struct session *s = x->session;
	for (int turn = 0; turn < TURN; turn++) {
		int r = content_write(&x->content, s->stream, CHUNK);
		if (r == ERR_CLOSED) {
			want_dot(x);
			return;
		}
		if (r != 0) {
			break_off(s, r);
			return;
		}
		x->chunk = stream_unsent(s->stream);
		if (!flush(s)) {
			return;
		}
		set_deadline(s);
		if (stream_unsent(s->stream) > 0) {
			return; /* xact_drained goes on */
		}
	}
	loop_timer_set(&x->again, loop_now());
}

static void begin_content(struct session *s)
{
	struct xact *x = s->xact;
	content_init(&x->content, s->delivery->job);
	if (content_is_small(&x->content, CHUNK)) {
		x->with_content = true;
		want_dot(x);
		return;
	}
	x->sending = true;
	pump(x);
}

void xact_drained(struct session *s)
{
	struct xact *x = s->xact;
	if (x->sending) {
		set_deadline(s);
		pump(x);
	} else if (!x->dotting && !x->dot_sent) {
		send_more(s);
	}
}

/* ---- Replies. ---- */

static void mail_reply(struct session *s)
{
	if (reply_class(&s->reply) != 2) {
		session_said(s, "MAIL FROM command");
		outcome_all_failed(s->delivery, false);
		s->xact->aborted = true;
	}
}

static void server_took(struct session *s, struct job_rcpt *r)
{
	/* DATA's 354 may bring a status of its class. */
	const char *status = s->reply.status[0] == '2' ? s->reply.status : "2.0.0";
	struct buf text = BUF_INIT(REPLY_TEXT_LIMIT * 2);
	reply_add_text(&text, &s->reply);
	outcome_sent(s->delivery, r, status, buf_str(&text));
	buf_clear(&text);
}

static void rcpt_reply(struct session *s, struct job_rcpt *r)
{
	struct xact *x = s->xact;
	if (reply_class(&s->reply) == 2) {
		if (x->aborted) {
			x->odd = true;
		} else if (ends_at_rcpt(s)) {
			server_took(s, r);
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
	session_said(s, "RCPT TO command");
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
		server_took(s, r);
	}
	finish_dropped(s);
}

static void data_reply(struct session *s)
{
	struct xact *x = s->xact;
	if (reply_class(&s->reply) != 3) {
		if (x->accepted > 0) {
			session_said(s, "DATA command");
			outcome_all_failed(s->delivery, false);
		}
		finish(s, true);
		return;
	}
	if (x->accepted > 0 && !x->aborted && is_probe(s)) {
		probe_reply(s);
	} else if (x->accepted > 0 && !x->aborted) {
		begin_content(s);
	} else if (x->odd) {
		finish_dropped(s);
	} else {
		x->lone = true;
		x->sent++;
		(void)stream_write(s->stream, ".\r\n", 3);
		set_deadline(s);
	}
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
		r = next_accepted(x);
		if (r != NULL && good) {
			server_took(s, r);
		} else if (r != NULL) {
			session_said(s, "end of DATA command");
			outcome_rcpt_failed(s->delivery, r);
		}
		x->accepted--;
		if (x->accepted > 0) {
			set_deadline(s);
			return;
		}
	} else if (good) {
		while ((r = next_accepted(x)) != NULL) {
			server_took(s, r);
		}
	} else {
		session_said(s, "end of DATA command");
		outcome_all_failed(s->delivery, false);
	}
	finish(s, false);
}

static void rset_reply(struct session *s)
{
	if (reply_class(&s->reply) == 2) {
		s->stale_transaction = false;
	} else {
		struct delivery *d = s->delivery;
		session_drop(&s);
		delivery_retry(d);
	}
}

/* A reply to nothing, or content that is answered before it has ended: the order is lost. */
static void unexpected(struct session *s)
{
	const struct xact *x = s->xact;
	session_said(s, x->answered == at_dot(x) ? "message body" : "no command");
	outcome_all_failed(s->delivery, false);
	finish_dropped(s);
}

/* It had been idle for too long: as if it had never been there. */
static void try_anew(struct session *s)
{
	struct delivery *d = s->delivery;
	session_drop(&s);
	delivery_retry(d);
}

void xact_reply(struct session *s)
{
	struct xact *x = s->xact;
	size_t at = x->answered;
	if (s->uses > 1 && xact_is_untouched(x) && s->reply.code == 421) {
		try_anew(s);
		return;
	}
	if (x->answered == x->sent) {
		unexpected(s);
		return;
	}
	if (at == at_dot(x)) {
		dot_reply(s);
		return;
	}
	x->answered++;
	if (at == at_data(x)) {
		data_reply(s);
		return;
	}
	if (at == AT_RSET) {
		rset_reply(s);
	} else if (at == AT_MAIL) {
		mail_reply(s);
	} else {
		rcpt_reply(s, x->to[at - AT_RCPT]);
	}
	if (s->xact != x) {
		return;
	}
	set_deadline(s);
	send_more(s);
}

static const char *doing(const struct xact *x)
{
	if (x->dot_sent) {
		return "sending end of data -- message may be sent more than once";
	}
	if (x->answered > at_data(x)) {
		return "sending message body";
	}
	if (x->answered == at_data(x)) {
		return "sending DATA command";
	}
	return x->answered >= AT_RCPT   ? "sending RCPT TO"
	       : x->answered == AT_MAIL ? "sending MAIL FROM"
					: "sending RSET";
}

void xact_lost(struct session *s, int err)
{
	struct delivery *d = s->delivery;
	const struct xact *x = s->xact;
	if (s->uses > 1 && xact_is_untouched(x)) {
		try_anew(s);
		return;
	}
	bool final = x->dot_sent;
	if (!final && !x->aborted && starttls_may_fall_back(s)) {
		delivery_fall_back(d);
	}
	session_lost(s, err, doing(x));
	if (!x->lone && !x->aborted) {
		outcome_all_failed(d, final);
	}
	session_drop(&s);
	delivery_next(d);
}
