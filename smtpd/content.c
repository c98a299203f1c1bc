/* SPDX-License-Identifier: ISC */
#include "smtpd/content.h"

#include "queue/envelope.h"
#include "smtp/ehlo.h"
#include "util/log.h"
#include "util/mem.h"
#include "util/wire.h"

/* Output of one pass: at worst twice the input, plus what was held back. */
enum { PASS = 32768, GATHER = 2 * PASS + 64 };

/* A pass, and what content_finish still has behind the last one. */
_Static_assert(GATHER + 64 <= MESSAGE_PIECE, "a pass fits what message_room promises");

static char gather[GATHER];

static bool applies_bare_lf(struct session *s)
{
	return match_host(settings.bare_lf_exclusions, slice_str(s->name), slice_str(s->addr),
		       NULL) != 0;
}

bool content_refuses_bare_lf(struct session *s)
{
	if (settings.bare_lf == BARE_LF_NOTE && applies_bare_lf(s))
		s->noted_bare_lf = true;
	return settings.bare_lf == BARE_LF_REJECT && !s->is_local && applies_bare_lf(s);
}

static void extend_deadline(struct session *s, uint64_t bytes)
{
	int64_t latest = loop_now() + s->bounds->timeout;

	s->content_deadline += (int64_t)bytes * CLOCK_SEC / settings.min_rate;
	if (s->content_deadline > latest)
		s->content_deadline = latest;
}

static void begin_content(struct session *s)
{
	struct transaction *t = s->transaction;
	int flags = t->bdat ? 0 : CONTENT_SMTP_DATA;

	if (!t->has_content)
		content_init(&t->decoder, flags | (settings.keep_cr ? CONTENT_KEEP_CR : 0));
	t->has_content = true;
}

static uint64_t observed(const struct transaction *t)
{
	uint64_t flags = 0;

	if ((t->decoder.seen & CONTENT_DOT_LINE) != 0)
		flags |= QUEUE_FLAG_DOT_LINE;
	if ((t->decoder.seen & CONTENT_8BIT) != 0)
		flags |= QUEUE_FLAG_8BIT;
	return flags;
}

/* What the client is told instead of 250. */
static void fail_with(struct session *s, const struct policy_verdict *v)
{
	char *reply = evaluation_reply(v);

	transaction_fail(s, reply);
	if (v->code == 421 || v->code == 521)
		session_drop(s);
	mem_free(reply);
}

static void header_decided(struct session *s, const struct policy_verdict *v, struct slice subject)
{
	(void)subject;
	if (v->action == POLICY_REJECT) {
		fail_with(s, v);
		session_go_on(s);
	} else {
		s->state = WAITING;
		message_commit(s->transaction->message);
	}
}

void content_facts(struct session *s, struct message_facts *f)
{
	struct transaction *t = s->transaction;
	struct slice address;

	buf_reset(&t->header_from);
	while (message_next_from(f, &address))
		wire_counted(&t->header_from, address);
	t->header_from_count = buf_failed(&t->header_from) ? 0 : f->from_count;
	s->state = COMMAND;
	evaluation_begin(s, POLICY_HEADER_FROM, SLICE_NONE, header_decided);
}

/* cleanup may have failed while the policy was asked. */
static void content_decided(struct session *s, const struct policy_verdict *v, struct slice subject)
{
	struct transaction *t = s->transaction;

	(void)subject;
	if (v->action == POLICY_REJECT) {
		fail_with(s, v);
	} else if (t->failure != NULL) {
		char *reply = mem_str(t->failure);
		transaction_fail(s, reply);
		mem_free(reply);
	} else {
		s->state = WAITING;
		message_end(t->message, observed(t));
		if (s->login == NULL || !policy_has(settings.policy, POLICY_HEADER_FROM))
			message_commit(t->message);
	}
}

/* The content is complete. */
static void end_content(struct session *s)
{
	struct transaction *t = s->transaction;

	s->where = "END-OF-MESSAGE";
	s->state = COMMAND;
	if ((t->decoder.seen & CONTENT_BARE_LF) != 0 && content_refuses_bare_lf(s)) {
		session_count(s, t->bdat ? SMTP_BDAT : SMTP_DATA, false);
		session_end(s, "%d 5.5.2 %s Error: bare <LF> received", settings.bare_lf_code,
			settings.hostname);
	} else if (t->failure != NULL) {
		char *reply = mem_str(t->failure);
		transaction_fail(s, reply);
		mem_free(reply);
	} else {
		evaluation_begin(s, POLICY_END_OF_DATA, SLICE_NONE, content_decided);
	}
}

static void check_size(struct session *s)
{
	struct transaction *t = s->transaction;

	if (session_size_limit(s) == 0 || t->decoder.size <= session_size_limit(s) ||
		t->failure != NULL)
		return;
	transaction_warn(s, "queue file size limit exceeded");
	t->failure = mem_str(
		session_too_large(s, t->decoder.size, "552 5.3.4 Error: message file too big"));
}

static void keep(struct session *s, struct slice bytes)
{
	struct transaction *t = s->transaction;

	check_size(s);
	if (t->failure == NULL)
		message_data(t->message, bytes);
}

/*
 * Decodes at most one pass of input. A pass of ordinary mail is one piece and is handed on where it
 * lies; more pieces are gathered first, so that few frames leave.
 */
static enum content_event decode_pass(struct session *s, struct slice *in)
{
	struct transaction *t = s->transaction;
	struct slice piece, only = SLICE_NONE;
	size_t len = 0;
	enum content_event event;

	while ((event = content_decode(&t->decoder, in, &piece)) == CONTENT_PIECE) {
		if (only.len == 0 && len == 0) {
			only = piece;
			continue;
		}
		if (len == 0) {
			memcpy(gather, only.p, only.len);
			len = only.len;
		}
		memcpy(gather + len, piece.p, piece.len);
		len += piece.len;
	}
	keep(s, len > 0 ? slice_of(gather, len) : only);
	return event;
}

/* False: cleanup has no room for more; the client's bytes stay with the kernel. */
static bool has_room(struct session *s)
{
	struct transaction *t = s->transaction;

	if (t->failure != NULL || t->message == NULL || message_room(t->message) > 0)
		return true;
	stream_read(s->stream, false);
	/* The client is not to blame for this time. */
	s->content_deadline = loop_now() + s->bounds->timeout;
	return false;
}

static bool run_data(struct session *s)
{
	struct slice all = slice_first(stream_input(s->stream), PASS), in = all;

	if (all.len == 0 || !has_room(s))
		return false;
	enum content_event event = decode_pass(s, &in);
	s->transaction->came += all.len - in.len;
	extend_deadline(s, all.len - in.len);
	stream_consume(s->stream, all.len - in.len);
	if (event == CONTENT_END)
		end_content(s);
	return true;
}

/* BDAT. */

static void end_chunk(struct session *s)
{
	struct transaction *t = s->transaction;

	s->state = COMMAND;
	if (s->chunk_reply != NULL) {
		session_count(s, SMTP_BDAT, false);
		session_reply(s, "%s", s->chunk_reply);
		mem_free(s->chunk_reply);
		s->chunk_reply = NULL;
		if (s->chunk_last)
			transaction_free(&s->transaction);
		s->bdat_failed = !s->chunk_last;
	} else if (s->chunk_last) {
		struct slice rest = content_finish(&t->decoder);
		keep(s, rest);
		end_content(s);
	} else {
		session_count(s, SMTP_BDAT, true);
		session_reply(s, "250 2.0.0 Ok: %llu bytes", (unsigned long long)s->chunk_size);
	}
}

static bool run_chunk(struct session *s)
{
	uint64_t left = s->chunk_left < PASS ? s->chunk_left : PASS;
	struct slice in = slice_first(stream_input(s->stream), (size_t)left);
	size_t n = in.len;

	if (s->chunk_left == 0) {
		end_chunk(s);
		return true;
	}
	if (n == 0 || (s->chunk_reply == NULL && !has_room(s)))
		return false;
	if (s->chunk_reply == NULL)
		(void)decode_pass(s, &in);
	extend_deadline(s, n);
	stream_consume(s->stream, n);
	s->chunk_left -= n;
	return true;
}

bool content_run(struct session *s)
{
	return s->state == CONTENT ? run_data(s) : run_chunk(s);
}

/* Why the bytes of a chunk are not content; NULL: they are. */
static const char *chunk_out_of_order(const struct session *s)
{
	const struct transaction *t = s->transaction;

	if (t == NULL)
		return "503 5.5.1 Error: need RCPT command";
	if (t->recipients == 0)
		return "554 5.5.1 Error: no valid recipients";
	if (session_size_limit(s) > 0 && t->decoder.size + s->chunk_size > session_size_limit(s))
		return session_too_large(s, t->decoder.size + s->chunk_size,
			"552 5.3.4 Chunk exceeds message size limit");
	return NULL;
}

static void chunks_decided(struct session *s, const struct policy_verdict *v, struct slice subject)
{
	(void)subject;
	if (v->action == POLICY_PERMIT)
		begin_content(s);
	else if (s->chunk_reply == NULL)
		s->chunk_reply = evaluation_reply(v);
}

/* The first chunk is what DATA is: the policy is asked before its bytes are looked at. */
static void begin_chunks(struct session *s)
{
	struct transaction *t = s->transaction;
	bool is_first = !t->bdat && s->chunk_reply == NULL;

	t->bdat = true;
	if (is_first)
		evaluation_begin(s, POLICY_DATA, SLICE_NONE, chunks_decided);
	else
		begin_content(s);
}

void content_bdat(struct session *s, struct slice line, struct slice args)
{
	struct buf reply = BUF_INIT(256);
	const char *why = NULL;

	if ((s->discarded & EHLO_CHUNKING) != 0) {
		session_count(s, SMTP_BDAT, false);
		session_end(s, "502 5.5.1 Error: command not implemented");
	} else if (smtp_bdat_parse(args, &s->chunk_size, &s->chunk_last, &reply) != 0) {
		/* Where the next command begins cannot be known any more. */
		log_warning("%s: malformed BDAT command syntax from %s: %s", transaction_id(s),
			s->namaddr, log_q(line));
		session_count(s, SMTP_BDAT, false);
		session_end(s, "%s", buf_str(&reply));
	} else {
		s->state = CHUNK;
		s->chunk_left = s->chunk_size;
		s->content_deadline = loop_now() + s->bounds->timeout;
		why = chunk_out_of_order(s);
		if (s->bdat_failed)
			s->chunk_reply =
				mem_fmt("551 5.0.0 Discarded %llu bytes after earlier error",
					(unsigned long long)s->chunk_size);
		else if (why != NULL)
			s->chunk_reply = mem_str(why);
		if (s->transaction != NULL && s->transaction->recipients > 0)
			begin_chunks(s);
	}
	buf_clear(&reply);
}

static const char *data_out_of_order(const struct session *s, struct slice args)
{
	const struct transaction *t = s->transaction;

	if (t == NULL)
		return "503 5.5.1 Error: need RCPT command";
	if (t->bdat || s->bdat_failed)
		return "503 5.5.1 Error: DATA after BDAT";
	if (t->recipients == 0)
		return "554 5.5.1 Error: no valid recipients";
	if (args.len > 0)
		return "501 5.5.4 Syntax: DATA";
	return t->failure;
}

static void data_decided(struct session *s, const struct policy_verdict *v, struct slice subject)
{
	const char *failure = s->transaction->failure;

	(void)subject;
	if (v->action == POLICY_REJECT || failure != NULL) {
		session_count(s, SMTP_DATA, false);
		if (v->action == POLICY_REJECT)
			evaluation_refuse(s, v);
		else
			session_reply(s, "%s", failure);
		return;
	}
	begin_content(s);
	s->state = CONTENT;
	s->content_deadline = loop_now() + s->bounds->timeout;
	session_reply(s, "354 End data with <CR><LF>.<CR><LF>");
}

void content_data(struct session *s, struct slice args)
{
	const char *why = data_out_of_order(s, args);

	if (why != NULL) {
		session_count(s, SMTP_DATA, false);
		session_reply(s, "%s", why);
	} else {
		evaluation_begin(s, POLICY_DATA, SLICE_NONE, data_decided);
	}
}
