/* SPDX-License-Identifier: ISC */
#include "smtp-client/command.h"

#include "conf/conf.h"
#include "mail/address.h"
#include "smtp-client/content.h"
#include "smtp-client/generic.h"
#include "smtp-client/level.h"
#include "smtp-client/setting.h"
#include "util/log.h"

static void add_path(struct buf *out, struct slice address)
{
	buf_add_char(out, '<');
	if (conf_bool(setting_of(P_smtp_quote_rfc821_envelope))) {
		address_add_external(out, address);
	} else {
		buf_add_slice(out, address);
	}
	buf_add_char(out, '>');
}

/* relay_sender, in internal form; empty: there is none. */
static struct buf relay_sender = BUF_INIT(ADDRESS_LIMIT);

void command_init(void)
{
	struct slice text = slice_str(conf_str(P_relay_sender));

	if (text.len > 0 && address_parse(text, ADDRESS_UTF8, &relay_sender) != 0) {
		log_fatal("relay_sender: %s is no address", log_q(text));
	}
}

static struct slice sender_of(const struct session *s)
{
	struct slice sender = generic_sender(s->delivery->generic, s->delivery->job);
	struct slice other = buf_slice(&relay_sender);
	return sender.len > 0 && other.len > 0 && delivery_is_relay(s->delivery) ? other : sender;
}

bool command_needs_utf8(const struct session *s)
{
	const struct job *j = s->delivery->job;
	if ((j->flags & QUEUE_FLAG_SMTPUTF8) && (j->flags & QUEUE_FLAG_8BIT_HEADER)) {
		return true;
	}
	if (!slice_is_ascii(sender_of(s))) {
		return true;
	}
	for (size_t i = 0; i < j->n; i++) {
		if (j->rcpts[i].state == RCPT_OPEN &&
			!slice_is_ascii(generic_rcpt(s->delivery->generic, j, &j->rcpts[i]))) {
			return true;
		}
	}
	return false;
}

int64_t command_time_left(const struct job *j)
{
	return (j->deadline - clock_real()) / CLOCK_SEC;
}

/*
 * RFC 2852, 4.1.4.1. A time that is over says that the sender was told, which only mode N allows:
 * until then there is a second left.
 */
static void add_by(struct buf *out, const struct job *j)
{
	enum { MOST = 999999999 };
	bool notify = (j->flags & QUEUE_FLAG_BY_NOTIFY) != 0;
	bool told = notify && (j->flags & QUEUE_FLAG_BY_TOLD) != 0;
	int64_t left = command_time_left(j);
	if (left < 1 && !told) {
		left = 1;
	}
	if (left > 0 && told) {
		left = 0;
	}
	left = left < -MOST ? -MOST : left;
	buf_add_fmt(out, " BY=%lld;%c%s", (long long)left, notify ? 'N' : 'R',
		j->flags & QUEUE_FLAG_BY_TRACE ? "T" : "");
}

void command_mail(struct buf *out, const struct session *s)
{
	const struct job *j = s->delivery->job;
	unsigned f = s->ehlo.features;
	bool is_8bit = j->body == QUEUE_BODY_8BITMIME ||
		       (j->flags & (QUEUE_FLAG_8BIT | QUEUE_FLAG_8BIT_HEADER)) != 0;
	buf_add_str(out, "MAIL FROM:");
	add_path(out, sender_of(s));
	if ((f & EHLO_SIZE) && !content_is_converted(s)) {
		buf_add_fmt(out, " SIZE=%llu", (unsigned long long)j->size);
	}
	if ((f & EHLO_8BITMIME) && is_8bit) {
		buf_add_str(out, " BODY=8BITMIME");
	}
	if ((f & EHLO_SMTPUTF8) && command_needs_utf8(s)) {
		buf_add_str(out, " SMTPUTF8");
	}
	if ((f & EHLO_DSN) && j->ret != QUEUE_RET_NONE) {
		buf_add_str(out, j->ret == QUEUE_RET_FULL ? " RET=FULL" : " RET=HDRS");
	}
	if ((f & EHLO_DSN) && j->envid != NULL && j->envid[0] != '\0') {
		buf_add_str(out, " ENVID=");
		buf_add_str(out, j->envid);
	}
	if ((f & EHLO_REQUIRETLS) && level_is_required(s->delivery)) {
		buf_add_str(out, " REQUIRETLS");
	}
	if ((f & EHLO_DELIVERBY) && j->deadline != 0) {
		add_by(out, j);
	}
	if (s->login != NULL && conf_bool(setting_of(P_smtp_send_dummy_mail_auth))) {
		buf_add_str(out, " AUTH=<>");
	}
	buf_add_str(out, "\r\n");
}

static void add_notify(struct buf *out, unsigned notify)
{
	static const struct {
		unsigned bit;
		const char *word;
	} words[] = {{QUEUE_NOTIFY_NEVER, "NEVER"}, {QUEUE_NOTIFY_SUCCESS, "SUCCESS"},
		{QUEUE_NOTIFY_FAILURE, "FAILURE"}, {QUEUE_NOTIFY_DELAY, "DELAY"}};
	const char *sep = " NOTIFY=";
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (notify & words[i].bit) {
			buf_add_str(out, sep);
			buf_add_str(out, words[i].word);
			sep = ",";
		}
	}
}

/* As the sender gave it, xtext already; else the recipient before it was rewritten here. */
static void add_orcpt(struct buf *out, const struct session *s, const struct job_rcpt *r)
{
	struct slice orcpt = slice_str(r->orcpt), orig = slice_str(r->orig_to);
	bool may_utf8 = (s->ehlo.features & EHLO_SMTPUTF8) != 0;
	if (orcpt.len > 0 && (may_utf8 || slice_is_ascii(orcpt))) {
		buf_add_str(out, " ORCPT=");
		buf_add_slice(out, orcpt);
	} else if (orcpt.len == 0 && orig.len > 0 && slice_is_ascii(orig)) {
		struct buf external = BUF_INIT(ADDRESS_PATH_LIMIT);
		address_add_external(&external, orig);
		buf_add_str(out, " ORCPT=rfc822;");
		address_xtext_encode(out, buf_slice(&external));
		buf_clear(&external);
	}
}

/* RFC 2852, 4.1.4.2: who does not keep the time is to tell of a delay at least. */
static unsigned notify_of(const struct session *s, const struct job_rcpt *r)
{
	const struct job *j = s->delivery->job;
	bool keeps = j->deadline == 0 || (j->flags & QUEUE_FLAG_BY_NOTIFY) == 0 ||
		     (s->ehlo.features & EHLO_DELIVERBY) != 0;
	if (keeps || (r->notify & QUEUE_NOTIFY_NEVER)) {
		return r->notify;
	}
	return (r->notify != 0 ? r->notify : QUEUE_NOTIFY_FAILURE) | QUEUE_NOTIFY_DELAY;
}

void command_rcpt(struct buf *out, const struct session *s, const struct job_rcpt *r)
{
	buf_add_str(out, "RCPT TO:");
	add_path(out, generic_rcpt(s->delivery->generic, s->delivery->job, r));
	if (s->ehlo.features & EHLO_DSN) {
		add_notify(out, notify_of(s, r));
		add_orcpt(out, s, r);
	}
	buf_add_str(out, "\r\n");
}
