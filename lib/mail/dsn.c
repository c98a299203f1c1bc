/* SPDX-License-Identifier: ISC */
#include "mail/dsn.h"

#include <strings.h>

#include "mail/address.h"
#include "mail/header.h"
#include "mail/template.h"
#include "util/clock.h"
#include "util/err.h"

enum { LINE = 78 };

/* Description of the last part. */
static const char *const attached[] = {
	[DSN_FAILED] = "Undelivered ",
	[DSN_DELAYED] = "Undelivered ",
	[DSN_DELIVERED] = "",
	[DSN_TRACED] = "",
};

/* "name: words", with lines broken at blanks; what follows on is indented by four. */
static void add_wrapped(struct buf *out, struct slice first, struct slice text)
{
	size_t column = first.len;
	struct slice word;

	buf_add_slice(out, first);
	while (slice_token(&text, " ", &word)) {
		if (column > 4 && column + 1 + word.len > LINE) {
			buf_add_str(out, "\r\n    ");
			column = 4;
		} else if (column > 0) {
			buf_add_char(out, ' ');
			column++;
		}
		buf_add_slice(out, word);
		column += word.len;
	}
	buf_add_str(out, "\r\n");
}

static void add_address(struct buf *out, struct slice address)
{
	if (address.len == 0)
		buf_add_str(out, "MAILER-DAEMON");
	else
		address_add_external(out, address);
}

/* "rfc822; user@example.com"; an address in UTF-8 has its own type (RFC 6533, 3). */
static void add_typed(struct buf *out, const struct dsn_report *r, const char *name,
	const char *blank, struct slice address)
{
	bool is_utf8 = r->is_utf8 && !slice_is_ascii(address);

	buf_add_fmt(out, "%s: %s;%s", name, is_utf8 ? "utf-8" : "rfc822", blank);
	add_address(out, address);
	buf_add_str(out, "\r\n");
}

void dsn_add_text(struct buf *text, const struct dsn_report *r, const struct dsn_recipient *rcpt)
{
	struct buf first = BUF_INIT(4096);

	(void)r;
	buf_add_char(&first, '<');
	add_address(&first, rcpt->address);
	buf_add_char(&first, '>');
	if (rcpt->orig_to.len > 0 && !slice_case_eq(rcpt->orig_to, rcpt->address)) {
		buf_add_str(&first, " (expanded from <");
		add_address(&first, rcpt->orig_to);
		buf_add_str(&first, ">)");
	}
	buf_add_char(&first, ':');
	add_wrapped(text, buf_slice(&first),
		rcpt->text.len > 0 ? rcpt->text : SLICE_LIT("no reason was given"));
	buf_add_str(text, "\r\n");
	buf_clear(&first);
}

/* "mx.example.com[192.0.2.1]:25" without all but the name. */
static struct slice host_name(struct slice remote)
{
	ptrdiff_t at = slice_find(remote, '[');

	return at > 0 ? slice_first(remote, (size_t)at) : remote;
}

static void add_date(struct buf *out, const char *name, int64_t when)
{
	buf_add_fmt(out, "%s: ", name);
	clock_add_rfc5322(out, when);
	buf_add_str(out, "\r\n");
}

void dsn_add_status(
	struct buf *status, const struct dsn_report *r, const struct dsn_recipient *rcpt)
{
	buf_add_str(status, "\r\n");
	add_typed(status, r, "Final-Recipient", " ", rcpt->address);
	if (rcpt->orcpt.len > 0)
		buf_add_fmt(status, "Original-Recipient: %.*s\r\n", SLICE_FMT(rcpt->orcpt));
	else
		add_typed(status, r, "Original-Recipient", "",
			rcpt->orig_to.len > 0 ? rcpt->orig_to : rcpt->address);
	buf_add_fmt(
		status, "Action: %s\r\nStatus: %.*s\r\n", rcpt->action, SLICE_FMT(rcpt->status));
	if (rcpt->remote.len > 0)
		buf_add_fmt(
			status, "Remote-MTA: dns; %.*s\r\n", SLICE_FMT(host_name(rcpt->remote)));
	if (rcpt->diagnostic.len > 0)
		add_wrapped(status, SLICE_LIT("Diagnostic-Code: smtp;"), rcpt->diagnostic);
	else if (rcpt->text.len > 0)
		add_wrapped(status, SLICE_LIT("Diagnostic-Code: X-Gatepost;"), rcpt->text);
	if (rcpt->last_attempt != 0)
		add_date(status, "Last-Attempt-Date", rcpt->last_attempt);
	if (r->kind == DSN_DELAYED && r->deadline != 0)
		add_date(status, "Will-Retry-Until", r->deadline);
}

static void add_boundary(struct buf *out, const struct dsn_report *r)
{
	buf_add_fmt(out, "%.*s.%lld/%.*s", SLICE_FMT(r->new_id), (long long)(r->now / CLOCK_SEC),
		SLICE_FMT(r->host));
}

/* The head of a part: its description and type. */
static void add_part(struct buf *out, const struct dsn_report *r, const char *description,
	const char *type, bool is_8bit)
{
	buf_add_str(out, "--");
	add_boundary(out, r);
	buf_add_fmt(out, "\r\nContent-Description: %s\r\nContent-Type: %s\r\n%s\r\n", description,
		type, is_8bit ? "Content-Transfer-Encoding: 8bit\r\n" : "");
}

static bool add_origin(struct slice address, struct buf *to, void *arg)
{
	const struct dsn_report *r = arg;

	if (slice_find(address, '@') >= 0)
		return false;
	(void)buf_add_fmt(to, "%.*s@%.*s", SLICE_FMT(address), SLICE_FMT(r->origin));
	return true;
}

static void add_from(struct buf *out, const struct dsn_report *r)
{
	struct slice from = slice_str(r->template->from);
	union {
		const struct dsn_report *in;
		void *out;
	} arg = {.in = r};

	buf_add_str(out, "From: ");
	if (header_edit_addresses(from, add_origin, arg.out, out) == 0)
		buf_add_slice(out, from);
	buf_add_str(out, "\r\n");
}

static void add_headers(struct buf *out, const struct dsn_report *r, bool is_8bit)
{
	const struct template *t = r->template;

	add_date(out, "Date", r->now);
	add_from(out, r);
	buf_add_fmt(out, "Subject: %s\r\nTo: ",
		r->is_copy && t->copy_subject != NULL ? t->copy_subject : t->subject);
	add_address(out, r->to);
	buf_add_str(out, "\r\n");
	if (r->message_id.len > 0)
		buf_add_fmt(out, "References: %.*s\r\nIn-Reply-To: %.*s\r\n",
			SLICE_FMT(r->message_id), SLICE_FMT(r->message_id));
	buf_add_fmt(out,
		"Auto-Submitted: auto-%s\r\nMIME-Version: 1.0\r\n"
		"Content-Type: multipart/report; report-type=%sdelivery-status;\r\n"
		"\tboundary=\"",
		r->is_copy ? "generated" : "replied", r->is_utf8 ? "global-" : "");
	add_boundary(out, r);
	buf_add_fmt(out, "\"\r\n%s\r\nThis is a MIME-encapsulated message.\r\n\r\n",
		is_8bit ? "Content-Transfer-Encoding: 8bit\r\n" : "");
}

/* What it begins with, for its sender; the postmaster knows. */
static void add_notification(
	struct buf *out, const struct dsn_report *r, struct slice text, bool is_8bit)
{
	const char *charset = r->template->charset;
	struct slice rest = r->is_copy ? SLICE_NONE : r->intro, line;
	struct buf type = BUF_INIT(1100);

	/* Addresses and replies in UTF-8 follow. */
	if (r->is_utf8 && strcasecmp(charset, "us-ascii") == 0)
		charset = "utf-8";
	(void)buf_add_fmt(&type, "text/plain; charset=%.1000s", charset);
	add_part(out, r, "Notification", buf_str(&type), is_8bit);
	while (rest.len > 0 && slice_part(&rest, '\n', &line))
		(void)buf_add_fmt(out, "%.*s\r\n", SLICE_FMT(line));
	buf_add_str(out, "\r\n");
	buf_add_slice(out, text);
	buf_clear(&type);
}

static void add_message_fields(struct buf *out, const struct dsn_report *r)
{
	buf_add_fmt(out, "Reporting-MTA: dns; %.*s\r\n", SLICE_FMT(r->host));
	if (r->envid.len > 0)
		buf_add_fmt(out, "Original-Envelope-Id: %.*s\r\n", SLICE_FMT(r->envid));
	buf_add_fmt(out, "X-%.*s-Queue-ID: %.*s\r\n", SLICE_FMT(r->mail_name), SLICE_FMT(r->id));
	buf_add_fmt(out, "X-%.*s-Sender: %s; ", SLICE_FMT(r->mail_name),
		r->is_utf8 && !slice_is_ascii(r->sender) ? "utf-8" : "rfc822");
	add_address(out, r->sender);
	if (r->sender.len == 0)
		buf_add_fmt(out, "@%.*s", SLICE_FMT(r->host));
	buf_add_str(out, "\r\n");
	add_date(out, "Arrival-Date", r->arrival);
	if (r->deliver_by != 0)
		add_date(out, "Deliver-By-Date", r->deliver_by);
}

int dsn_begin(struct buf *out, const struct dsn_report *r, struct slice text, struct slice status)
{
	bool parts_8bit = !slice_is_ascii(text) || !slice_is_ascii(status) ||
			  (!r->is_copy && !slice_is_ascii(r->intro));
	struct buf name = BUF_INIT(64);

	add_headers(out, r, parts_8bit || r->is_8bit);
	add_notification(out, r, text, parts_8bit);
	add_part(out, r, "Delivery report",
		r->is_utf8 ? "message/global-delivery-status" : "message/delivery-status",
		parts_8bit);
	add_message_fields(out, r);
	buf_add_slice(out, status);
	buf_add_str(out, "\r\n");
	buf_add_fmt(&name, "%sMessage%s", attached[r->kind], r->is_complete ? "" : " Headers");
	add_part(out, r, buf_str(&name),
		r->is_complete ? (r->is_utf8 ? "message/global" : "message/rfc822")
		: r->is_utf8   ? "message/global-headers"
			       : "text/rfc822-headers",
		r->is_8bit);
	buf_clear(&name);
	return buf_failed(out) ? ERR_LIMIT : 0;
}

int dsn_end(struct buf *out, const struct dsn_report *r)
{
	buf_add_str(out, "\r\n--");
	add_boundary(out, r);
	buf_add_str(out, "--\r\n");
	return buf_failed(out) ? ERR_LIMIT : 0;
}
