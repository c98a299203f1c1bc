/* SPDX-License-Identifier: ISC */
#include "smtpd/report.h"

#include "mail/address.h"
#include "smtpd/farewell.h"
#include "util/log.h"
#include "util/mem.h"

enum { LINE_LIMIT = 1024, EXCERPT = 100 };

void report_connect(const struct session *s)
{
	if (!s->is_local)
		log_info("connect from %s", s->namaddr);
}

static void add_count(struct buf *out, const char *name, uint32_t ok, uint32_t all)
{
	if (all == 0)
		return;
	(void)buf_add_fmt(out, " %s=%u", name, ok);
	if (ok != all)
		(void)buf_add_fmt(out, "/%u", all);
}

void report_disconnect(struct session *s)
{
	struct buf line = BUF_INIT(LINE_LIMIT);
	uint32_t ok = 0, all = 0;

	if (s->last_words != NULL)
		farewell_say(s->farewell, s->last_words);
	/* Who has not been announced is not taken leave of. */
	if (s->is_local || s->namaddr == NULL || !s->name_known || !s->counted)
		return;
	for (int verb = 0; verb < SMTP_VERBS; verb++) {
		add_count(&line, smtp_verb_lower((enum smtp_verb)verb), s->count[verb].ok,
			s->count[verb].all);
		ok += s->count[verb].ok;
		all += s->count[verb].all;
	}
	(void)buf_add_fmt(&line, " commands=%u", ok);
	if (ok != all || all == 0)
		(void)buf_add_fmt(&line, "/%u", all);
	if (s->noted_bare_lf)
		(void)buf_add_str(&line, " notes=bare_lf");
	char *text = mem_fmt("disconnect from %s%s", s->namaddr, buf_str(&line));
	farewell_say(s->farewell, text);
	mem_free(text);
	buf_clear(&line);
}

void report_lost(struct session *s, const char *what)
{
	if (s->is_local || s->namaddr == NULL)
		return;
	s->end_reason = what;
	mem_free(s->last_words);
	if (s->state == CONTENT && s->transaction != NULL)
		s->last_words = mem_fmt("%s after %s (%llu bytes) from %s", what, s->where,
			(unsigned long long)s->transaction->came, s->namaddr);
	else
		s->last_words = mem_fmt("%s after %s from %s", what, s->where, s->namaddr);
}

void report_pipelining(const struct session *s, enum smtp_verb verb, struct slice input)
{
	struct buf text = BUF_INIT(LINE_LIMIT);
	struct slice show = slice_first(input, EXCERPT);

	for (size_t i = 0; i < show.len; i++) {
		if (show.p[i] == '\r')
			(void)buf_add_str(&text, "\\r");
		else if (show.p[i] == '\n')
			(void)buf_add_str(&text, "\\n");
		else
			(void)buf_add_char(&text, show.p[i]);
	}
	log_info("improper command pipelining after %s from %s: %s", smtp_verb_name(verb),
		s->namaddr, log_q(buf_slice(&text)));
	buf_clear(&text);
}

void report_long_line(const struct session *s, struct slice line)
{
	if (!s->is_local)
		log_warning("%s: request longer than %zu: %s...", s->namaddr, settings.line_limit,
			log_q(line));
}

/* Refusals and what else the policy has to say. */

static void add_address(struct buf *line, const char *what, struct slice address)
{
	struct buf external = BUF_INIT(4096);

	address_add_external(&external, address);
	(void)buf_add_fmt(line, " %s=<", what);
	log_quote(line, buf_slice(&external), ADDRESS_LIMIT);
	(void)buf_add_char(line, '>');
	buf_clear(&external);
}

void report_policy(
	struct session *s, const struct policy_facts *f, const char *word, struct slice text)
{
	struct buf line = BUF_INIT(16384);

	(void)buf_add_fmt(&line, "%s: %s from %s: ", word, s->where, s->namaddr);
	log_quote(&line, text, 2048);
	(void)buf_add_char(&line, ';');
	if (f->sender.p != NULL)
		add_address(&line, "from", f->sender);
	if (f->recipient.len > 0)
		add_address(&line, "to", f->recipient);
	(void)buf_add_fmt(&line, " proto=%.*s", SLICE_FMT(f->protocol));
	if (f->helo.p != NULL)
		(void)buf_add_fmt(&line, " helo=<%s>", log_q(f->helo));
	if (f->login.len > 0)
		(void)buf_add_fmt(&line, " sasl_method=%.*s sasl_username=%s",
			SLICE_FMT(f->sasl_method), log_q(f->login));
	transaction_log(s, buf_slice(&line));
	buf_clear(&line);
}

void report_refusal(struct session *s, struct slice reply)
{
	struct policy_facts f;

	evaluation_facts(s, &f);
	report_policy(s, &f, "reject", reply);
}
