/* SPDX-License-Identifier: ISC */
#include "smtpd/recipient.h"

#include "smtpd/gate.h"
#include "smtpd/limits.h"
#include "smtpd/report.h"
#include "util/mem.h"

struct recipient {
	struct session *session;
	char *address, *orcpt; /* owned; orcpt NULL without */
	unsigned notify;
	bool waited, is_asked; /* for a cleanup; for what is being found out about the client */
	struct tally_question *question; /* of the greylist */
	struct author_waiter author;
	struct loop_timer timer;
};

void recipient_cancel(struct session *s)
{
	struct recipient *r = s->recipient;

	s->recipient = NULL;
	if (r == NULL)
		return;
	tally_cancel(&r->question);
	author_wait_cancel(&r->author);
	loop_timer_clear(&r->timer);
	mem_free(r->address);
	mem_free(r->orcpt);
	mem_free(r);
}

struct slice recipient_address(const struct recipient *r)
{
	return slice_str(r->address);
}

/* It is decided and said. Saying it may have ended the session, and the recipient with it. */
static void finish(struct session *s, bool good)
{
	struct recipient *r = s->recipient;

	if (r == NULL)
		return;
	bool waited = r->waited || r->is_asked;

	session_count(s, SMTP_RCPT, good);
	recipient_cancel(s);
	if (waited)
		session_go_on(s);
}

static void no_author(void *arg)
{
	struct recipient *r = arg;
	struct session *s = r->session;

	session_reply(s, "451 4.3.0 Error: queue file write error");
	finish(s, false);
}

static void give(void *arg)
{
	struct recipient *r = arg;
	struct session *s = r->session;

	if (transaction_add(s, slice_str(r->address), slice_str(r->orcpt), r->notify)) {
		session_reply(s, "250 2.1.5 Ok");
		finish(s, true);
		return;
	}
	r->author.wake = give;
	r->author.arg = r;
	author_wait(&r->author);
	if (!r->waited)
		loop_timer_set(&r->timer, loop_now() + RECIPIENT_WAIT_SEC * CLOCK_SEC);
	r->waited = true;
	s->state = WAITING;
}

static void refuse(struct session *s, const char *reply)
{
	struct policy_facts f;

	evaluation_facts(s, &f);
	f.recipient = slice_str(s->recipient->address);
	report_policy(s, &f, "reject", slice_str(reply));
	session_reply_refusal(s, slice_str(reply));
	finish(s, false);
}

static void greylisted(void *arg, const struct tally_reply *t)
{
	struct recipient *r = arg;
	struct session *s = r->session;
	char *reply = NULL;

	r->question = NULL;
	s->state = COMMAND;
	if (!t->is_known || t->is_found) {
		give(r);
		return;
	}
	reply = mem_fmt("450 4.7.1 <%s>: Recipient address rejected: Greylisted, try again in %lld "
			"seconds",
		r->address, (long long)t->seconds);
	refuse(s, reply);
	mem_free(reply);
}

static void decided(struct session *s, const struct policy_verdict *v, struct slice address)
{
	struct recipient *r = s->recipient;

	if (v->action != POLICY_PERMIT) {
		evaluation_refuse(s, v);
		if (v->unknown_user)
			limits_unknown_recipient(s);
		finish(s, false);
		return;
	}
	r->question = limits_greylist(s, address, greylisted, r);
	if (r->question == NULL) {
		give(r);
		return;
	}
	r->is_asked = true;
	s->state = WAITING;
}

/* What was found out about the client before, or since, its greeting. */
static void found_out(struct session *s, const char *reply)
{
	s->state = COMMAND;
	if (*reply == '\0')
		evaluation_begin(s, POLICY_RCPT, slice_str(s->recipient->address), decided);
	else
		refuse(s, reply);
}

void recipient_begin(struct session *s, struct slice address, struct slice orcpt, unsigned notify)
{
	struct recipient *r = mem_alloc(sizeof(*r));

	r->session = s;
	r->address = slice_dup(address);
	r->orcpt = orcpt.len > 0 ? slice_dup(orcpt) : NULL;
	r->notify = notify;
	loop_timer_init(&r->timer, no_author, r);
	s->recipient = r;
	/* Who is listed by mistake can say so to the postmaster (RFC 5321, 4.5.1). */
	if (slice_case_eq_str(address, "postmaster"))
		found_out(s, "");
	else
		gate_ask(s, found_out);
	/* It may be decided by now. */
	if (s->recipient == r && s->state == WAITING && s->evaluation == NULL && !r->waited)
		r->is_asked = true;
}

static void verified(struct session *s, const struct policy_verdict *v, struct slice address)
{
	session_count(s, s->verb, v->action == POLICY_PERMIT);
	/* 250 is for what is known to be here, 252 for what is not refused (RFC 5321, 3.5.3). */
	if (v->action == POLICY_PERMIT)
		session_reply(s, "%d 2.0.0 %.*s", v->own ? 250 : 252, SLICE_FMT(address));
	else
		evaluation_refuse(s, v);
}

void recipient_verify(struct session *s, enum smtp_verb verb, struct slice address)
{
	s->verb = verb;
	evaluation_begin(s, POLICY_VRFY, address, verified);
}
