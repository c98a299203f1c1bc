/* SPDX-License-Identifier: ISC */
#include "cleanup/cleanup.h"
#include "cleanup/intro.h"
#include "cleanup/notice_private.h"
#include "conf/conf.h"
#include "mail/address.h"
#include "mail/header.h"
#include "util/mem.h"

/* What a header field of the parent holds; empty: there is none. */
static struct slice find_header(const struct notice *n, enum header_kind kind)
{
	struct header_scan s;
	struct header_field f;

	header_scan_init(&s);
	while (header_next(&s, buf_slice(&n->content), true, &f) == HEADER_FIELD)
		if (f.kind == kind)
			return slice_trim(f.value);
	return SLICE_NONE;
}

static struct slice thread_of(const struct notice *n)
{
	struct slice id = SLICE_NONE;

	if (conf_bool(P_enable_threaded_bounces))
		id = find_header(n, HEADER_MESSAGE_ID);
	return slice_is_printable(id) && slice_is_ascii(id) && id.len <= MESSAGE_ID_LIMIT
		       ? id
		       : SLICE_NONE;
}

static void fill_report(const struct notice *n, const struct message *m, struct dsn_report *r)
{
	const struct intro *intro = intro_of(n->kind);

	*r = (struct dsn_report){.kind = n->kind,
		.template = intro->template,
		.intro = buf_slice(&intro->text),
		.is_utf8 = n->parent.flags & QUEUE_FLAG_SMTPUTF8,
		.is_8bit = n->is_8bit,
		.to = m->rcpts[0]->address,
		.host = slice_str(conf_str(P_myhostname)),
		.mail_name = slice_str(conf_str(P_mail_name)),
		.origin = slice_str(conf_str(P_myorigin)),
		.id = slice_str(n->parent_id),
		.sender = n->parent.sender,
		.envid = n->parent.envid,
		.new_id = m->env.id,
		.arrival = n->parent.arrival,
		.now = m->env.arrival,
		.deadline = n->deadline,
		.deliver_by = n->parent.deadline,
		.message_id = thread_of(n)};
}

/* What delivery would put on top of it. */
static void add_return_path(struct buf *out, const struct notice *n)
{
	(void)buf_add_str(out, "Return-Path: <");
	address_add_external(out, n->parent.sender);
	(void)buf_add_str(out, ">\r\n");
}

static const struct message_failure *add_content(
	struct message *m, const struct notice *n, const struct dsn_report *r, struct slice content)
{
	struct buf part = BUF_INIT(2 * PARTS_LIMIT + 65536);
	const struct message_failure *why = NULL;

	if (dsn_begin(&part, r, buf_slice(&n->text), buf_slice(&n->status)) != 0)
		why = &message_no_resources;
	add_return_path(&part, n);
	if (!slice_is_ascii(buf_slice(&part)))
		m->env.flags |= QUEUE_FLAG_8BIT;
	if (why == NULL)
		why = content_add(m, buf_slice(&part));
	if (why == NULL)
		why = content_add(m, content);
	buf_reset(&part);
	(void)dsn_end(&part, r);
	if (why == NULL)
		why = content_add(m, buf_slice(&part));
	if (why == NULL)
		why = content_end(m);
	buf_clear(&part);
	return why;
}

const struct message_failure *notice_make(
	struct notice *n, struct message *m, bool is_copy, bool is_complete, struct slice to)
{
	struct dsn_report r;
	struct slice content = buf_slice(&n->content);

	m->env.arrival = clock_real();
	m->env.flags =
		QUEUE_FLAG_NOTICE | (n->parent.flags & (QUEUE_FLAG_SMTPUTF8 | QUEUE_FLAG_DOT_LINE));
	if (!n->is_redacted)
		m->env.flags |= n->parent.flags & QUEUE_FLAG_REQUIRETLS;
	m->env.service = SLICE_LIT("bounce");
	m->env.sender = buf_slice(&n->sender);
	(void)message_add_rcpt(m, to, SLICE_NONE, SLICE_NONE, 0);
	fill_report(n, m, &r);
	r.is_copy = is_copy;
	r.is_complete = is_complete;
	if (!is_copy && intro_of(n->kind)->has_dot_line)
		m->env.flags |= QUEUE_FLAG_DOT_LINE;
	if (n->is_8bit) {
		m->env.flags |= QUEUE_FLAG_8BIT;
		m->env.body = QUEUE_BODY_8BITMIME;
	}
	return add_content(m, n, &r, content);
}

void notice_redact(struct notice *n)
{
	struct slice id = find_header(n, HEADER_MESSAGE_ID);
	char *kept = slice_dup(id);

	buf_reset(&n->content);
	if (id.len > 0)
		(void)buf_add_fmt(&n->content, "Message-ID: %s\r\n", kept);
	(void)buf_add_str(&n->content, "\r\n");
	mem_free(kept);
}
