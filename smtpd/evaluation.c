/* SPDX-License-Identifier: ISC */
#include "smtpd/evaluation.h"

#include "smtpd/session.h"
#include "util/err.h"
#include "util/mem.h"

struct evaluation {
	struct session *session;
	enum smtp_verb verb;
	char *address; /* owned */
	char *orcpt;   /* owned; NULL */
	unsigned notify;
	bool waited;
	struct later later;
	struct policy_verdict verdict;
	struct author_waiter author;
	struct loop_timer author_timer;
};

void evaluation_cancel(struct session *s)
{
	struct evaluation *e = s->evaluation;

	s->evaluation = NULL;
	if (e == NULL)
		return;
	later_clear(&e->later);
	policy_verdict_clear(&e->verdict);
	author_wait_cancel(&e->author);
	loop_timer_clear(&e->author_timer);
	mem_free(e->address);
	mem_free(e->orcpt);
	mem_free(e);
}

/* It is decided and said. Saying it may have ended the session, and the evaluation with it. */
static void finish(struct session *s, bool good)
{
	if (s->evaluation == NULL)
		return;
	bool waited = s->evaluation->waited;

	session_count(s, s->evaluation->verb, good);
	evaluation_cancel(s);
	if (waited)
		session_go_on(s);
}

static void wait_for_more(struct evaluation *e)
{
	e->waited = true;
	e->session->state = WAITING;
}

static void refuse(struct evaluation *e)
{
	struct session *s = e->session;
	struct policy_verdict *v = &e->verdict;
	struct buf reply = BUF_INIT(4096);

	(void)buf_add_fmt(&reply, "%d %s ", v->code, v->status);
	(void)buf_add_slice(&reply, buf_slice(&v->text));
	transaction_log_reject(
		s, smtp_verb_name(e->verb), buf_slice(&reply), slice_str(e->address));
	session_reply_text(s, buf_slice(&reply));
	buf_clear(&reply);
	finish(s, false);
}

static void no_author(void *arg)
{
	struct evaluation *e = arg;
	struct session *s = e->session;

	session_reply(s, "451 4.3.0 Error: queue file write error");
	finish(s, false);
}

static void accept_recipient(void *arg)
{
	struct evaluation *e = arg;
	struct session *s = e->session;

	if (transaction_add(s, slice_str(e->address), slice_str(e->orcpt), e->notify)) {
		session_reply(s, "250 2.1.5 Ok");
		finish(s, true);
		return;
	}
	e->author.wake = accept_recipient;
	e->author.arg = e;
	author_wait(&e->author);
	if (!e->waited || e->author_timer.due == CLOCK_NEVER)
		loop_timer_set(&e->author_timer, loop_now() + AUTHOR_WAIT_SEC * CLOCK_SEC);
	wait_for_more(e);
}

static void answer_vrfy(struct evaluation *e)
{
	struct session *s = e->session;

	/* 250 is for what is known to be here, 252 for what is not refused (RFC 5321, 3.5.3). */
	session_reply(s, "%d 2.0.0 %s", e->verdict.own ? 250 : 252, e->address);
	finish(s, true);
}

static void evaluate(void *arg)
{
	struct evaluation *e = arg;
	struct session *s = e->session;
	struct policy_facts facts = {
		.client_name = slice_str(s->name),
		.client_addr = slice_str(s->addr),
		.helo = slice_str(s->helo),
		.login = slice_str(s->login),
		.sender = s->transaction != NULL ? buf_slice(&s->transaction->sender) : SLICE_NONE,
		.recipient = slice_str(e->address),
		.size = s->transaction != NULL ? s->transaction->size : 0,
	};
	int err = s->is_local && e->verb == SMTP_RCPT
			  ? 0
			  : policy_check(settings.policy,
				    e->verb == SMTP_RCPT ? POLICY_RCPT : POLICY_VRFY, &facts,
				    &e->later, &e->verdict);

	if (err == ERR_LATER)
		wait_for_more(e);
	else if (e->verdict.action == POLICY_REJECT)
		refuse(e);
	else if (e->verb == SMTP_RCPT)
		accept_recipient(e);
	else
		answer_vrfy(e);
}

void evaluation_begin(struct session *s, enum smtp_verb verb, struct slice address,
	struct slice orcpt, unsigned notify)
{
	struct evaluation *e = mem_alloc(sizeof(*e));

	e->session = s;
	e->verb = verb;
	e->address = slice_dup(address);
	e->orcpt = orcpt.len > 0 ? slice_dup(orcpt) : NULL;
	e->notify = notify;
	later_init(&e->later, EVALUATION_QUESTIONS, evaluate, e);
	policy_verdict_init(&e->verdict);
	loop_timer_init(&e->author_timer, no_author, e);
	s->evaluation = e;
	evaluate(e);
}
