/* SPDX-License-Identifier: ISC */
#include "cleanup/transcript.h"

#include "cleanup/cleanup.h"
#include "cleanup/message.h"
#include "cleanup/notice.h"
#include "cleanup/space.h"
#include "cleanup/trace.h"
#include "conf/conf.h"
#include "mail/address.h"
#include "mail/mailclass.h"
#include "util/err.h"
#include "util/log.h"

enum {
	CONTENT_LIMIT = 256 << 10,
	LINE = 78,
	INDENT = 4,
	PAUSE = 60 /* seconds between two transcripts while there is no space */
};

static unsigned tells; /* enum mail_class */

void transcript_open(void)
{
	tells = mail_classes(slice_str(conf_str(P_notify_classes)));
}

static void done(struct message *m)
{
	(void)m;
}

static void failed(struct message *m, const struct message_failure *why)
{
	log_warning("%s: postmaster notice failed: %s", m->id, why->text);
}

static const struct message_calls calls = {done, failed};
static char owner;

/* A line of the dialogue in lines of 78, those behind the first indented. */
static void add_line(struct buf *out, struct slice line)
{
	size_t room = LINE;

	do {
		struct slice part = slice_first(line, room);
		ptrdiff_t blank = part.len < line.len ? slice_find_last(part, ' ') : -1;

		if (blank > INDENT)
			part = slice_first(part, (size_t)blank);
		for (size_t i = 0; i < part.len; i++)
			(void)buf_add_char(out, (unsigned char)part.p[i] < ' ' || part.p[i] == 127
							? '?'
							: part.p[i]);
		line = slice_from(line, part.len + (blank > INDENT));
		(void)buf_add_str(out, line.len > 0 ? "\r\n    " : "\r\n");
		room = LINE - INDENT;
	} while (line.len > 0);
}

static void add_headers(struct buf *out, struct slice to)
{
	(void)buf_add_fmt(out, "From: Mail Delivery System <MAILER-DAEMON@%s>\r\nTo: Postmaster <",
		conf_str(P_myhostname));
	address_add_external(out, to);
	(void)buf_add_fmt(out, ">\r\nAuto-Submitted: auto-generated\r\n");
}

static void add_subject(struct buf *out, struct ipc_msg *msg)
{
	(void)buf_add_fmt(out, "Subject: %s %.*s: errors from %.*s\r\n", conf_str(P_mail_name),
		SLICE_FMT(ipc_bytes(msg, FIELD_NAME)), SLICE_FMT(ipc_bytes(msg, FIELD_REMOTE)));
}

static void add_text(struct buf *out, struct ipc_msg *msg)
{
	struct slice rest = ipc_bytes(msg, FIELD_BYTES), line;

	(void)buf_add_str(out, "\r\nTranscript of session follows.\r\n\r\n");
	while (rest.len > 0 && slice_part(&rest, '\n', &line))
		add_line(out, line);
	if (ipc_has(msg, FIELD_TEXT))
		(void)buf_add_fmt(out, "\r\nSession aborted, reason: %.*s\r\n",
			SLICE_FMT(ipc_bytes(msg, FIELD_TEXT)));
	(void)buf_add_str(out, "\r\nFor other details, see the local mail logfile\r\n");
}

static const struct message_failure *fill(struct message *m, struct slice text, struct slice to)
{
	struct buf content = BUF_INIT(CONTENT_LIMIT);
	const struct message_failure *why = NULL;

	m->env.arrival = clock_real();
	m->env.flags = QUEUE_FLAG_NOTICE;
	m->env.service = SLICE_LIT("bounce");
	notice_double_bounce(&m->sender);
	m->env.sender = buf_slice(&m->sender);
	(void)message_add_rcpt(m, to, SLICE_NONE, SLICE_NONE, 0);
	add_headers(&content, to);
	(void)buf_add_slice(&content, text);
	if (!slice_is_ascii(buf_slice(&content))) {
		m->env.flags |= QUEUE_FLAG_8BIT;
		m->env.body = QUEUE_BODY_8BITMIME;
	}
	why = buf_failed(&content) ? &message_no_resources : content_add(m, buf_slice(&content));
	if (why == NULL)
		why = content_end(m);
	buf_clear(&content);
	return why;
}

/* text: the last header field, and all behind it. */
static void send(const struct buf *text, const char *recipient)
{
	struct buf to = BUF_INIT(ADDRESS_LIMIT);
	const struct message_failure *why = NULL;
	struct message *m = NULL;

	route_complete(cleanup.route, slice_str(recipient), &to);
	if (message_new(&calls, &owner, &m) != 0) {
		log_warning("postmaster notice failed: no queue id");
	} else if (buf_failed(text) || (why = fill(m, buf_slice(text), buf_slice(&to))) != NULL) {
		message_fail(m, why != NULL ? why : &message_no_resources);
	} else {
		trace_received(m);
		message_commit(m);
	}
	buf_clear(&to);
}

/* That there is no space is said, but must not fill what is left. */
static bool is_due(unsigned classes)
{
	static int64_t next;

	if (!(classes & MAIL_CLASS_RESOURCE) || loop_now() < next)
		return false;
	next = loop_now() + PAUSE * CLOCK_SEC;
	return true;
}

void transcript_msg(struct ipc_msg *msg)
{
	unsigned classes = (unsigned)ipc_u64(msg, FIELD_FLAGS) & tells;
	struct buf text = BUF_INIT(CONTENT_LIMIT);

	if (classes == 0 || (space_is_full() && !is_due(classes)))
		return;
	add_subject(&text, msg);
	add_text(&text, msg);
	if (classes & MAIL_CLASS_BOUNCE)
		send(&text, conf_str(P_bounce_notice_recipient));
	if (classes & ~(unsigned)(MAIL_CLASS_BOUNCE | MAIL_CLASS_2BOUNCE))
		send(&text, conf_str(P_error_notice_recipient));
	buf_clear(&text);
}

void transcript_set_aside(const char *name, unsigned uid, const char *why, enum mail_class class)
{
	struct buf text = BUF_INIT(CONTENT_LIMIT);

	if ((class & tells) == 0 || space_is_full())
		return;
	(void)buf_add_fmt(&text,
		"Subject: %s pickup: mail of uid %u set aside\r\n\r\n"
		"A file that sendmail(1) has left in maildrop cannot become a message, and its\r\n"
		"sender cannot be told. It is kept, and will not be looked at again:\r\n\r\n"
		"  file:   maildrop/%s\r\n  owner:  uid %u\r\n  reason: %s\r\n"
		"\r\nFor other details, see the local mail logfile\r\n",
		conf_str(P_mail_name), uid, name, uid, why);
	send(&text, conf_str(P_error_notice_recipient));
	buf_clear(&text);
}
