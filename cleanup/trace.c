/* SPDX-License-Identifier: ISC */
#include "cleanup/trace.h"

#include <time.h>

#include "cleanup/cleanup.h"
#include "cleanup/rewrite.h"
#include "conf/conf.h"
#include "mail/address.h"
#include "util/log.h"

/* A comment has no brackets and backslashes of its own (RFC 5322, 3.2.2). */
static void add_login(struct buf *out, struct slice login)
{
	buf_add_str(out, "\t(Authenticated sender: ");
	for (size_t i = 0; i < login.len; i++)
		buf_add_char(out, strchr("()\\", login.p[i]) != NULL ? '?' : login.p[i]);
	buf_add_str(out, ")\r\n");
}

static void add_from(struct buf *out, const struct message *m)
{
	const struct queue_envelope *env = &m->env;
	struct slice ip;

	if (env->flags & QUEUE_FLAG_NOTICE) {
		buf_add_fmt(out, "Received: by %s (%s)\r\n\tid %.*s", conf_str(P_myhostname),
			conf_str(P_mail_name), SLICE_FMT(env->id));
		return;
	}
	if (env->flags & QUEUE_FLAG_LOCAL) {
		buf_add_fmt(out, "Received: by %s (%s, from userid %u)\r\n\tid %.*s",
			conf_str(P_myhostname), conf_str(P_mail_name), (unsigned)env->uid,
			SLICE_FMT(env->id));
		return;
	}
	ip = env->client_addr;
	buf_add_fmt(out, "Received: from %.*s (%.*s [%s%.*s])\r\n",
		SLICE_FMT(env->helo.len > 0 ? env->helo : env->client_name),
		SLICE_FMT(env->client_name), slice_find(ip, ':') >= 0 ? "IPv6:" : "",
		SLICE_FMT(ip));
	(void)buf_add_slice(out, buf_slice(&m->trace));
	if ((env->flags & QUEUE_FLAG_SHOW_LOGIN) != 0 && env->login.len > 0)
		add_login(out, env->login);
	buf_add_fmt(out, "\tby %s (%s) with %.*s id %.*s", conf_str(P_myhostname),
		conf_str(P_mail_name),
		SLICE_FMT(env->protocol.len > 0 ? env->protocol : SLICE_LIT("SMTP")),
		SLICE_FMT(env->id));
}

/* The envelope's one recipient, or none: others must not learn who else got it. */
static void add_for(struct buf *out, const struct message *m)
{
	if (m->env.flags & (QUEUE_FLAG_LOCAL | QUEUE_FLAG_NOTICE)) {
		buf_add_str(out, "; ");
	} else if (m->rcpt_n == 1) {
		buf_add_str(out, "\r\n\tfor <");
		address_add_external(out, m->rcpts[0]->given);
		buf_add_str(out, ">; ");
	} else {
		buf_add_str(out, ";\r\n\t");
	}
}

void trace_received(struct message *m)
{
	struct buf *out = &m->top;

	add_from(out, m);
	add_for(out, m);
	clock_add_rfc5322(out, m->env.arrival);
	buf_add_str(out, "\r\n");
	if (m->content.has_mailbox_line)
		buf_add_str(out, "Mailbox-Line: ");
}

static void add_message_id(struct message *m, const char *resent)
{
	time_t arrival = (time_t)(m->env.arrival / CLOCK_SEC);
	const char *host = conf_str(P_myhostname);
	char stamp[32] = "";
	struct tm tm;

	if (!cleanup.long_ids && gmtime_r(&arrival, &tm) != NULL)
		strftime(stamp, sizeof(stamp), "%Y%m%d%H%M%S.", &tm);
	buf_add_fmt(&m->bottom, "%sMessage-Id: <%s%s@%s>\r\n", resent, stamp, m->id, host);
	log_info("%s: %smessage-id=<%s%s@%s>", m->id, resent, stamp, m->id, host);
}

static void add_missing(struct message *m)
{
	const struct content *c = &m->content;
	unsigned visible =
		1u << HEADER_TO | 1u << HEADER_RESENT_TO | 1u << HEADER_CC | 1u << HEADER_RESENT_CC;
	unsigned is_resent = 1u << HEADER_RESENT_FROM | 1u << HEADER_RESENT_SENDER |
			     1u << HEADER_RESENT_DATE | 1u << HEADER_RESENT_MESSAGE_ID |
			     1u << HEADER_RESENT_TO | 1u << HEADER_RESENT_CC |
			     1u << HEADER_RESENT_BCC;
	bool again = c->seen & is_resent;
	const char *resent = again ? "Resent-" : "", *undisclosed;
	struct slice sender = m->env.sender;

	if (!content_has(c, again ? HEADER_RESENT_MESSAGE_ID : HEADER_MESSAGE_ID))
		add_message_id(m, resent);
	if (!content_has(c, again ? HEADER_RESENT_DATE : HEADER_DATE)) {
		buf_add_fmt(&m->bottom, "%sDate: ", resent);
		clock_add_rfc5322(&m->bottom, m->env.arrival);
		buf_add_str(&m->bottom, "\r\n");
	}
	if (!content_has(c, again ? HEADER_RESENT_FROM : HEADER_FROM)) {
		buf_add_fmt(&m->bottom, "%sFrom: ", resent);
		if (sender.len > 0)
			address_add_external(&m->bottom, sender);
		else
			buf_add_fmt(&m->bottom, "MAILER-DAEMON@%s", conf_str(P_myorigin));
		buf_add_str(&m->bottom, "\r\n");
	}
	undisclosed = conf_str(P_undisclosed_recipients_header);
	if (!(c->seen & visible) && undisclosed[0] != '\0') {
		if (header_name_len(slice_str(undisclosed)) == 0)
			log_warning("bad undisclosed_recipients_header: \"%s\" is no header",
				undisclosed);
		else
			buf_add_fmt(&m->bottom, "%s\r\n", undisclosed);
	}
}

/* Completes what stands in the headers of our own clients, and of others where that is wanted. */
static bool complete_headers(struct message *m, bool is_local)
{
	struct slice domain = slice_str(conf_str(P_remote_header_rewrite_domain));
	struct address_rules rules = *route_rules(cleanup.route);

	if (!is_local && domain.len == 0)
		return false;
	if (!is_local) {
		rules.origin = rules.origin.len > 0 ? domain : SLICE_NONE;
		rules.domain = rules.domain.len > 0 ? domain : SLICE_NONE;
	}
	if (rewrite_headers(m, &rules) != 0)
		log_warning("%s: its headers are too long to complete addresses in them", m->id);
	return true;
}

void trace_missing(struct message *m)
{
	bool is_ours = m->env.flags & (QUEUE_FLAG_LOCAL | QUEUE_FLAG_NOTICE | QUEUE_FLAG_COMPLETE);

	if (complete_headers(m, is_ours) || conf_bool(P_always_add_missing_headers))
		add_missing(m);
	if (!content_has(&m->content, HEADER_MESSAGE_ID) && m->bottom.len == 0)
		log_info("%s: message-id=<>", m->id);
}
