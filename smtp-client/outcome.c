/* SPDX-License-Identifier: ISC */
#include "smtp-client/outcome.h"

#include "conf/conf.h"
#include "mail/attempt.h"
#include "mail/status_filter.h"
#include "queue/envelope.h"
#include "smtp-client/session.h"
#include "smtp-client/setting.h"
#include "util/log.h"
#include "util/mem.h"

static struct status_filter filter;

void outcome_init(void)
{
	status_filter_open(&filter, setting_of(P_smtp_delivery_status_filter));
}

/* What plans and notices go by. */
static void set_facts(struct delivery *d, unsigned code, enum stage stage, unsigned flags)
{
	d->job->facts = (struct job_facts){.code = (uint16_t)code,
		.stage = (uint8_t)stage,
		.flags = (uint8_t)(flags | (delivery_is_relay(d) ? JOB_BY_RELAY : 0))};
}

static void log_attempt(const struct delivery *d, const struct job_rcpt *r, const char *relay,
	const char *dsn, const char *status, const char *text)
{
	const struct job *j = d->job;
	int64_t now = clock_real();
	int64_t connected = d->connected != 0 ? d->connected : now;
	struct mail_attempt a = {
		.id = slice_str(j->id),
		.recipient = slice_str(r->address),
		.orig_to = slice_str(r->orig_to),
		.relay = relay != NULL ? relay : "none",
		.conn_use = d->session != NULL ? d->session->uses : 0,
		.arrival = j->arrival,
		.active = j->active,
		.begun = d->begun,
		.connected = connected,
		.ended = now,
		.dsn = dsn,
		.status = (j->flags & QUEUE_FLAG_PROBE) == 0 ? status
			  : strcmp(status, "sent") == 0      ? "deliverable"
							     : "undeliverable",
		.text = slice_str(text),
		.digits = (unsigned)conf_int(P_delay_logging_resolution_limit),
	};
	mail_attempt_log(&a);
}

/* Who says of a success that it was one. A mailbox need not know DSN. */
static unsigned who_tells(const struct session *s)
{
	unsigned keeps = s->ehlo.features & EHLO_DELIVERBY ? JOB_KEEPS_TIME : 0;
	if (s->ehlo.features & EHLO_DSN)
		return keeps | JOB_TELLS_SUCCESS;
	return keeps | (s->lmtp && conf_bool(P_lmtp_assume_final) ? JOB_FINAL : 0);
}

void outcome_sent(struct delivery *d, struct job_rcpt *r, enum stage stage, const char *status,
	const char *text)
{
	const struct session *s = d->session;
	struct buf shown = BUF_INIT(STATUS_FILTER_TEXT_MAX);
	char code[STATUS_FILTER_STATUS];
	strlcpy(code, status, sizeof(code));
	(void)buf_add_slice(&shown, slice_first(slice_str(text), STATUS_FILTER_TEXT_MAX - 1));
	(void)status_filter_apply(&filter, code, &shown);
	log_attempt(d, r, s->relay, code, "sent", buf_str(&shown));
	set_facts(d, (unsigned)s->reply.code, stage, who_tells(s));
	job_report(d->job, r, RESULT_OK, code, s->relay, text, NULL);
	buf_clear(&shown);
}

/* The present relay, unless the problem came from an earlier server. */
static const char *relay_of(const struct delivery *d)
{
	return d->session != NULL && session_is_up(d->session) ? d->session->relay : d->why.remote;
}

static void fail(struct delivery *d, struct job_rcpt *r)
{
	const struct problem *p = &d->why;
	const char *diagnostic = p->diagnostic.len > 0 ? buf_str(&p->diagnostic) : NULL;
	struct buf text = BUF_INIT(STATUS_FILTER_TEXT_MAX);
	char status[STATUS_FILTER_STATUS];
	strlcpy(status, p->status, sizeof(status));
	(void)buf_add_slice(&text, buf_slice(&p->text));
	(void)status_filter_apply(&filter, status, &text);
	bool soft = status[0] != '5', turned = !soft && conf_bool(P_soft_bounce);
	if (turned) {
		status[0] = '4';
	}
	log_attempt(d, r, relay_of(d), status,
		turned ? "SOFTBOUNCE"
		: soft ? "deferred"
		       : "bounced",
		buf_str(&text));
	set_facts(d, p->code, p->stage, 0);
	job_report(d->job, r, soft || turned ? RESULT_DEFERRED : RESULT_FAILED, status, p->remote,
		diagnostic, buf_str(&text));
	buf_clear(&text);
}

static bool may_go_on(const struct delivery *d)
{
	return (problem_is_soft(&d->why) || conf_bool(P_soft_bounce)) && !delivery_is_last(d);
}

void outcome_rcpt_failed(struct delivery *d, struct job_rcpt *r)
{
	if (may_go_on(d)) {
		log_info("%s: %s", d->job->id, log_q(buf_slice(&d->why.text)));
		r->state = RCPT_KEEP;
	} else {
		fail(d, r);
	}
}

void outcome_all_failed(struct delivery *d, bool final)
{
	struct job *j = d->job;
	bool keep = !final && may_go_on(d);
	if (keep) {
		log_info("%s: %s", j->id, log_q(buf_slice(&d->why.text)));
	}
	for (size_t i = 0; i < j->n; i++) {
		if (j->rcpts[i].state == RCPT_OPEN) {
			if (keep) {
				j->rcpts[i].state = RCPT_KEEP;
			} else {
				fail(d, &j->rcpts[i]);
			}
		}
	}
}

void outcome_all_rerouted(struct delivery *d)
{
	struct job *j = d->job;
	struct slice rest = slice_str(conf_str(P_best_mx_transport)), name = SLICE_NONE;
	(void)slice_part(&rest, ':', &name);
	char *transport = slice_dup(slice_trim(name)), *nexthop = slice_dup(slice_trim(rest));
	for (size_t i = 0; i < j->n; i++) {
		if (j->rcpts[i].state == RCPT_OPEN) {
			log_info("%s: passing <%s> to transport=%s", j->id,
				log_qs(j->rcpts[i].address), transport);
			job_reroute(
				j, &j->rcpts[i], transport, nexthop[0] != '\0' ? nexthop : d->site);
		}
	}
	mem_free(transport);
	mem_free(nexthop);
}
