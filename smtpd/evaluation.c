/* SPDX-License-Identifier: ISC */
#include "smtpd/evaluation.h"

#include "smtpd/report.h"
#include "smtpd/session.h"
#include "smtpd/starttls.h"
#include "smtpd/transcript.h"
#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"

/* A reply is held back for no longer than this, however often "sleep" stands in the lists. */
enum { SLEEP_MAX = 300 };

struct evaluation {
	struct session *session;
	enum policy_stage stage;
	enum session_state before;
	char *subject; /* owned; NULL */
	/* As it was known at the beginning: every run asks others in the same words. */
	char *queue_id; /* owned */
	evaluation_done *done;
	bool waited;
	bool awaits_id;
	struct later later;
	struct policy_verdict verdict;
	struct loop_timer sleep;
};

static void evaluation_free(struct evaluation *e)
{
	later_clear(&e->later);
	policy_verdict_clear(&e->verdict);
	loop_timer_clear(&e->sleep);
	mem_free(e->subject);
	mem_free(e->queue_id);
	mem_free(e);
}

void evaluation_cancel(struct session *s)
{
	struct evaluation *e = s->evaluation;

	s->evaluation = NULL;
	if (e != NULL)
		evaluation_free(e);
}

/* Facts. */

static void add_transaction(const struct transaction *t, struct policy_facts *f)
{
	f->sender = buf_slice(&t->sender);
	f->sasl_sender = slice_str(t->sasl_sender);
	f->recipient = slice_str(t->only_recipient);
	f->recipient_count = (unsigned)t->recipients;
	f->size = t->has_content ? t->decoder.size : t->size;
	f->queue_id = t->message != NULL ? slice_str(message_queue_id(t->message)) : SLICE_NONE;
	f->instance = slice_str(t->instance);
	f->is_discarded = t->is_discarded;
	f->header_from = buf_slice(&t->header_from);
	f->header_from_count = t->header_from_count;
}

void evaluation_facts(const struct session *s, struct policy_facts *f)
{
	*f = (struct policy_facts){
		.client_name = slice_str(s->name),
		.client_addr = slice_str(s->addr),
		.reverse_name = slice_str(s->reverse_name),
		.namaddr = slice_str(s->namaddr),
		.name_status = s->name_status,
		.reverse_status = s->reverse_status,
		.forward_status = s->forward_status,
		.client_port = s->port,
		.server_addr = slice_str(s->server_addr),
		.server_port = s->server_port,
		.helo = slice_str(s->helo),
		.protocol = slice_str(s->esmtp ? "ESMTP" : "SMTP"),
		.login = slice_str(s->login),
		.sasl_method = slice_str(s->sasl_method),
		.stress = slice_str(s->bounds->stress),
		.is_pipelining = s->is_pipelining,
	};
	for (int i = 0; i < 3; i++)
		f->deferral[i] = slice_str(s->deferral[i]);
	starttls_facts(s, f);
	if (s->transaction != NULL)
		add_transaction(s->transaction, f);
}

static void facts_of(const struct evaluation *e, struct policy_facts *f)
{
	struct slice subject = slice_str(e->subject);

	evaluation_facts(e->session, f);
	f->queue_id = slice_str(e->queue_id);
	switch (e->stage) {
	case POLICY_HELO:
		f->helo = subject;
		f->is_ehlo = e->session->verb == SMTP_EHLO;
		break;
	case POLICY_ETRN: f->etrn_domain = subject; break;
	case POLICY_RCPT:
	case POLICY_VRFY: f->recipient = subject; break;
	default: break;
	}
}

/* What the verdict says besides yes and no. */

static void carry_out(struct evaluation *e, const struct policy_note *n, struct policy_facts *f)
{
	struct session *s = e->session;
	bool is_effect = n->kind >= POLICY_HOLD;
	struct transaction *t = e->stage == POLICY_VRFY ? NULL : s->transaction;

	if (n->kind == POLICY_WARNING) {
		log_warning("%s", log_q(n->text));
		return;
	}
	if (n->kind == POLICY_LOG) {
		log_info("%s", log_q(n->text));
		return;
	}
	/* One is enough for a message. */
	if (n->kind == POLICY_HOLD && t != NULL && t->is_held)
		return;
	if (n->kind != POLICY_PREPEND)
		report_policy(s, f, policy_note_word(n->kind), n->text);
	if (is_effect && t != NULL)
		transaction_effect(t, n->kind, n->value);
}

static void carry_out_all(struct evaluation *e)
{
	struct policy_facts f;
	struct policy_note n;
	size_t at = 0;

	if (e->verdict.notes.len == 0 && e->verdict.action != POLICY_REJECT)
		return;
	facts_of(e, &f);
	while (policy_note_next(&e->verdict, &at, &n))
		carry_out(e, &n, &f);
	if (e->verdict.action != POLICY_REJECT)
		return;
	char *reply = evaluation_reply(&e->verdict);
	report_policy(e->session, &f, "reject", slice_str(reply));
	mem_free(reply);
}

static void keep_deferral(struct evaluation *e)
{
	char **kept = &e->session->deferral[e->stage];

	mem_free(*kept);
	*kept = e->verdict.deferral.len > 0 ? slice_dup(buf_slice(&e->verdict.deferral)) : NULL;
}

static void conclude(void *arg)
{
	struct evaluation *e = arg;
	struct session *s = e->session;

	s->state = e->before;
	s->evaluation = NULL;
	carry_out_all(e);
	if (e->stage <= POLICY_MAIL)
		keep_deferral(e);
	e->done(s, &e->verdict, slice_str(e->subject));
	if (e->waited && s->state != CLOSED)
		loop_soon(&s->run);
	evaluation_free(e);
}

static void wait_for_more(struct evaluation *e)
{
	e->waited = true;
	e->session->state = WAITING;
}

static void evaluate(void *arg)
{
	struct evaluation *e = arg;
	struct policy_facts f;

	facts_of(e, &f);
	if (policy_check(settings.policy, e->stage, &f, &e->later, &e->verdict) == ERR_LATER) {
		wait_for_more(e);
	} else if (e->verdict.sleep > 0) {
		int64_t most = SLEEP_MAX * CLOCK_SEC;
		int64_t sleep = e->verdict.sleep < most ? e->verdict.sleep : most;

		wait_for_more(e);
		loop_timer_set(&e->sleep, loop_now() + sleep);
	} else {
		conclude(e);
	}
}

/* From DATA on a policy server is told the queue id, which may still be on its way from cleanup. */
static bool awaits_id(const struct session *s, enum policy_stage stage)
{
	const struct transaction *t = s->transaction;

	return (stage == POLICY_DATA || stage == POLICY_END_OF_DATA) && t != NULL &&
	       t->message != NULL && t->failure == NULL && *message_queue_id(t->message) == '\0';
}

static void start(struct evaluation *e)
{
	const struct transaction *t = e->session->transaction;

	if (t != NULL && t->message != NULL)
		e->queue_id = mem_str(message_queue_id(t->message));
	evaluate(e);
}

void evaluation_opened(struct session *s)
{
	struct evaluation *e = s->evaluation;

	if (e == NULL || !e->awaits_id)
		return;
	e->awaits_id = false;
	start(e);
}

void evaluation_begin(
	struct session *s, enum policy_stage stage, struct slice subject, evaluation_done *done)
{
	static const struct policy_verdict permitted = {.parameter = "", .restriction = ""};
	struct evaluation *e = NULL;

	if ((s->is_local && stage != POLICY_VRFY) || !policy_has(settings.policy, stage)) {
		done(s, &permitted, subject);
		return;
	}
	e = mem_alloc(sizeof(*e));
	e->session = s;
	e->stage = stage;
	e->before = s->state;
	e->subject = subject.p != NULL ? slice_dup(subject) : NULL;
	e->done = done;
	later_init(&e->later, EVALUATION_QUESTIONS, evaluate, e);
	policy_verdict_init(&e->verdict);
	loop_timer_init(&e->sleep, conclude, e);
	s->evaluation = e;
	e->awaits_id = awaits_id(s, stage);
	if (e->awaits_id)
		wait_for_more(e);
	else
		start(e);
}

char *evaluation_reply(const struct policy_verdict *v)
{
	return mem_fmt("%d %s %.*s", v->code, v->status, SLICE_FMT(buf_slice(&v->text)));
}

void evaluation_refuse(struct session *s, const struct policy_verdict *v)
{
	char *reply = evaluation_reply(v);

	transcript_class(s, mail_class_of_reply(slice_str(reply), true));
	session_reply_refusal(s, slice_str(reply));
	if (v->code == 421 || v->code == 521)
		session_drop(s);
	mem_free(reply);
}
